"""A job through the cache: look-up, donor, eviction, broken files; real Postgres, storage, model and embedder."""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from api.sweeps import sweep_entries
from db import cache
from db.models import CacheEntry, CacheEvent, JobMetric, Lookup, Namespace
from db.session import transaction
from db.states import EntryStatus
from worker.cache import trace
from worker.cache.decisions.replay import DecisionRow, EvictionRow, replay
from worker.cache.eviction import POLICIES

Start = Callable[..., Any]  # Any: the Service of conftest

RED_FOX = "a red fox runs through a snowy forest"
SAME_FOX = "a red fox sleeps on a wooden bench"
ELSE = "two robots play chess in a library"


def test_a_prompt_that_shares_an_entity_runs_fast_and_says_why(start: Start) -> None:
    service = start()
    first = service.run(RED_FOX)
    second = service.run(SAME_FOX)

    assert (first.path, first.receipt["reason"]) == ("full", "empty_cache")
    assert (second.path, second.receipt["reason"], second.receipt["steps"]) == ("fast", "entity_hit", 5)
    assert second.receipt["matched"][0]["entity"] == "red fox"
    assert second.receipt["donors"] == [f"video_{first.id.hex}"]
    assert second.receipt["gpu_seconds_saved"] is not None
    service.check_ledger()


def test_nothing_shared_runs_in_full_and_enters_the_cache_too(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    other = service.run(ELSE)

    assert other.path == "full"
    assert [entry.prompt for entry in service.entries()] == [RED_FOX, ELSE]


def test_a_jeep_of_another_colour_lends_nothing_to_its_scene(start: Start) -> None:
    service = start()
    service.run("la jeep rouge traverse le désert")
    blue = service.run("la jeep bleue traverse le désert")
    camel = service.run("un chameau traverse le désert")

    assert (blue.path, blue.receipt["reason"], blue.receipt["donors"]) == ("full", "conflict", [])
    assert (camel.path, camel.receipt["hit"]) == ("fast", "scene")


def test_a_fast_run_adds_nothing_to_the_cache(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    service.run(SAME_FOX)

    assert len(service.entries()) == 1


def test_another_tenant_with_the_very_same_prompt_runs_in_full(start: Start) -> None:
    service = start()
    service.run(RED_FOX, tenant="ada")
    theirs = service.run(RED_FOX, tenant="eve")

    assert (theirs.path, theirs.receipt["reason"], theirs.receipt["donors"]) == ("full", "empty_cache", [])


def test_an_operator_may_share_but_a_foreign_donor_is_not_named(start: Start) -> None:
    service = start(cache_scope="shared")
    service.run(RED_FOX, tenant="ada")
    theirs = service.run(RED_FOX, tenant="eve")

    assert (theirs.path, theirs.receipt["donors"]) == ("fast", [])
    assert theirs.receipt["matched"][0]["donor_entity"] is None


def test_a_group_shares_among_itself_only(start: Start) -> None:
    service = start(cache_scope="group")
    service.run(RED_FOX, tenant="ada", group="film")

    assert service.run(RED_FOX, tenant="bob", group="film").path == "fast"
    assert service.run(RED_FOX, tenant="eve", group="games").path == "full"
    assert service.run(RED_FOX, tenant="zoe").path == "full"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(_flip(path.read_bytes())), "checksum", id="a flipped byte"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), "checksum", id="cut short"),
        pytest.param(lambda path: path.unlink(), "no such file", id="missing"),
    ],
)
def test_a_broken_donor_is_quarantined_and_the_job_runs_in_full(
    start: Start, damage: Callable[[Path], object], reason: str
) -> None:
    """F13"""
    service = start()
    service.run(RED_FOX)
    damage(service.folder / service.entries()[0].name)

    job = service.run(SAME_FOX)

    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "donor_unusable")
    broken = service.entries()[0]
    assert broken.status == EntryStatus.QUARANTINED
    assert broken.reason is not None
    assert reason in broken.reason


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_latents_of_another_namespace_are_refused_even_with_the_right_checksum(start: Start) -> None:
    service = start()
    service.run(RED_FOX, tenant="ada")
    service.run(RED_FOX, tenant="eve")
    mine, theirs = service.entries()
    (service.folder / mine.name).write_bytes((service.folder / theirs.name).read_bytes())
    with transaction(service.factory) as session:
        session.execute(update(CacheEntry).where(CacheEntry.id == mine.id).values(sha256=theirs.sha256))

    job = service.run(SAME_FOX, tenant="ada")

    assert (job.status, job.receipt["reason"]) == ("completed", "donor_unusable")
    assert "made in namespace" in (service.entries()[0].reason or "")


def test_storage_that_takes_no_latents_costs_the_job_nothing(start: Start) -> None:
    """F12: the folder of latents cannot be written; the video can."""
    service = start()
    service.folder.mkdir(exist_ok=True)
    (service.folder / "latents").write_text("in the way")

    job = service.run(RED_FOX)

    assert (job.status, job.path) == ("completed", "full")
    with service.factory() as session:
        assert session.scalars(select(Namespace.bytes_used)).all() != []
    assert [entry.status for entry in service.entries()] in ([EntryStatus.EVICTING], [EntryStatus.GONE])


def test_a_full_disk_never_leaves_half_a_file_behind_a_row(start: Start, tmp_path: Path) -> None:
    """F12 on a file system that is really full."""
    service = start()
    folder = service.folder / "latents"
    folder.mkdir(parents=True)
    size = ["-o", "size=8k"]
    if subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        (folder / "ballast").write_bytes(b"x" * 8192)
        job = service.run(RED_FOX)

        assert job.status == "completed"
        assert [entry.status for entry in service.entries()] == [EntryStatus.GONE]
        assert [path.name for path in folder.iterdir()] == ["ballast"]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_small_budget_evicts_the_least_recently_used_and_the_ledger_follows(start: Start) -> None:
    probe = start()
    probe.run("a green turtle", tenant="probe")
    budget = 2 * probe.entries()[0].num_bytes + 200
    service = start(cache_bytes=budget, cache_policy="lru")
    for prompt in (RED_FOX, ELSE, SAME_FOX, "a blue whale in the ocean"):
        service.run(prompt)
        service.check_ledger()

    mine = [(entry.prompt, entry.status) for entry in service.entries() if entry.tenant == "ada"]
    assert mine == [
        (RED_FOX, EntryStatus.RESIDENT),  # used by SAME_FOX
        (ELSE, EntryStatus.GONE),
        ("a blue whale in the ocean", EntryStatus.RESIDENT),
    ]


def test_an_entry_larger_than_the_budget_is_refused(start: Start) -> None:
    service = start(cache_bytes=100)

    assert service.run(RED_FOX).status == "completed"
    with service.factory() as session:
        assert session.scalars(select(CacheEvent.kind)).all() == ["refuse"]


def test_admission_on_second_sighting_keeps_out_what_was_asked_for_once(start: Start) -> None:
    service = start(cache_admission="second_sighting")
    for _ in range(2):
        service.run(RED_FOX)

    assert [entry.status for entry in service.entries()] == [EntryStatus.RESIDENT]
    assert service.run(SAME_FOX).path == "fast"


def test_fast_without_a_hit_runs_few_steps_and_says_so(start: Start) -> None:
    job = start().run(RED_FOX, mode="fast")

    assert (job.path, job.receipt["reason"], job.receipt["steps"]) == ("fast", "fast_requested_no_hit", 5)


def test_full_is_honoured_whatever_the_cache_holds(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    job = service.run(SAME_FOX, mode="full")

    assert (job.path, job.receipt["reason"]) == ("full", "full_requested")


def test_a_run_of_unusual_steps_is_not_kept(start: Start) -> None:
    service = start()
    service.run(RED_FOX, num_inference_steps=3)

    assert service.entries() == []


def test_every_attempt_has_its_decision_and_figures(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    service.run(SAME_FOX)

    with service.factory() as session:
        lookup = session.scalars(select(Lookup).order_by(Lookup.id.desc())).first()
        metric = session.scalars(select(JobMetric).order_by(JobMetric.id.desc())).first()
    assert lookup is not None
    assert metric is not None
    assert set(lookup.timings) == {"extract", "embed", "search", "decide"}
    assert lookup.occupancy["entities"] == 2
    assert (metric.path, metric.entry_id, metric.num_steps) == ("fast", service.entries()[0].id, 5)
    assert metric.bytes_read == service.entries()[0].num_bytes


def test_no_pin_outlives_its_job(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    service.run(SAME_FOX)

    with transaction(service.factory) as session:
        space = session.scalars(select(Namespace)).one()
        assert cache.pinned(session, space) == set()


def test_a_recorded_run_replays_to_the_same_decisions_and_evictions(start: Start) -> None:
    """100 jobs whose cache holds a few entries, under two policies, one after the other."""
    probe = start()
    probe.run("a green turtle", tenant="probe")
    service = start(cache_bytes=6 * probe.entries()[0].num_bytes, cache_policy="lru")
    rng = random.Random(0)
    things = ["red fox", "blue whale", "old sailor", "tiny robot", "grey wolf", "white swan", "green parrot"]
    places = ["a snowy forest", "a wooden pier", "the desert", "a busy street", "a quiet lake"]
    for number in range(100):
        if number == 50:
            with transaction(service.factory) as session:
                worn_soon = {"match": {"max_uses": 5}}
                session.execute(update(Namespace).values(policy="coverage", settings=worn_soon))
        mode = rng.choices(["auto", "full", "fast"], [8, 1, 1])[0]
        service.run(f"a {rng.choice(things)} near {rng.choice(places)}", mode=mode)

    with service.factory() as session:
        space = session.scalars(select(Namespace).where(Namespace.owner == "ada")).one()
        rows = list(trace.read(session, space.id))

    assert replay(rows) == []
    assert sum(isinstance(row, DecisionRow) for row in rows) == 100
    evictions = [row for row in rows if isinstance(row, EvictionRow)]
    assert {row.policy for row in evictions} == {"lru", "coverage"}
    assert replay(rows, policy="fifo") != []  # the comparison can fail


def test_a_writer_that_died_is_swept_with_its_bytes(start: Start) -> None:
    service = start()
    service.run(RED_FOX)
    (entry,) = service.entries()
    with transaction(service.factory) as session:
        session.execute(update(CacheEntry).values(status=EntryStatus.WRITING))

    assert sweep_entries(service.storage, service.factory, quarantine_s=3600) == [entry.name]

    service.check_ledger()
    assert [row.status for row in service.entries()] == [EntryStatus.GONE]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_keeps_the_ledger_true(start: Start, policy: str) -> None:
    probe = start()
    probe.run("a green turtle", tenant="probe")
    service = start(cache_bytes=3 * probe.entries()[0].num_bytes, cache_policy=policy)

    for prompt in (RED_FOX, ELSE, SAME_FOX, "a blue whale dives", "an old sailor sings"):
        assert service.run(prompt).status == "completed"

    service.check_ledger()

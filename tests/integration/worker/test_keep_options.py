"""What a namespace may ask of its entries, and each way of reuse end to end; what does not fit costs no job."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import select, update

from db import metrics
from db.models import Job, Namespace, PlanRow
from db.session import transaction
from db.states import EntryStatus
from worker.cache.namespaces import plan_key
from worker.jobs.lease import Lease
from worker.reuse import codec

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX, SAME_FOX = "a red fox runs through a snowy forest", "a red fox sleeps on a wooden bench"
OX, SAME_OX = "ox, ice", "ox, pig"  # short enough for the tiny model to read both words
EVERYTHING = ["nearest", "same_index"]


def configure(service: Any, settings: Mapping[str, Any]) -> None:
    """Change the settings of every namespace, as `chai cache set` does."""
    with transaction(service.factory) as session:
        session.execute(update(Namespace).values(settings=dict(settings)))


def calibrate(
    service: Any, reuse: str | None, *, kinds: tuple[str, ...] = ("scene", "object", "both"), **options: Any
) -> None:
    """Store a plan that answers every hit, or hits of some kinds, with one way of reuse."""
    calibrate_each(service, dict.fromkeys(kinds, (reuse, options)))


def calibrate_each(service: Any, plans: Mapping[str, tuple[str | None, Mapping[str, Any]]]) -> None:
    """Store a way of reuse and its options for each kind of hit."""
    with transaction(service.factory) as session:
        for key in {plan_key(space) for space in session.scalars(select(Namespace))}:
            rows = []
            for kind, (reuse, options) in plans.items():
                recipe = {"path": "fast", "num_steps": 5, "reuse": reuse, "reuse_options": options}
                plan = {"recipes": [recipe | {"source": "calibrated"}]}
                rows.append(PlanRow(namespace_key=key, kind=kind, plan=plan, quality={}, cost={}))
            metrics.set_plans(session, key, rows)


def prepared(start: Start, *, keep: list[str], precision: str = "bfloat16", prompt: str = OX) -> tuple[Any, Job]:
    """A service whose namespace keeps what is asked for, and its one full run."""
    service = start()
    service.run("a green turtle", num_inference_steps=1)  # makes the namespace, leaves nothing
    configure(service, {"keep": keep, "precision": precision})
    return service, service.run(prompt)


@pytest.mark.parametrize("precision", ["float8", "int8"])
def test_an_entry_holds_every_tensor_that_its_namespace_asks_for(start: Start, precision: str) -> None:
    service, _ = prepared(start, keep=EVERYTHING, precision=precision)

    (entry,) = service.entries()
    assert {"clean", "latent_02", "latent_03", "latent_04"} <= entry.tensors.keys()
    assert {tensor["dtype"] for tensor in entry.tensors.values()} == {precision}
    assert service.run(SAME_OX).path == "fast"
    service.check_ledger()


def test_a_namespace_that_says_nothing_keeps_latents_in_eight_bits(start: Start) -> None:
    service = start()

    service.run(OX)

    (entry,) = service.entries()
    assert {tensor["dtype"] for tensor in entry.tensors.values()} == {"int8"}
    assert service.run(SAME_OX).path == "fast"
    service.check_ledger()


def test_an_entry_holds_what_each_recipe_of_the_table_reads(start: Start) -> None:
    service = start()
    service.run("a green turtle", num_inference_steps=1)  # makes the namespace, leaves nothing
    early, late = (("cache_attention", {"steps": [step]}) for step in (2, 5))

    for prompt, plans in {"a lamp": (early, early), "a kite": (late, late), "a spoon": (early, late)}.items():
        calibrate_each(service, dict(zip(("scene", "object", "both", "prompt"), plans * 2, strict=True)))
        service.run(prompt)

    first, second, both = (entry.tensors.keys() for entry in service.entries())
    assert both == first | second
    assert first - second
    assert second - first


@pytest.mark.parametrize("way", ["residual", "blend", "cache_attention+magic"])
def test_a_plan_with_a_way_of_reuse_from_elsewhere_costs_its_job_nothing_but_the_gain(start: Start, way: str) -> None:
    service, _ = prepared(start, keep=["nearest"])
    calibrate(service, way)

    job = service.run(SAME_OX)

    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "donor_unusable")


def test_a_donor_that_nothing_is_read_of_leaves_the_run_as_it_was(start: Start) -> None:
    """The control of every claim about donors: `nothing` is the plain plan of its schedule, to the bit."""
    service, _ = prepared(start, keep=[])
    calibrate(service, "nothing")

    with_donor = service.run(SAME_OX, seed=11)
    calibrate(service, None)
    without = service.run(SAME_OX, seed=11)

    assert (with_donor.path, with_donor.receipt["reuse"], with_donor.receipt["donors"] != []) == (
        "fast",
        "nothing",
        True,
    )
    assert (without.path, without.receipt["reuse"], without.receipt["reason"]) == ("fast", None, "plain_is_better")
    assert with_donor.output["sha256"] == without.output["sha256"]


def test_a_run_takes_its_donors_layout_unless_a_seed_is_named_and_no_more_often_than_is_allowed(start: Start) -> None:
    service = start()
    service.run("a green turtle", num_inference_steps=1)  # makes the namespace, leaves nothing
    configure(service, {"layout_share": 0.39})
    calibrate(service, "own_trajectory", kinds=("layout",), skipped_steps=1)
    first = service.run(f"{OX} walks left")
    (entry,) = service.entries()
    again = f"{SAME_OX} walks left"

    taken, own, often = service.run(again), service.run(again, seed=11), service.run(again)

    assert len([name for name in entry.tensors if name.startswith("level_")]) == 1
    assert (taken.path, taken.receipt["reason"], taken.receipt["layout"]) == ("fast", "layout_hit", "donor")
    assert (taken.receipt["steps"], taken.receipt["donors"]) == (4, [f"video_{first.id.hex}"])
    assert (own.output["seed"], own.receipt["layout"], own.receipt["reason"]) == (11, "own", "entity_hit")
    assert (often.receipt["layout"], often.receipt["reason"]) == ("own", "entity_hit")  # two of five are more than .39
    service.check_ledger()


def test_a_run_takes_the_noise_of_its_donor_where_the_plan_says_so(start: Start) -> None:
    service, first = prepared(start, keep=["nearest"])
    calibrate(service, "cache_attention", noise="donor")

    assert service.run(SAME_OX).output["seed"] == first.output["seed"]
    assert service.run(SAME_OX, seed=11).output["seed"] == 11  # unless the user chose


def test_entries_older_than_the_plan_cost_their_job_nothing_and_make_room_for_better_ones(start: Start) -> None:
    service, _ = prepared(start, keep=[])
    configure(service, {"keep": ["nearest"]})

    first, second = service.run(SAME_OX), service.run(SAME_OX)

    assert (first.status, first.path, first.receipt["reason"]) == ("completed", "full", "donor_unusable")
    assert {entry.status for entry in service.entries()} == {EntryStatus.RESIDENT}
    assert second.path == "fast"


def test_settings_that_change_while_a_job_runs_take_effect_with_the_next(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = prepared(start, keep=["nearest"])
    write = service.storage.write

    def write_and_change(name: str, content: bytes) -> Any:
        configure(service, {"keep": [], "precision": "int8"})
        return write(name, content)

    monkeypatch.setattr(service.storage, "write", write_and_change)
    for prompt in ("a lamp", "a kite"):
        assert service.run(prompt).status == "completed"

    kept = [{tensor["dtype"] for tensor in entry.tensors.values()} for entry in service.entries()]
    assert kept == [{"bfloat16"}, {"bfloat16"}, {"int8"}]
    assert service.entries()[-1].tensors.keys() == {"clean"}


def test_a_plan_for_noisy_latents_leaves_an_entry_without_any_alone(start: Start) -> None:
    service, _ = prepared(start, keep=[])

    job = service.run(SAME_OX)

    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "donor_unusable")


def test_whole_prompts_resume_from_an_alike_one(start: Start) -> None:
    match = {"same_threshold": 0.65, "head_threshold": 0.65}
    service = start()
    service.run("a green turtle", num_inference_steps=1)
    configure(service, {"extractor": "whole_prompt", "table": "nirvana", "match": match})
    service.run(RED_FOX)

    job = service.run(RED_FOX + " at night")

    assert (job.path, job.receipt["reason"], job.receipt["reuse"]) == ("fast", "prompt_hit", "resume")
    assert 0 < job.receipt["steps_saved"] < 6  # of the card's six
    assert job.receipt["steps"] == 6 - job.receipt["steps_saved"]


@pytest.mark.parametrize(("asked", "steps"), [(None, 2), (1, 1), (4, 4)])
def test_a_plan_that_leaves_out_a_step_runs_as_many_as_are_asked_for(
    start: Start, asked: int | None, steps: int
) -> None:
    service, _ = prepared(start, keep=[])
    schedule = {"spacing": "quadratic", "skipped_steps": 1}
    recipe = {"path": "fast", "num_steps": 3, "schedule": schedule, "source": "calibrated"}
    with transaction(service.factory) as session:
        (space,) = session.scalars(select(Namespace))
        row = PlanRow(kind="plain_fast", plan={"recipes": [recipe]}, quality={}, cost={})
        row.namespace_key = plan_key(space)
        metrics.set_plans(session, row.namespace_key, [row])

    job = service.run("a green turtle", mode="fast", num_inference_steps=asked)

    assert (job.status, job.path, job.receipt["steps"]) == ("completed", "fast", steps)


def test_a_resumed_run_takes_as_many_steps_as_are_asked_for(start: Start) -> None:
    service, _ = prepared(start, keep=[])
    calibrate(service, "resume", skipped_steps=3)

    job = service.run(SAME_OX, num_inference_steps=1)

    assert (job.status, job.path, job.receipt["steps"]) == ("completed", "fast", 1)


def test_the_steps_of_a_resumed_run_are_counted_from_its_first(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = prepared(start, keep=[])
    calibrate(service, "resume", skipped_steps=3)
    told: list[dict[str, Any]] = []
    check = Lease.check

    def note(lease: Lease, **progress: Any) -> None:
        told.append(progress)
        check(lease, **progress)

    monkeypatch.setattr(Lease, "check", note)

    job = service.run(SAME_OX)

    assert (job.path, job.receipt["steps"], job.num_steps) == ("fast", 2, 2)
    steps = [(progress["step"], progress["progress"]) for progress in told if "step" in progress]
    assert steps == [(1, 33), (2, 66)]


def test_what_a_newer_worker_wrote_is_left_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """F25: the older worker runs in full, and the entry goes on serving those that can read it."""
    service = start()
    with monkeypatch.context() as newer:
        newer.setattr(codec, "SCHEMA_VERSION", 2)
        service.run(RED_FOX)

    job = service.run(SAME_FOX)

    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "donor_unusable")
    assert [entry.status for entry in service.entries()] == [EntryStatus.RESIDENT, EntryStatus.RESIDENT]

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
from worker.reuse import codec
from worker.runtime import Lease

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX, SAME_FOX = "a red fox runs through a snowy forest", "a red fox sleeps on a wooden bench"
OX, SAME_OX = "ox, ice", "ox, pig"  # short enough for the tiny model to read both words
EVERYTHING = ["nearest", "same_index", "masks", "residuals"]


def configure(service: Any, settings: Mapping[str, Any]) -> None:
    """Change the settings of every namespace, as `chai cache set` does."""
    with transaction(service.factory) as session:
        session.execute(update(Namespace).values(settings=dict(settings)))


def calibrate(service: Any, reuse: str, **options: Any) -> None:
    """Store a plan that answers every hit with one way of reuse."""
    recipe = {"path": "fast", "num_steps": 5, "reuse": reuse, "reuse_options": options, "source": "calibrated"}
    with transaction(service.factory) as session:
        for key in {plan_key(space) for space in session.scalars(select(Namespace))}:
            rows = [
                PlanRow(namespace_key=key, kind=kind, plan={"recipes": [recipe]}, quality={}, cost={})
                for kind in ("scene", "object", "both")
            ]
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
    residuals = {f"residual_{step:02d}" for step in range(1, 6)}
    masks = {"mask_ox", "mask_ice"}
    assert {"clean", "latent_02", "latent_03", "latent_04"} | residuals | masks <= entry.tensors.keys()
    assert {entry.tensors[name]["dtype"] for name in masks} == {"bits"}
    assert {tensor["dtype"] for name, tensor in entry.tensors.items() if name not in masks} == {precision}
    assert service.run(SAME_OX).path == "fast"
    service.check_ledger()


def test_residuals_start_from_the_noise_of_the_donor(start: Start) -> None:
    service, first = prepared(start, keep=EVERYTHING)
    calibrate(service, "residual", noise="donor", lend="shared")

    job = service.run(SAME_OX)

    assert (job.path, job.receipt["reuse"], job.receipt["reason"]) == ("fast", "residual", "entity_hit")
    assert job.output["seed"] == first.output["seed"]


def test_residuals_are_of_no_use_to_a_run_with_a_seed_of_its_own(start: Start) -> None:
    service, first = prepared(start, keep=EVERYTHING)
    calibrate(service, "residual", noise="donor")

    assert service.run(SAME_OX, seed=first.output["seed"]).path == "fast"
    other = service.run(SAME_OX, seed=first.output["seed"] ^ 1)
    assert (other.path, other.receipt["reason"]) == ("full", "donor_unusable")


@pytest.mark.parametrize("lend", ["all", "shared", "others"])
def test_a_blend_runs_with_masks_and_the_users_own_seed(start: Start, lend: str) -> None:
    service, _ = prepared(start, keep=["masks"])
    calibrate(service, "blend", weight=0.5, lend=lend)

    job = service.run(SAME_OX, seed=11)

    assert (job.path, job.receipt["reuse"], job.output["seed"]) == ("fast", "blend", 11)


def test_entries_older_than_the_plan_cost_their_job_nothing_and_make_room_for_better_ones(start: Start) -> None:
    service, _ = prepared(start, keep=["nearest"])
    calibrate(service, "residual", noise="donor")
    configure(service, {"keep": ["residuals"]})

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

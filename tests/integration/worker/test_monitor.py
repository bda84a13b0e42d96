"""The monitor on the path of real jobs: real Postgres, storage, model and embedder."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import job_counts
import pytest
from celery import Celery
from sqlalchemy import func, select, text, update

from db import acceptance, job_lists, jobs, metrics, quality_checks
from db.models import CacheEvent, Job, JobMetric, PlanRow, QualityCheck, WaitingCheck
from db.session import transaction
from db.states import CheckStatus
from shared.ids import TASK
from worker import app as worker_app
from worker import tasks
from worker.jobs.attempt import generate
from worker.quality.shadow_reruns import check

Start = Callable[..., Any]  # Any: the Service of conftest

RED_FOX = "a red fox runs through a snowy forest"
SAME_FOX = "a red fox sleeps on a wooden bench"
FOXES = ["a red fox on a wooden pier", "a red fox in the desert", "a red fox near a quiet lake"]
STRICT = {"monitor_share": 1.0, "monitor_min_checks": 2, "monitor_tolerance": 0.0}  # no other video is good enough
LENIENT = {**STRICT, "monitor_tolerance": 1.0}


def checks(service: Any) -> list[QualityCheck]:
    with service.factory() as session:
        return list(session.scalars(select(QualityCheck).order_by(QualityCheck.id)))


def statuses(service: Any) -> list[str]:
    return [row.status for row in checks(service)]


def messages(service: Any) -> list[WaitingCheck]:
    with service.factory() as session:
        return list(session.scalars(select(WaitingCheck).order_by(WaitingCheck.id)))


def published(service: Any) -> None:
    """What the relay does with the outbox."""
    with transaction(service.factory) as session:
        session.query(WaitingCheck).delete()


def checked(service: Any, prompt: str) -> Job:
    """A job and its check, one after the other."""
    job = service.run(prompt)
    check(service.runtime, job.id)
    return job


def test_without_a_share_nothing_is_written_and_nothing_runs(start: Start) -> None:
    service = start()
    for prompt in (RED_FOX, SAME_FOX):
        published(service)
        job = service.run(prompt)
        check(service.runtime, job.id)

    assert (job.path, checks(service)) == ("fast", [])
    assert messages(service) == []


def test_a_job_with_a_donor_leaves_a_check_behind_everything_else(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    published(service)
    job = service.run(SAME_FOX)

    (row,) = checks(service)
    last = messages(service)[-1]
    assert (row.job_id, row.status, row.kind, row.is_refused) == (job.id, "waiting", "object", False)
    assert row.similarity == pytest.approx(1.0, abs=1e-5)
    assert (last.job_id, last.queue, last.priority) == (job.id, "bulk", 9)


def test_no_check_shows_among_the_users_jobs(start: Start) -> None:
    service = start(monitor_share=1.0)
    mine = [service.run(RED_FOX).id, service.run(SAME_FOX).id]

    with service.factory() as session:
        assert [job.id for job in job_lists.page(session, "ada", limit=10, newest_first=False)] == mine
        assert job_lists.num_queued(session, "ada") == 0
        assert job_counts.by_status(session) == {"completed": 2}


def test_a_full_run_and_one_with_steps_of_its_own_are_not_checked(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    service.run(SAME_FOX, mode="full")
    service.run(SAME_FOX, num_inference_steps=4)

    assert checks(service) == []


def test_a_check_compares_with_full_mode_and_says_what_it_cost(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    checked(service, SAME_FOX)

    (row,) = checks(service)
    assert (row.status, row.judge, row.fast_score, row.owner) == ("done", "distance", None, "w1")
    assert row.loss is not None
    assert 0 < row.loss < 1
    assert row.seconds > 0


def test_prompts_of_the_small_world_are_judged_by_its_checker(start: Start) -> None:
    service = start(monitor_share=1.0)
    ball = "a large red circle drifts right over a blue striped field"
    checked(service, ball)
    checked(service, ball)

    (row,) = checks(service)
    assert row.judge == "checker"
    assert row.fast_score is not None
    assert row.full_score is not None
    assert row.loss == pytest.approx(row.full_score - row.fast_score)


def test_a_check_leaves_nothing_but_its_row(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    before = _traces(service)

    check(service.runtime, job.id)

    assert statuses(service) == ["done"]
    assert _traces(service) == before
    service.check_ledger()


def _traces(service: Any) -> tuple[Any, ...]:
    files = sorted(
        (file.name, file.num_bytes) for folder in ("latents", "videos") for file in service.storage.files(folder)
    )
    with service.factory() as session:
        rows = [session.scalar(select(func.count()).select_from(table)) for table in (CacheEvent, JobMetric, Job)]
        job = session.scalars(select(Job).order_by(Job.created_at.desc())).first()
        return files, rows, [(entry.id, entry.status) for entry in service.entries()], job.receipt, job.attempt


def test_donors_that_hurt_raise_the_threshold_and_later_jobs_run_without(start: Start) -> None:
    service = start(**STRICT)
    service.run(RED_FOX)
    paths = [checked(service, prompt).path for prompt in FOXES[:2]]
    later = service.run(SAME_FOX)

    assert paths == ["fast", "fast"]
    assert (later.path, later.receipt["reason"]) == ("full", "hit_too_weak")
    with service.factory() as session:
        (row,) = session.scalars(select(PlanRow)).all()
    assert (row.kind, row.plan["recipes"][0]["source"], row.plan["recipes"][0]["min_similarity"]) == (
        "object",
        "monitor",
        1.01,
    )
    assert (row.plan["before"][0]["source"], row.plan["before"][0]["min_similarity"]) == ("paper", 0.0)
    (note,) = row.quality["monitor"]
    assert (note["old"], note["new"], note["judge"], note["evidence"]["count"]) == (0.0, 1.01, "distance", 2)


def test_a_distance_moves_nothing_until_the_operator_names_a_tolerance(start: Start) -> None:
    service = start(monitor_share=1.0, monitor_min_checks=2)
    service.run(RED_FOX)
    for prompt in FOXES:
        checked(service, prompt)

    assert statuses(service) == ["done"] * 3
    assert service.run(SAME_FOX).path == "fast"


def _plan(name: str) -> PlanRow:
    return PlanRow(namespace_key="key", kind="object", plan={"recipes": [name]}, quality={}, cost={})


def test_a_move_waits_for_a_calibration_and_goes_by_what_it_found(start: Start) -> None:
    factory = start().factory
    with transaction(factory) as session:
        metrics.set_plans(session, "key", [_plan("old")])

    def found() -> object:
        with transaction(factory) as session:
            row = quality_checks.lock(session, "key", "object")
            return None if row is None else row.plan["recipes"]

    with ThreadPoolExecutor() as pool:
        with transaction(factory) as session:
            metrics.set_plans(session, "key", [_plan("new")])
            read = pool.submit(found)
            wait([read], timeout=0.5)
        assert read.result(timeout=9) == ["new"]


def test_a_calibration_is_stored_whatever_the_monitor_writes_at_that_moment(start: Start) -> None:
    factory = start().factory

    def store() -> None:
        with transaction(factory) as session:
            metrics.set_plans(session, "key", [_plan("new")])

    with ThreadPoolExecutor() as pool:
        with transaction(factory) as session:
            quality_checks.lock(session, "key", "object")
            quality_checks.set_plan(session, "key", "object", plan={"recipes": ["moved"]}, quality={})
            stored = pool.submit(store)
            wait([stored], timeout=0.5)
        stored.result(timeout=9)
    with factory() as session:
        assert metrics.plans(session, "key") == {"object": ["new"]}


def test_one_kind_of_hit_is_moved_without_the_others(start: Start) -> None:
    service = start(**STRICT)
    service.run(RED_FOX)
    for prompt in FOXES[:2]:
        checked(service, prompt)
    both = service.run(RED_FOX)

    assert (both.path, both.receipt["hit"]) == ("fast", "both")


def test_refused_hits_that_would_have_lost_nothing_are_let_in_again(start: Start) -> None:
    strict, lenient = start(**STRICT), None
    strict.run(RED_FOX)
    for prompt in FOXES[:2]:
        checked(strict, prompt)
    lenient = strict.with_settings(**LENIENT)
    refused = [checked(lenient, prompt) for prompt in (SAME_FOX, FOXES[2])]
    later = lenient.run("a red fox beside a brick wall")

    assert [job.receipt["reason"] for job in refused] == ["hit_too_weak"] * 2
    assert [(row.is_refused, row.status) for row in checks(lenient)[2:4]] == [(True, "done")] * 2
    assert (later.path, later.receipt["reason"]) == ("fast", "entity_hit")
    with lenient.factory() as session:
        (row,) = session.scalars(select(PlanRow)).all()
    assert [(note["old"], note["new"]) for note in row.quality["monitor"]] == [(0.0, 1.01), (1.01, 0.95)]


def test_checks_made_before_a_move_do_not_count_for_the_next(start: Start) -> None:
    service = start(**STRICT)
    service.run(RED_FOX)
    *early, late = [service.run(prompt) for prompt in FOXES]
    for job in early:
        check(service.runtime, job.id)
    check(service.with_settings(**LENIENT).runtime, late.id)  # lets everything in again, if the early ones counted

    with service.factory() as session:
        (row,) = session.scalars(select(PlanRow)).all()
    assert statuses(service) == ["done"] * 3
    assert len(row.quality["monitor"]) == 1


@pytest.mark.parametrize("loss", ["the job", "the video", "the record"])
def test_a_check_that_lost_what_it_needs_costs_nothing(start: Start, loss: str) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    if loss == "the job":
        with transaction(service.factory) as session:
            jobs.remove(session, "ada", job.id)
    elif loss == "the video":
        service.storage.remove(job.output["name"])
    else:
        with transaction(service.factory) as session:
            session.execute(text("DELETE FROM lookups"))

    check(service.runtime, job.id)

    (row,) = checks(service)
    assert (row.status, row.loss) == ("lost", None)
    assert row.reason


def test_a_refused_hit_whose_donor_is_gone_is_not_judged(start: Start) -> None:
    service = start(**STRICT)
    service.run(RED_FOX)
    for prompt in FOXES[:2]:
        checked(service, prompt)
    job = service.run(SAME_FOX)
    with transaction(service.factory) as session:
        session.execute(text("UPDATE cache_entries SET status = 'gone'"))

    check(service.runtime, job.id)

    assert (checks(service)[-1].status, checks(service)[-1].reason) == ("lost", "the donor is gone")


def test_a_check_whose_worker_was_killed_is_not_run_again_and_is_given_up(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    with transaction(service.factory) as session:
        quality_checks.claim(session, job.id, owner="the killed one")

    check(service.runtime, job.id)  # the message, redelivered
    assert statuses(service) == ["running"]

    with transaction(service.factory) as session:
        session.execute(update(QualityCheck).values(started_at=func.now() - timedelta(hours=2)))
        assert quality_checks.sweep(session) == 1
    assert statuses(service) == ["lost"]
    with service.factory() as session:
        assert session.get_one(Job, job.id).status == "completed"


def test_a_check_whose_message_was_lost_is_given_up_after_a_day(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    service.run(SAME_FOX)

    with transaction(service.factory) as session:
        assert quality_checks.sweep(session) == 0
        session.execute(update(QualityCheck).values(created_at=func.now() - timedelta(days=2)))
        assert quality_checks.sweep(session) == 1
    assert messages(service) == []


def test_a_check_makes_way_for_a_job_and_gives_up_after_three_starts(start: Start) -> None:
    service = start(monitor_share=1.0, progress_s=1e-6)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    published(service)
    with transaction(service.factory) as session:
        given = {"model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
        waiting, _ = acceptance.accept(session, Job(tenant="eve", prompt="a blue whale", **given))

    seen = []
    for _ in range(quality_checks.MAX_STARTS):
        check(service.runtime, job.id)
        seen += statuses(service)

    assert seen == ["waiting", "waiting", "lost"]
    assert [row.job_id for row in messages(service)] == [job.id, job.id]  # a queued job is its own outbox row
    assert checks(service)[0].reason == "made way for jobs too often"
    assert generate(service.runtime, waiting.id)


def test_a_worker_that_shuts_down_puts_its_check_back(start: Start, database_url: str) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    published(service)
    with transaction(service.factory) as session:
        taken = quality_checks.claim(session, job.id, owner="w1")

    worker_app.release(database_url, "w1")

    assert statuses(service) == ["waiting"]
    assert [row.job_id for row in messages(service)] == [job.id]
    with transaction(service.factory) as session:
        assert not quality_checks.standing(session, taken, models=["tiny"]).is_ours
        assert not quality_checks.finish(session, taken, seconds=1.0, judge="distance", loss=0.5)


def test_a_check_that_came_to_a_worker_without_its_model_goes_back(start: Start, tmp_path: Path) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    published(service)

    check(service.with_settings(models_dir=tmp_path).runtime, job.id)

    assert statuses(service) == ["waiting"]
    assert [row.job_id for row in messages(service)] == [job.id]


def test_a_check_does_not_make_way_for_jobs_that_its_worker_cannot_take(start: Start) -> None:
    service = start(monitor_share=1.0, progress_s=1e-6)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    with transaction(service.factory) as session:
        given = {"model": "absent", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
        acceptance.accept(session, Job(tenant="eve", prompt="a blue whale", **given))

    check(service.runtime, job.id)

    assert statuses(service) == ["done"]


def test_a_check_of_a_monitor_that_was_switched_off_is_dropped(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)

    check(service.with_settings(monitor_share=0.0).runtime, job.id)

    assert [(row.status, row.reason) for row in checks(service)] == [("lost", "the monitor was switched off")]


def test_no_more_than_a_hundred_checks_of_a_case_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_checks, "MAX_OPEN", 1)
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    for prompt in FOXES:
        service.run(prompt)

    assert len(checks(service)) == 1


def test_a_monitor_that_breaks_costs_a_job_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    monkeypatch.setattr("worker.quality.monitor.quality_checks.sample", _broken)

    job = service.run(SAME_FOX)

    assert (job.status, job.attempt, checks(service)) == ("completed", 1, [])
    assert service.storage.read(job.output["name"])
    service.check_ledger()


def test_a_message_about_a_finished_job_runs_its_check(start: Start) -> None:
    """The relay publishes ids; the task finds out what each is about."""
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    app = Celery("test", broker="memory://", set_as_current=False)
    tasks.register(app, lambda: service.runtime)

    for _ in range(2):  # the second copy of a message does nothing
        app.tasks[TASK].apply(args=[str(job.id)])

    assert statuses(service) == ["done"]
    assert checks(service)[0].num_starts == 1


def test_a_check_of_another_models_job_leaves_the_loaded_model_alone(start: Start) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    service.runtime._loaded = ("other", service.runtime._loaded[1])

    check(service.runtime, job.id)

    assert [(row.status, row.reason) for row in checks(service)] == [("lost", "the worker has another model loaded")]
    assert service.runtime.loaded == "other"


def test_a_device_that_breaks_in_a_check_takes_the_process_but_not_the_job(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start(monitor_share=1.0)
    service.run(RED_FOX)
    job = service.run(SAME_FOX)
    monkeypatch.setattr("worker.quality.shadow_reruns.denoise", _broken)
    monkeypatch.setattr("worker.quality.shadow_reruns.device_faults.is_broken", lambda error: True)

    with pytest.raises(RuntimeError, match=r"^the device is gone$"):
        check(service.runtime, job.id)

    assert [(row.status, row.reason) for row in checks(service)] == [(CheckStatus.LOST, "the device is gone")]
    with service.factory() as session:
        assert session.get_one(Job, job.id).status == "completed"


def _broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("the device is gone")

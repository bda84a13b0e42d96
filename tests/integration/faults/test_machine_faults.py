"""Machines at fault: their workers take no jobs and say why, and no job fails of it. Real processes."""

import json
import shutil
from pathlib import Path

import pytest
from faulty_worker import ERRORS, NO_THREADS, SICK
from processes import Process, Service, wait_until

from db.states import FINAL, JobStatus
from shared.storage import MARKER

SEEN_S, HEALS_S = 90, 90  # on a loaded machine; the trial is repeated after 1, 2, 4 … s


@pytest.fixture
def sick_file(service: Service) -> Path:
    """While it exists, workers that were started with it are sick of what it says."""
    return service.folder / "sick"


def statuses(service: Service, ids: list) -> set[str]:
    return {service.job(id_).status for id_ in ids}


def test_forty_jobs_beside_a_healthy_and_a_broken_worker_all_complete(
    service: Service, relay: Process, sick_file: Path
) -> None:
    service.start_worker("broken", **{SICK: sick_file})
    sick_file.write_text("installation")
    service.start_worker("healthy")

    ids = service.submit("tiny", number=40)
    service.wait_ended(ids, 120)

    assert statuses(service, ids) == {JobStatus.COMPLETED}
    wait_until(lambda: "model_fault" in service.unfit("broken"), SEEN_S, service.folder)  # its next sign of life
    assert sum(service.job(id_).num_lost for id_ in ids) == 0
    service.check()


def test_jobs_that_only_a_broken_worker_could_take_wait_for_a_healthy_one(
    service: Service, relay: Process, sick_file: Path
) -> None:
    broken = service.start_worker("broken", **{SICK: sick_file})
    sick_file.write_text("installation")

    ids = service.submit("tiny", number=6)
    wait_until(lambda: service.unfit("broken") != "", SEEN_S, service.folder)
    taken = sum(service.job(id_).attempt for id_ in ids)
    assert taken == 1  # and never again: the worker has stopped
    assert statuses(service, ids) == {JobStatus.QUEUED}
    assert "takes no jobs" in broken.log.read_text()
    service.start_worker("healthy")
    service.wait_ended(ids, HEALS_S)

    assert statuses(service, ids) == {JobStatus.COMPLETED}
    service.check()


def test_a_machine_whose_own_trial_passes_stops_after_three_different_jobs(
    service: Service, relay: Process, sick_file: Path
) -> None:
    service.start_worker("broken", **{SICK: sick_file})
    sick_file.write_text("small disk")

    ids = service.submit("tiny", number=6)
    wait_until(lambda: service.unfit("broken") != "", SEEN_S, service.folder)

    assert "the last 3 jobs broke here" in service.unfit("broken")
    assert statuses(service, ids) == {JobStatus.QUEUED}
    service.start_worker("healthy")
    service.wait_ended(ids, HEALS_S)
    assert statuses(service, ids) == {JobStatus.COMPLETED}
    assert sum(service.job(id_).num_lost for id_ in ids) == 0
    service.check()


@pytest.mark.parametrize("sickness", [*ERRORS, NO_THREADS])
def test_a_machine_that_falls_sick_costs_a_job_nothing_and_goes_on_once_it_is_well(
    service: Service, relay: Process, sick_file: Path, sickness: str
) -> None:
    worker = service.start_worker("first", **{SICK: sick_file})
    service.wait_ended(service.submit("tiny"))

    sick_file.write_text(sickness)
    (id_,) = service.submit("tiny")
    wait_until(lambda: service.unfit("first") != "", SEEN_S, service.folder)
    sick_file.unlink()
    service.wait_ended([id_], HEALS_S)

    job = service.job(id_)
    assert (job.status, job.num_lost) == (JobStatus.COMPLETED, 0)
    assert service.outcomes(id_)[-1] == "completed"
    assert worker.is_alive
    service.check()


def test_a_worker_proves_itself_before_its_first_job(service: Service, relay: Process) -> None:
    service.start_worker("healthy")
    service.wait_ended(service.submit("tiny"))
    service.processes[-1].kill()
    folder = service.folder
    empty, weightless, elsewhere = folder / "empty", folder / "weightless", folder / "elsewhere"
    for made in (empty, weightless / "tiny", elsewhere):
        made.mkdir(parents=True)
    card = json.loads((folder / "models" / "tiny" / "chai.json").read_text())
    (weightless / "tiny" / "chai.json").write_text(json.dumps(card | {"source": "missing"}))
    wrong_id = folder / "wrong" / MARKER
    wrong_id.parent.mkdir(parents=True)
    wrong_id.write_text("5e0a7a3c-7d3c-4a53-8d5e-0f3a3f2b8a11")
    for sickness in ("codec", "clock", "disk"):
        (folder / sickness).write_text(sickness)
    faults = {
        "models": ({"CHAI_MODELS_DIR": empty}, "model_not_found"),
        "weights": ({"CHAI_MODELS_DIR": weightless}, "model_unavailable"),
        "temporary": ({SICK: folder / "disk"}, "temporary_folder"),
        "unmounted": ({"STORAGE_URL": elsewhere.as_uri()}, "foreign_storage"),
        "foreign": ({"STORAGE_URL": (folder / "wrong").as_uri()}, "foreign_storage"),
        "codec": ({SICK: folder / "codec"}, "codec"),
        "clock": ({SICK: folder / "clock"}, "clock"),
    }

    (id_,) = service.submit("tiny")
    for name, (env, _) in faults.items():
        service.start_worker(name, **env)
    for name, (_, code) in faults.items():
        wait_until(lambda name=name: service.unfit(name) != "", SEEN_S, folder)
        assert service.unfit(name).startswith(f"{code}: ")

    assert service.job(id_).attempt == 0
    assert not list(elsewhere.iterdir())
    service.start_worker("healthy")
    service.wait_ended([id_], HEALS_S)
    assert service.job(id_).status == JobStatus.COMPLETED
    service.check()


def test_a_storage_that_goes_away_stops_its_workers_and_fails_nothing(service: Service, relay: Process) -> None:
    service.env["CHAI_STORAGE_PATIENCE_S"] = "0.5"
    service.start_worker("first")
    service.wait_ended(service.submit("tiny"))
    storage = Path(service.env["STORAGE_URL"].removeprefix("file://"))

    away = storage.rename(storage.with_name("away"))
    storage.write_text("a file where the folder was")
    ids = service.submit("tiny", number=6)
    wait_until(lambda: service.unfit("first").startswith("storage_unavailable"), SEEN_S, service.folder)
    storage.unlink()
    shutil.move(away, storage)
    service.wait_ended(ids, HEALS_S)

    assert statuses(service, ids) == {JobStatus.COMPLETED}
    assert sum(service.job(id_).num_lost for id_ in ids) == 0
    service.check()


def test_a_child_that_cannot_begin_makes_room_for_one_that_can(
    service: Service, relay: Process, sick_file: Path
) -> None:
    sick_file.write_text("threads")
    service.start_worker("sick", **{SICK: sick_file})
    (id_,) = service.submit("tiny")
    wait_until(lambda: "cannot begin: RuntimeError" in service.unfit("sick"), SEEN_S, service.folder)

    sick_file.unlink()
    service.wait_ended([id_], HEALS_S)

    assert service.outcomes(id_) == ["completed"]
    service.check()


def test_a_storage_that_is_slower_than_a_lease_costs_no_attempt(service: Service, relay: Process) -> None:
    sick = service.folder / "sick"
    sick.write_text("slow storage")
    service.start_worker("first", **{SICK: sick})
    (id_,) = service.submit("tiny")

    service.wait_ended([id_], HEALS_S)

    assert service.outcomes(id_) == ["completed"]
    service.check()


def test_workers_with_different_models_each_take_what_they_have(service: Service, relay: Process) -> None:
    """As in a rolling upgrade, or with machines of two sizes: nothing fails, and nothing waits for the other kind."""
    rest = service.folder / "rest"
    shutil.copytree(service.folder / "models", rest, ignore=shutil.ignore_patterns("tiny"))
    only = service.folder / "only"
    shutil.copytree(service.folder / "models" / "tiny", only / "tiny")
    service.start_workers("small", CHAI_MODELS_DIR=only)
    service.start_workers("large", CHAI_MODELS_DIR=rest)  # without the default model

    slow = service.submit("slow", number=6)
    tiny = service.submit("tiny", number=6)
    service.wait_ended(tiny, HEALS_S)
    assert not all(service.job(id_).status in FINAL for id_ in slow)  # of another worker, and in nobody's way
    service.wait_ended(slow, HEALS_S)

    ids = [*slow, *tiny]
    assert statuses(service, ids) == {JobStatus.COMPLETED}
    assert {tuple(service.outcomes(id_)) for id_ in ids} == {("completed",)}
    assert {service.holder(id_) for id_ in tiny} == {"small"}
    assert {service.holder(id_) for id_ in slow} == {"large"}
    service.check()

"""Workers whose loop hangs, or takes from no queue any more, though their process lives. Real processes."""

import time

from faulty_worker import DECODING, HANG, SOON
from processes import Process, Service, linked, wait_until

from db import heartbeats
from db.session import transaction

SOON_S = 4.0


def age_s(service: Service, name: str) -> float:
    """How long ago a worker gave its last sign of life."""
    with transaction(service.factory) as session:
        beats = heartbeats.seen(session, "worker")
    return next(beat.age_s for beat in beats if beat.name.startswith(f"worker:{name}@"))


def test_a_worker_whose_loop_hangs_is_handed_no_jobs_and_soon_gives_no_sign_of_life(
    service: Service, relay: Process
) -> None:
    stuck = service.start_worker("stuck", **{SOON: SOON_S})
    service.wait_ended(service.submit("tiny"))

    stuck.process.send_signal(HANG)
    wait_until(lambda: service.unfit("stuck").startswith("stuck: has not asked its broker for "), 30, service.folder)
    wait_until(lambda: age_s(service, "stuck") > 5, 30, service.folder)  # two seconds apart else
    assert "this worker asks its broker for nothing any more" in stuck.log.read_text()
    ids = service.submit("tiny", number=2)
    service.start_worker("sound")
    service.wait_ended(ids)

    assert {service.holder(id_) for id_ in ids} == {"sound"}
    service.check()


def watched(service: Service, name: str, *, for_s: float) -> tuple[set[str], float]:
    """Why a worker took no jobs in a stretch of time, and how long it was silent at most."""
    reasons, ages = set(), []
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        reasons.add(service.unfit(name))
        ages.append(age_s(service, name))
        time.sleep(0.2)
    return reasons, max(ages)


def test_a_long_job_is_not_taken_for_a_loop_that_hangs(service: Service, relay: Process) -> None:
    service.start_worker("busy", **{SOON: SOON_S, DECODING: 4 * SOON_S})
    (id_,) = service.submit("late")
    service.wait_running(id_, step=1)

    reasons, silent_s = watched(service, "busy", for_s=3 * SOON_S)

    assert (reasons, silent_s < SOON_S) == ({""}, True)
    service.wait_ended([id_])
    assert service.outcomes(id_) == ["completed"]


def test_a_broker_that_is_away_is_not_taken_for_a_loop_that_hangs(
    service: Service, relay: Process, redis_url: str
) -> None:
    """Whoever ended the worker then would end its job, and mend nothing."""
    link, far_url = linked(redis_url)
    service.start_worker("far", REDIS_URL=far_url, **{SOON: 6.0})
    service.wait_ended(service.submit("tiny"))

    link.cut()
    _, silent_s = watched(service, "far", for_s=36.0)
    link.heal()

    assert silent_s < 6.0
    service.wait_ended(service.submit("tiny"))
    link.close()

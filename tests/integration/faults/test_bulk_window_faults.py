"""A small night: a bulk run in two windows seconds apart, while a worker and the relay are killed."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi.testclient import TestClient
from processes import Process, Service, wait_until
from running import settings_of
from sqlalchemy import select

from api.app import create_app
from db.models import Batch, Job
from db.session import transaction
from db.states import FINAL, JobStatus

NUM_LINES = 24
CLOSED = timedelta(seconds=3)


def test_a_run_in_two_windows_outlives_its_worker_and_the_relay(service: Service, relay: Process) -> None:
    workers = service.start_workers("first", "second")
    with TestClient(create_app(settings_of(service.env)), base_url="http://127.0.0.1") as client:
        run = submitted(client)
        lines = lines_of(service, run)

        wait_until(lambda: number(service, lines, FINAL) >= 3 and held_by(service, "first"), 60, service.folder)
        workers["first"].kill()
        struck = held_by(service, "first")
        wait_until(lambda: number(service, lines, FINAL) >= 5, 60, service.folder)
        closes = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        opens = closes + CLOSED
        assert client.post(f"/v1/bulk-runs/{run}/window", json={"window": window(opens, closes)}).is_success
        wait_until(lambda: is_held(service, run), 20, service.folder)
        held_at = datetime.now(UTC)
        relay.kill()  # another opens the window
        service.start_relay()
        service.wait_ended(lines, timeout_s=120)
        wait_until(lambda: client.get(f"/v1/bulk-runs/{run}").json()["status"] == "completed", 20, service.folder)

    with transaction(service.factory) as session:
        jobs = session.scalars(select(Job)).all()
    assert [job.status for job in jobs] == ["completed"] * NUM_LINES
    assert not [job.claimed_at for job in jobs if held_at < job.claimed_at < opens]
    assert [job for job in jobs if job.claimed_at >= opens]
    assert {outcome for id_ in lines for outcome in service.outcomes(id_)} <= {"completed", "lost", "released"}
    assert all(service.outcomes(id_)[0] == "lost" for id_ in struck)
    service.check()


def window(opens: datetime, closes: datetime) -> dict[str, str]:
    return {"start": f"{opens:%H:%M:%S}", "end": f"{closes:%H:%M:%S}", "tz": "UTC", "at_end": "stop"}


def submitted(client: TestClient) -> str:
    """A sealed run of slow lines, in a window that is open for an hour yet."""
    now = datetime.now(UTC)
    rule = window(now - timedelta(hours=1), now + timedelta(hours=1))
    run = str(client.post("/v1/bulk-runs", json={"manifest_key": "night", "window": rule}).json()["id"])
    asked = {"model": "slow", "num_inference_steps": 3, "num_frames": 1, "mode": "full"}  # a tenth of a second a step
    lines = [{"custom_id": f"line-{n}", "prompt": f"a fox {n}", **asked} for n in range(NUM_LINES)]
    assert client.post(f"/v1/bulk-runs/{run}/items", json={"items": lines}).json()["accepted"] == NUM_LINES
    assert client.post(f"/v1/bulk-runs/{run}/seal").json()["status"] == "in_progress"
    return run


def lines_of(service: Service, run: str) -> list[UUID]:
    with transaction(service.factory) as session:
        ids = list(session.scalars(select(Job.id).where(Job.batch_id == UUID(run.removeprefix("batch_")))))
    service.accepted += ids
    return ids


def number(service: Service, ids: list[UUID], statuses: Collection[str]) -> int:
    with transaction(service.factory) as session:
        return sum(status in statuses for status in session.scalars(select(Job.status).where(Job.id.in_(ids))))


def held_by(service: Service, worker: str) -> list[UUID]:
    runs = [id_ for id_ in service.accepted if service.job(id_).status == JobStatus.IN_PROGRESS]
    return [id_ for id_ in runs if service.holder(id_) == worker]


def is_held(service: Service, run: str) -> bool:
    with transaction(service.factory) as session:
        return session.get_one(Batch, UUID(run.removeprefix("batch_"))).is_held

"""Workers on machines of their own, which share Postgres, Redis and a bucket and nothing else.

Each machine is a network namespace behind one cable; pulled, delayed and plugged in again in the middle of jobs.
"""

import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from bucket_server import BUCKET, Bucket, bucket_server
from machines import Machine, laid, may_lay_cables
from processes import Service, wait_until
from sqlalchemy.orm import Session, sessionmaker

from db.states import JobStatus

pytest.importorskip("s3fs", reason="videos in a bucket need s3fs")


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    if not may_lay_cables():
        pytest.skip("needs root, and network namespaces with virtual cables (ip netns)")
    with laid(2) as made:
        yield made


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_server() as server:
        for name, value in ACCOUNT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def start_worker(service: Service, machine: Machine, bucket: Bucket) -> None:
    """Start a worker with files, temporary folder and models of its machine's own."""
    own = service.folder / machine.name
    (own / "tmp").mkdir(parents=True)
    shutil.copytree(service.folder / "models", own / "models")
    env = {name: machine.reach(service.env[name]) for name in ("DATABASE_URL", "REDIS_URL")}
    env |= {"AWS_ENDPOINT_URL": machine.reach(bucket.url), "TEST_NETWORK": machine.name, **ACCOUNT}
    env |= {
        "TMPDIR": str(own / "tmp"),
        "CHAI_MODELS_DIR": str(own / "models"),
        "CHAI_READ_CACHE_DIR": str(own / "near"),
    }
    service.start_worker(machine.name, **env)


def test_machines_that_share_only_servers_lose_no_job_when_their_cables_are_pulled(
    make_service: Callable[..., Service],
    session_factory: sessionmaker[Session],
    database_url: str,
    redis_url: str,
    machines: list[Machine],
    bucket: Bucket,
) -> None:
    service = make_service(session_factory, database_url, redis_url)
    service.env["STORAGE_URL"] = f"s3://{BUCKET}/chai"
    service.start_relay()
    for machine in machines:
        start_worker(service, machine, bucket)
    near, far = machines
    ids = service.submit("slow", number=4)
    ids += service.submit("tiny", number=8, prompt="a red ball")
    wait_until(lambda: {service.holder(id_) for id_ in ids} >= {near.name, far.name}, 60, service.folder)
    held = next(id_ for id_ in ids[:4] if service.holder(id_) == far.name)

    far.pull()
    wait_until(lambda: not service.running(held, step=0) or service.holder(held) == near.name, 60, service.folder)
    near.delay(0.05)
    far.plug_in()
    time.sleep(1)
    near.delay(0)
    near.pull()
    ids += service.submit("tiny", number=4, prompt="a red ball")  # only the far one can run them now
    wait_until(lambda: all(service.job(id_).status == JobStatus.COMPLETED for id_ in ids[-4:]), 90, service.folder)
    near.plug_in()

    service.wait_ended(ids, 120)
    assert {service.job(id_).status for id_ in ids} == {JobStatus.COMPLETED}
    assert "lost" in service.outcomes(held)
    assert {service.holder(id_) for id_ in ids[-4:]} == {far.name}
    service.check()

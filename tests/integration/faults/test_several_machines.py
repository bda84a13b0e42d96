"""Workers on machines of their own, which share Postgres, Redis and a bucket and nothing else.

Each machine is a network namespace behind one cable; pulled, delayed and plugged in again in the middle of jobs.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from bucket_server import BUCKET, Bucket, bucket_server
from processes import Service, linked, wait_until
from sqlalchemy.orm import Session, sessionmaker

from db.states import JobStatus
from lab.chaos.link import Link

pytest.importorskip("s3fs", reason="videos in a bucket need s3fs")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def may_lay_cables() -> bool:
    name = f"chai{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("link", "add", f"{name}-", "type", "veth", "peer", "name", f"{name}=")
        ip("link", "del", f"{name}-")
        ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@dataclass(kw_only=True)
class Machine:
    """A namespace behind a cable; what it reaches lies at the cable's near end."""

    name: str  # of the namespace
    number: int
    links: list[Link] = field(default_factory=list)

    @property
    def cable(self) -> str:
        return f"{self.name}-"

    @property
    def gate(self) -> str:
        """The address of the near end."""
        return f"10.213.{self.number}.1"

    def plug_in(self) -> None:
        ip("link", "set", self.cable, "up")

    def pull(self) -> None:
        """Nobody is told: connections stay open, packets go nowhere."""
        ip("link", "set", self.cable, "down")

    def delay(self, seconds: float) -> None:
        for link in self.links:
            link.delay_s = seconds

    def reach(self, url: str) -> str:
        """Return the URL by which a server of the test's own machine is reached."""
        link, through = linked(url, at=self.gate)
        self.links.append(link)
        return through

    def lay(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{self.gate}/30", "dev", self.cable)
        ip("-n", self.name, "addr", "add", f"10.213.{self.number}.2/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")
        self.plug_in()

    def remove(self) -> None:
        for link in self.links:
            link.close()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)  # its cable goes with it


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    if not may_lay_cables():
        pytest.skip("needs root, and network namespaces with virtual cables (ip netns)")
    with ExitStack() as stack:
        made = [
            Machine(name=f"chai{os.getpid()}{letter}", number=os.getpid() % 120 * 2 + n)
            for n, letter in enumerate("ab")
        ]
        for machine in made:
            stack.callback(machine.remove)
            machine.lay()
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

"""Networks that swallow bytes, a broker without room, a clock that is wrong. Real processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from faulty_worker import SICK
from processes import Process, Service, linked, wait_until

from db.states import JobStatus
from lab.chaos.link import Link

STARTS_S = 90  # on a loaded machine


@pytest.fixture
def link_to() -> Iterator[Callable[[str], tuple[Link, str]]]:
    """Makes links to a server, and the URL by which it is reached through one."""
    links: list[Link] = []

    def link_to_(url: str) -> tuple[Link, str]:
        link, through = linked(url)
        links.append(link)
        return link, through

    yield link_to_
    for link in links:
        link.close()


def complete_one(service: Service) -> None:
    service.wait_ended(service.submit("tiny"), STARTS_S)


def test_a_worker_takes_jobs_again_after_its_broker_was_out_of_reach(
    service: Service, relay: Process, redis_url: str, link_to: Callable[[str], tuple[Link, str]]
) -> None:
    link, far_url = link_to(redis_url)
    service.start_worker("far", REDIS_URL=far_url)
    complete_one(service)

    link.cut()  # half open: no end of the connection is told
    ids = service.submit("tiny", number=3)
    time.sleep(3)
    assert {service.job(id_).status for id_ in ids} == {JobStatus.QUEUED}
    link.heal()

    service.wait_ended(ids, 60)
    assert {tuple(service.outcomes(id_)) for id_ in ids} == {("completed",)}
    service.check()


def test_a_worker_takes_jobs_again_though_its_connections_to_the_broker_never_end(
    service: Service, relay: Process, redis_url: str, link_to: Callable[[str], tuple[Link, str]]
) -> None:
    """As behind a firewall that forgot them, or after a failover: nobody tells their end, and new ones work."""
    link, far_url = link_to(redis_url)
    service.start_worker("far", REDIS_URL=far_url)
    complete_one(service)

    link.strand()  # about when the worker acknowledges
    complete_one(service)
    time.sleep(1)
    link.strand()  # while it idles
    complete_one(service)
    (id_,) = service.submit("slow")
    service.wait_running(id_)
    link.strand()  # under a job
    service.wait_ended([id_], 60)
    complete_one(service)

    assert service.outcomes(id_) == ["completed"]
    service.check()


def test_a_worker_is_back_within_ten_seconds_of_a_healed_way_to_the_database(
    service: Service, relay: Process, database_url: str, link_to: Callable[[str], tuple[Link, str]]
) -> None:
    link, far_url = link_to(database_url)
    service.start_worker("far", DATABASE_URL=far_url)
    complete_one(service)
    (id_,) = service.submit("slow")
    service.wait_running(id_)

    link.cut()
    wait_until(lambda: service.job(id_).status == JobStatus.QUEUED, 15, service.folder)  # its lease ended
    link.heal()
    healed_at = time.monotonic()

    wait_until(lambda: service.running(id_, step=1), 10, service.folder)
    assert time.monotonic() - healed_at < 10
    service.wait_ended([id_])
    assert service.outcomes(id_) == ["lost", "completed"]
    service.check()


@pytest.mark.parametrize("server", ["DATABASE_URL", "REDIS_URL"])
def test_a_relay_hands_over_again_after_a_server_was_out_of_reach(
    service: Service, link_to: Callable[[str], tuple[Link, str]], server: str
) -> None:
    link, far_url = link_to(service.env[server])
    service.start_relay(**{server: far_url})
    service.start_worker("first")
    complete_one(service)

    link.cut()
    ids = service.submit("tiny", number=3)
    time.sleep(3)
    assert {service.job(id_).status for id_ in ids} == {JobStatus.QUEUED}
    link.heal()

    service.wait_ended(ids, 60)
    assert {tuple(service.outcomes(id_)) for id_ in ids} == {("completed",)}
    service.check()


@contextmanager
def without_memory(client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory", "1mb")  # less than it holds; noeviction
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


@contextmanager
def without_disk(client: redis.Redis) -> Iterator[None]:
    """A snapshot cannot be written: Redis answers MISCONF to every write from then on."""
    before = client.config_get("dbfilename")["dbfilename"]
    taken = Path(client.config_get("dir")["dir"]) / "taken"
    taken.mkdir()  # no file can have this name
    client.config_set("dbfilename", taken.name)
    client.config_set("save", "3600 1")
    try:
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20, taken)
        with pytest.raises(redis.ResponseError, match="RDB snapshots"):
            client.set("a", "b")
        yield
    finally:
        client.config_set("save", "")
        client.config_set("dbfilename", before)
        taken.rmdir()


@contextmanager
def with_keys_of_another_kind(client: redis.Redis) -> Iterator[None]:
    """Another program has our names: Redis answers WRONGTYPE to whoever asks for a queue."""
    names = ("interactive", "unacked", "unacked_index")
    for name in names:
        client.delete(name)
        client.set(name, "theirs")
    try:
        yield
    finally:
        client.delete(*names)


@contextmanager
def failed_over(client: redis.Redis) -> Iterator[None]:
    """It becomes a replica: whoever waits for a message hears UNBLOCKED, whoever writes READONLY."""
    client.execute_command("REPLICAOF", "127.0.0.1", "9")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


STATES = [without_memory, without_disk, with_keys_of_another_kind, failed_over]


@pytest.mark.parametrize("state", STATES)
def test_a_broker_without_room_costs_no_job(
    service: Service, relay: Process, redis_url: str, state: Callable[[redis.Redis], AbstractContextManager[None]]
) -> None:
    worker = service.start_worker("first")
    complete_one(service)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client, ExitStack() as stack:
        stack.enter_context(state(client))
        ids = service.submit("tiny", number=5)
        time.sleep(2)
        assert {service.job(id_).status for id_ in ids} == {JobStatus.QUEUED}
        assert relay.is_alive
        assert worker.is_alive

    service.wait_ended(ids)
    assert {tuple(service.outcomes(id_)) for id_ in ids} == {("completed",)}
    service.check()


def test_leases_do_not_follow_the_clock_of_a_worker(service: Service, relay: Process) -> None:
    ahead = service.folder / "sick"
    ahead.write_text("clock")  # five minutes: more than any lease
    service.start_worker("ahead", **{SICK: ahead, "CHAI_CLOCK_SKEW_S": 1000})
    ids = service.submit("slow", number=2)

    service.wait_ended(ids, STARTS_S)

    assert {tuple(service.outcomes(id_)) for id_ in ids} == {("completed",)}
    service.check()

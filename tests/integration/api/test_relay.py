"""The relay against a real broker: what is committed gets there, whatever dies or goes away meanwhile."""

import json
import logging
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import redis
from pydantic import ValidationError
from running import Process, api_process, mp4, relay_process, settings_of, wait_until, work
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.broker import Broker, BrokerAway
from api.outbox_relay import FORGET_CHUNK, Duty, Relay
from api.settings import ApiSettings
from cli.services.redis import Redis
from db import acceptance, batches, clock, heartbeats, identities, jobs, namespaces, outbox
from db.identities import ForeignStorage
from db.listener import Listener
from db.models import Batch, CacheEvent, Heartbeat, Job
from db.outbox import Waiting
from db.session import transaction
from db.states import Queue
from shared.storage import Storage


def accept(factory: sessionmaker[Session], prompt: str = "a", **columns: object) -> UUID:
    values = {"tenant": "local", "model": "tiny", "width": 64, "height": 64, "num_frames": 16, "fps": 8, **columns}
    with transaction(factory) as session:
        job, _ = acceptance.accept(session, Job(prompt=prompt, **values))
        return job.id


def messages(broker_url: str, queue: str = "interactive") -> list[dict]:
    """Messages in a queue, those that are taken first first."""
    with redis.Redis.from_url(broker_url) as client:
        return [json.loads(raw) for raw in reversed(client.lrange(queue, 0, -1))]


def waiting(broker_url: str, queue: str = "interactive") -> list[str]:
    """Ids in a queue, those that are taken first first."""
    return [arguments(message)[0] for message in messages(broker_url, queue)]


def arguments(message: dict) -> list[str]:
    return json.loads(b64decode(message["body"]))[0]


def num_waiting(factory: sessionmaker[Session]) -> int:
    """Jobs that the broker does not have."""
    with factory() as session:
        return session.scalar(select(func.count()).where(Job.status == "queued", Job.published_at.is_(None)))


def work_at(factory: sessionmaker[Session], number: int, *queues: str) -> None:
    """Let so many workers be there."""
    with transaction(factory) as session:
        for worker in range(number):
            heartbeats.beat(session, f"worker:w{worker}", {"queues": list(queues or Queue)})


def claim(factory: sessionmaker[Session], job_id: str, owner: str = "w") -> jobs.Claim:
    with transaction(factory) as session:
        claimed = jobs.claim(session, UUID(job_id), owner=owner, lease_s=30)
    assert claimed
    return claimed


@pytest.fixture
def start(settings: ApiSettings, engine: Engine, storage: Storage) -> Iterator[Callable[..., Relay]]:
    """Starts relays in threads of this process; they stop at the end."""
    running: list[tuple[Relay, threading.Thread]] = []

    def begin(**changes: object) -> Relay:
        own = settings.model_copy(update=changes)
        relay = Relay(own, engine, Broker(own.redis_url), storage)
        thread = threading.Thread(target=relay.run)
        thread.start()
        running.append((relay, thread))
        return relay

    yield begin
    for relay, thread in running:
        relay.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_a_check_goes_only_to_workers_that_have_its_model(
    settings: ApiSettings, engine: Engine, storage: Storage, session_factory: sessionmaker[Session], redis_url: str
) -> None:
    job_id = accept(session_factory)  # of the model tiny
    with transaction(session_factory) as session:
        session.execute(update(Job).values(status="completed", output={"name": "videos/a.mp4"}))
        outbox.add_last(session, [job_id])
        heartbeats.beat(session, "worker:a", {"models": ["wan"]})
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)

    relay.publish()
    without = waiting(redis_url, "bulk")
    accept(session_factory, model="absent")  # nobody takes it: it keeps no check waiting
    with transaction(session_factory) as session:
        heartbeats.beat(session, "worker:b", {"models": ["tiny", "wan"]})
    relay.publish()
    relay._leave()

    assert (without, waiting(redis_url, "bulk"), waiting(redis_url, "bulk.tiny")) == ([], [], [str(job_id)])


def test_a_bell_that_is_closed_can_be_pulled(engine: Engine) -> None:
    """A signal may come while the relay is leaving: nobody waits any more, and nothing is wrong."""
    listener = Listener(engine, outbox.CHANNEL)
    listener.close()

    listener.stop()


def test_a_notice_comes_for_every_accepted_job(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start(
        relay_poll_s=60, window=10
    )  # without the listener, the next look is a minute away: `wait_until` would give up
    for number in range(10):
        accept(session_factory)
        wait_until(lambda n=number: len(waiting(redis_url)) == n + 1)

    wait_until(lambda: num_waiting(session_factory) == 0)


def test_a_message_carries_only_the_id_and_says_to_people_which_attempt_at_what_it_is(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start()

    job_id = accept(session_factory, "a red fox")

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    message = messages(redis_url)[0]
    assert message["headers"]["task"] == "chai.generate"
    assert message["content-type"] == "application/json"
    assert arguments(message) == [str(job_id)]
    assert message["headers"]["id"] == f"video_{job_id.hex}-1"
    assert message["headers"]["argsrepr"] == f"('video_{job_id.hex}', 'a red fox')"
    assert message["headers"]["kwargsrepr"] == "{'mode': 'auto'}"

    def is_noted() -> bool:  # after the message has gone, so that none is lost between the two
        with session_factory() as session:
            return session.get_one(Job, job_id).published_at is not None

    wait_until(is_noted)


def test_bulk_goes_to_its_own_queue_and_priorities_come_first(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    late = accept(session_factory, priority=9)
    bulk = accept(session_factory, queue=Queue.BULK)
    first = accept(session_factory, priority=0)

    start()

    wait_until(lambda: len(waiting(redis_url)) == 2)
    assert waiting(redis_url) == [str(first), str(late)]
    wait_until(lambda: waiting(redis_url, "bulk") == [str(bulk)])


def test_a_backlog_is_published_once_by_many_relays(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    ids = [str(accept(session_factory)) for _ in range(90)]

    for _ in range(3):
        start(window=100)

    wait_until(lambda: num_waiting(session_factory) == 0)
    assert sorted(waiting(redis_url)) == sorted(ids)


def test_f1_a_job_whose_api_died_after_the_commit_is_published_once(
    environment: dict[str, str], tmp_path: Path, session_factory: sessionmaker[Session], redis_url: str
) -> None:
    with api_process(environment, tmp_path) as api:
        video = httpx.post(f"{api.url}/v1/videos", json={"prompt": "a"}, trust_env=False).json()
        api.kill()
    assert waiting(redis_url) == []

    with relay_process(environment, tmp_path) as relay:
        wait_until(lambda: len(waiting(redis_url)) == 1)
        assert relay.terminate() == 0

    assert UUID(waiting(redis_url)[0]).hex == video["id"].removeprefix("video_")
    assert num_waiting(session_factory) == 0


def test_f2_an_api_that_dies_before_the_commit_leaves_nothing_and_a_retry_makes_one_job(
    environment: dict[str, str], tmp_path: Path, engine: Engine, session: Session
) -> None:
    key = {"Idempotency-Key": "once"}
    with api_process(environment, tmp_path) as api, engine.connect() as blocker:
        blocker.execute(text("SET idle_in_transaction_session_timeout = 0"))
        blocker.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))  # holds the request before its row
        sent = threading.Thread(target=_post_into_the_void, args=(api, key))
        sent.start()
        wait_until(lambda: num_api_connections(engine, waiting_for_lock=True) == 1)
        api.kill()
        sent.join()
        blocker.rollback()
    wait_until(lambda: num_api_connections(engine) == 0)
    assert session.scalars(select(Job)).all() == []

    with api_process(environment, tmp_path) as api:
        for _ in range(2):
            httpx.post(f"{api.url}/v1/videos", json={"prompt": "a"}, headers=key, trust_env=False).raise_for_status()

    session.rollback()
    assert len(session.scalars(select(Job)).all()) == 1


def _post_into_the_void(api: Process, key: dict[str, str]) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{api.url}/v1/videos", json={"prompt": "a"}, headers=key, trust_env=False, timeout=30)


def num_api_connections(engine: Engine, *, waiting_for_lock: bool = False) -> int:
    """Count them anew: within one transaction Postgres shows the same picture of its connections."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chai-api' AND datname = current_database()"
        " AND (wait_event_type = 'Lock' OR NOT :waiting)"
    )
    with engine.connect() as connection:
        return connection.scalar(text(query), {"waiting": waiting_for_lock})


def test_f8_while_redis_is_away_jobs_are_accepted_and_published_when_it_is_back(
    environment: dict[str, str], tmp_path: Path, session_factory: sessionmaker[Session]
) -> None:
    server = Redis(tmp_path / "redis").start()
    environment = {**environment, "REDIS_URL": server.url, "CHAI_WINDOW": "100"}
    try:
        with api_process(environment, tmp_path) as api, relay_process(environment, tmp_path) as relay:
            before = _submit(api)
            wait_until(lambda: waiting(server.url) == [before])
            server.stop()

            during = [_submit(api) for _ in range(20)]
            wait_until(lambda: "duty failed" in relay.log.read_text())
            assert num_waiting(session_factory) == 20

            server.start()
            wait_until(lambda: num_waiting(session_factory) == 0)
            assert set(waiting(server.url)) == {before, *during}
            after = _submit(api)
            wait_until(lambda: after in waiting(server.url))
            assert relay.terminate() == 0
    finally:
        server.stop()


def _submit(api: Process) -> str:
    answer = httpx.post(f"{api.url}/v1/videos", json={"prompt": "a"}, trust_env=False).raise_for_status()
    return str(UUID(answer.json()["id"].removeprefix("video_")))


def test_f7_jobs_whose_messages_were_flushed_are_published_again(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start(sweep_s=0.2, lost_s=0.5, window=10)
    ids = {str(accept(session_factory)) for _ in range(5)}
    wait_until(lambda: set(waiting(redis_url)) == ids)

    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()

    wait_until(lambda: set(waiting(redis_url)) == ids)  # perhaps twice, which costs nothing


def test_a_job_whose_message_is_lost_is_handed_over_again_though_the_queue_is_not_empty(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    lost, other = accept(session_factory), accept(session_factory)
    with transaction(session_factory) as session:
        session.execute(
            update(Job).where(Job.id == lost).values(published_at=func.now() - text("interval '4 seconds'"))
        )

    start(sweep_s=0.2)

    wait_until(lambda: set(waiting(redis_url)) == {str(lost), str(other)})


def test_jobs_that_wait_in_a_full_queue_are_not_published_again(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    relay = start(sweep_s=30, lost_s=0.01, window=10)
    ids = {str(accept(session_factory)) for _ in range(3)}
    wait_until(lambda: set(waiting(redis_url)) == ids)
    time.sleep(0.05)

    relay.republish()

    assert num_waiting(session_factory) == 0
    assert len(waiting(redis_url)) == 3


def test_a_message_in_the_hand_of_a_worker_is_not_taken_for_lost(
    settings: ApiSettings, engine: Engine, storage: Storage, session_factory: sessionmaker[Session], redis_url: str
) -> None:
    """Between taking a message and claiming its job a worker needs a moment: the relay may look just then, twice."""
    first, second = (str(accept(session_factory)) for _ in range(2))
    own = settings.model_copy(update={"lost_s": 1e-6})
    relay = Relay(own, engine, Broker(own.redis_url), storage)
    relay.publish()
    with redis.Redis.from_url(redis_url) as client:
        client.rpop("interactive")

    relay.republish()
    claim(session_factory, first)
    relay.republish()
    third = str(accept(session_factory))
    relay.publish()
    with redis.Redis.from_url(redis_url) as client:
        client.rpop("interactive")
    relay.republish()

    assert (waiting(redis_url), num_waiting(session_factory)) == ([third], 0)
    relay.republish()  # nobody claimed the second; the third waits where it was put
    assert num_waiting(session_factory) == 1
    relay.publish()
    relay._leave()
    assert sorted(waiting(redis_url)) == sorted([second, third])
    relay.stop()
    relay.run()  # to its end


def test_the_sweep_requeues_a_job_whose_worker_fell_silent(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    job_id = accept(session_factory)
    with transaction(session_factory) as session:
        jobs.claim(session, job_id, owner="w", lease_s=1)
        session.execute(update(Job).values(lease_until=func.now() - text("interval '1 ms'")))

    start(sweep_s=0.2)

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    with session_factory() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.num_lost, job.fence) == ("queued", 1, 2)


def test_a_lease_that_ended_while_the_database_took_no_writes_is_held_against_nobody(
    settings: ApiSettings, engine: Engine, storage: Storage, session_factory: sessionmaker[Session]
) -> None:
    """Its disk is full, or it is a standby for a while: it runs all the time, and no heartbeat gets through."""
    relay = Relay(settings.model_copy(update={"max_lost": 1}), engine, Broker(settings.redis_url), storage)
    claim(session_factory, str(accept(session_factory)))

    def expire(ago: str) -> None:
        with transaction(session_factory) as session:
            session.execute(update(Job).values(lease_until=func.clock_timestamp() - text(f"interval '{ago}'")))

    def state() -> tuple[str, int]:
        with session_factory() as session:
            return session.execute(select(Job.status, Job.num_lost)).one()

    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO jobs_away"))
    relay._sweeping.run()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs_away RENAME TO jobs"))
    expire("0 seconds")
    relay._sweeping.run()
    assert state() == ("queued", 0)

    with session_factory() as session:
        claim(session_factory, str(session.scalars(select(Job.id)).one()))
    expire("0 seconds")
    relay._sweeping.run()
    assert state() == ("failed", 1)  # the database was there
    relay.stop()
    relay.run()


def test_the_sweep_ends_batches_and_removes_deleted_videos_with_their_files(
    settings: ApiSettings, engine: Engine, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    with transaction(session_factory) as session:
        batch, _ = batches.open_(session, "local", name="n", manifest_key="m")
        batch_id = batch.id
    job_id = accept(session_factory, batch_id=batch_id, custom_id="1", queue=Queue.BULK)
    with transaction(session_factory) as session:
        batches.seal(session, session.get_one(Batch, batch_id), num_bad_lines=0)
    work(session_factory, storage, job_id, mp4())
    name = f"videos/{job_id}.1.mp4"
    assert storage.size(name) > 0
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)  # in no thread that could be there first

    relay.sweep()
    with transaction(session_factory) as session:
        assert session.get_one(Batch, batch_id).status == "completed"
        jobs.remove(session, "local", job_id)
    relay.purge()
    relay._leave()

    assert list(storage.files("videos")) == []
    with session_factory() as session:
        assert session.get(Job, job_id) is None


def test_files_that_no_row_names_are_removed_in_time(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], storage: Storage
) -> None:
    job_id = accept(session_factory)
    work(session_factory, storage, job_id, mp4())
    storage.write(f"videos/{job_id}.7.mp4", b"of a worker that came too late")

    start(orphan_s=0.01).tidy()

    assert [file.name for file in storage.files("videos")] == [f"videos/{job_id}.1.mp4"]


def refuse_long_ago(factory: sessionmaker[Session], *, number: int) -> None:
    """Record that latents found no room, a hundred days ago."""
    with transaction(factory) as session:
        space = namespaces.get_or_create(
            session, {"model": "tiny"}, scope="tenant", owner="ada", dims=384, byte_budget=1
        )
        refusals = (
            "INSERT INTO cache_events (namespace_id, kind, num_bytes, created_at) "
            "SELECT :space, 'refuse', 9, now() - interval '100 days' FROM generate_series(1, :number)"
        )
        session.execute(text(refusals), {"space": space.id, "number": number})


def num_events(factory: sessionmaker[Session]) -> int:
    with factory() as session:
        return session.scalar(select(func.count()).select_from(CacheEvent)) or 0


def batches_deleted(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [record.fields["events"] for record in caplog.records if record.msg == "history deleted"]


def test_history_past_keeping_is_deleted_in_time_however_much_it_is(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], caplog: pytest.LogCaptureFixture
) -> None:
    number = FORGET_CHUNK * 2 + 1
    refuse_long_ago(session_factory, number=number)
    caplog.set_level("INFO", "api.outbox_relay")

    start(keep_history_days=90)

    wait_until(lambda: num_events(session_factory) == 0)
    wait_until(lambda: batches_deleted(caplog) == [FORGET_CHUNK, FORGET_CHUNK, 1])


def test_history_is_kept_for_a_century_at_most(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], environment: dict[str, str]
) -> None:
    """Beyond that no date may hold the day before which everything is deleted."""
    refuse_long_ago(session_factory, number=3)

    start(keep_history_days=36_525).forget()

    assert num_events(session_factory) == 3
    with pytest.raises(ValidationError, match="keep_history_days\n  Input should be less than or equal to 36525"):
        settings_of(environment, keep_history_days=36_526)


def test_history_is_kept_for_ever_when_told_so(
    start: Callable[..., Relay], session_factory: sessionmaker[Session]
) -> None:
    refuse_long_ago(session_factory, number=3)

    start(keep_history_days=0).forget()

    assert num_events(session_factory) == 3


def test_a_relay_listens_again_after_its_connections_were_cut(
    start: Callable[..., Relay], engine: Engine, session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start(relay_poll_s=30)
    first = accept(session_factory)
    wait_until(lambda: waiting(redis_url) == [str(first)])

    with transaction(session_factory) as session:
        cut = (  # and wait until they have gone
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = :name"
        )
        session.execute(text(cut), {"name": engine.url.database})
    second = accept(session_factory)

    wait_until(lambda: set(waiting(redis_url)) == {str(first), str(second)})


def message_of(job_id: UUID, *, attempt: int = 1) -> Waiting:
    values = {"tenant": "local", "batch_id": None, "priority": 5, "created_at": datetime.now(UTC)}
    return Waiting(id=job_id, attempt=attempt, prompt="a", mode="auto", **values)


def test_an_absent_broker_is_one_kind_of_error() -> None:
    broker = Broker("redis://127.0.0.1:1/0")

    with pytest.raises(BrokerAway, match="Connection refused"):
        broker.publish(message_of(UUID(int=0)), Queue.INTERACTIVE)
    with pytest.raises(BrokerAway, match="Connection refused"):
        broker.length(Queue.BULK)


def test_the_length_of_a_queue_is_what_every_tool_reads(redis_url: str) -> None:
    broker = Broker(redis_url)
    for number in range(10):
        broker.publish(message_of(UUID(int=number)), Queue.INTERACTIVE)

    assert (broker.length(Queue.INTERACTIVE), broker.length(Queue.BULK)) == (10, 0)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("interactive") == 10
    broker.close()


def test_a_returned_job_is_taken_before_what_the_broker_has(redis_url: str) -> None:
    broker = Broker(redis_url)
    for number in range(3):
        broker.publish(message_of(UUID(int=number)), Queue.BULK)

    broker.publish(message_of(UUID(int=9), attempt=2), Queue.BULK)
    broker.close()

    assert waiting(redis_url, "bulk") == [str(UUID(int=number)) for number in (9, 0, 1, 2)]


def test_the_broker_holds_a_short_window_and_the_next_job_comes_with_a_claim(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    ids = [str(accept(session_factory)) for _ in range(9)]
    work_at(session_factory, 2)
    start(relay_poll_s=60)
    wait_until(lambda: len(waiting(redis_url)) == 4)

    with redis.Redis.from_url(redis_url) as client:
        client.rpop("interactive")
    claim(session_factory, ids[0])

    wait_until(lambda: waiting(redis_url) == ids[1:5])
    wait_until(lambda: num_waiting(session_factory) == 4)  # committed after the hand-over


def test_workers_of_one_queue_widen_no_other(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    work_at(session_factory, 3, "bulk")
    for queue in Queue:
        for _ in range(9):
            accept(session_factory, queue=queue)

    start()

    wait_until(lambda: len(waiting(redis_url, "bulk")) == 6)
    assert len(waiting(redis_url, "interactive")) == 2  # for a worker that may be about to start


def test_cancelled_and_deleted_jobs_are_never_handed_over(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    ids = [accept(session_factory, queue=Queue.BULK) for _ in range(6)]
    with transaction(session_factory) as session:
        for job_id in ids[:2]:
            jobs.request_cancel(session, "local", job_id)
        for job_id in ids[2:4]:
            jobs.remove(session, "local", job_id)

    start(window=10)

    wait_until(lambda: len(waiting(redis_url, "bulk")) == 2)
    assert waiting(redis_url, "bulk") == [str(job_id) for job_id in ids[4:]]


def test_a_returned_job_overtakes_the_backlog_of_its_queue(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    first, *others = [str(accept(session_factory)) for _ in range(50)]
    claim(session_factory, first, "dying")
    start()
    wait_until(lambda: waiting(redis_url) == others[:2])
    with redis.Redis.from_url(redis_url) as client:
        client.rpop("interactive")
    claim(session_factory, others[0])
    wait_until(lambda: len(waiting(redis_url)) == 2)

    with transaction(session_factory) as session:
        jobs.recover(session, owner="dying", max_lost=3)

    wait_until(lambda: waiting(redis_url) == [first, *others[1:3]])
    assert messages(redis_url)[0]["headers"]["id"] == f"video_{UUID(first).hex}-2"


def test_a_fault_in_one_duty_stops_no_other(
    start: Callable[..., Relay],
    session_factory: sessionmaker[Session],
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a file that nobody expected")

    monkeypatch.setattr("api.sweeps.sweep", fail)
    start(tidy_s=0.05, sweep_s=0.2)

    wait_until(lambda: sum(record.message == "duty failed" for record in caplog.records) >= 3)
    job_id = accept(session_factory)

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    failures = [record for record in caplog.records if record.message == "duty failed"]
    assert {record.fields["duty"] for record in failures} == {"tidy"}
    assert all(record.exc_info for record in failures), "a fault of ours comes with its traceback"


@pytest.mark.parametrize(("error", "longest_s"), [(BrokerAway("gone"), 2.0), (ValueError("never seen"), 60.0)])
def test_a_duty_that_fails_is_tried_later_and_later(error: Exception, longest_s: float) -> None:
    def fail() -> None:
        raise error

    duty, pauses = Duty(name="d", act=fail, every_s=0.01), []
    for _ in range(40):
        duty.run()
        pauses.append(duty.due - time.monotonic())

    assert [*pauses[:4], pauses[-1]] == pytest.approx([0.05, 0.1, 0.2, 0.4, longest_s], abs=0.03)


def test_what_a_duty_waits_for_is_said_once_and_again_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    errors = [BrokerAway("gone"), BrokerAway("gone"), BrokerAway("asks for a password"), None, BrokerAway("gone")]

    def act() -> None:
        if error := errors.pop(0):
            raise error

    caplog.set_level(logging.INFO, logger="api.outbox_relay")
    duty = Duty(name="d", act=act, every_s=0.01)
    while errors:
        duty.run()

    said = [(record.message, record.fields["failures"], record.fields.get("error")) for record in caplog.records]
    assert said == [
        ("duty failed", 1, "gone"),
        ("duty failed", 3, "asks for a password"),
        ("duty works again", 3, None),
        ("duty failed", 1, "gone"),
    ]


def test_slow_tidying_holds_up_no_hand_over(
    start: Callable[..., Relay],
    session_factory: sessionmaker[Session],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def linger(*_: object, **__: object) -> list[str]:
        begun.set()
        may_end.wait(30)
        return []

    monkeypatch.setattr("api.sweeps.sweep", linger)
    start(relay_poll_s=60)
    assert begun.wait(10)

    job_id = accept(session_factory)

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    may_end.set()


def test_files_of_others_stay_and_stop_nothing(
    start: Callable[..., Relay], storage: Storage, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(storage_url.removeprefix("file://")) / "videos"
    folder.mkdir(exist_ok=True)
    orphan = f"{UUID(int=1)}.7.mp4"
    others = [".nfs00000000012345", "notes.txt", "a b.mp4", f"{UUID(int=1)}.mp4"]
    for name in (*others, orphan, f".writing-0a1b2c3d-{orphan}"):
        (folder / name).write_bytes(b"x")

    start(orphan_s=0.0, tidy_s=0.1)

    wait_until(lambda: sorted(path.name for path in folder.iterdir()) == sorted(others))
    assert "duty failed" not in caplog.text


@pytest.mark.parametrize("known", [None, UUID(int=5)])
def test_nothing_is_removed_from_the_storage_of_another_service(
    start: Callable[..., Relay],
    session_factory: sessionmaker[Session],
    storage: Storage,
    caplog: pytest.LogCaptureFixture,
    known: UUID | None,
) -> None:
    """A STORAGE_URL that was copied from elsewhere: no row is here of any file there."""
    theirs = storage.write(f"videos/{UUID(int=1)}.7.mp4", b"x").name
    storage.marker()
    if known is not None:
        with transaction(session_factory) as session:
            identities.adopt_storage(session, known)

    start(orphan_s=0.0, tidy_s=0.1)

    wait_until(lambda: "duty failed" in caplog.messages)
    assert "nothing is removed from" in next(
        record.fields["error"] for record in caplog.records if record.message == "duty failed"
    )
    assert [file.name for file in storage.files("videos")] == [theirs]


def test_the_relay_says_that_it_lives_and_reaches_the_broker(
    start: Callable[..., Relay], session_factory: sessionmaker[Session]
) -> None:
    def beats() -> list[heartbeats.Beat]:
        with session_factory() as session:
            return heartbeats.seen(session, "relay")

    relay = start()
    wait_until(lambda: len(beats()) == 1)

    assert beats()[0].name == relay.name
    assert beats()[0].detail == {
        "broker": {"interactive": 0, "bulk": 0},
        "handed_over": {"interactive": 0, "bulk": 0},
    }


def test_a_relay_without_a_broker_lives_but_says_that_it_does_not_reach_it(
    settings: ApiSettings, engine: Engine, storage: Storage, session_factory: sessionmaker[Session]
) -> None:
    relay = Relay(settings, engine, Broker("redis://127.0.0.1:1/0"), storage)

    with pytest.raises(BrokerAway):
        relay.beat()

    with session_factory() as session:
        assert heartbeats.seen(session, "relay") == []
        assert [name.partition("@")[0] for name in session.scalars(select(Heartbeat.name))] == ["relay"]
    relay.stop()
    relay.run()


def test_a_second_signal_in_the_middle_of_the_first_ends_the_relay_all_the_same(
    settings: ApiSettings, engine: Engine, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)
    condition = relay._stopped._cond
    notify_all, told = condition.notify_all, []

    def interrupted() -> None:
        told.append(1)
        if told == [1]:
            relay.stop()
        notify_all()

    monkeypatch.setattr(condition, "notify_all", interrupted)
    handler = threading.Thread(target=relay.stop, daemon=True)
    handler.start()
    handler.join(timeout=5)

    assert not handler.is_alive()
    relay.run()  # to its end


def test_a_relay_without_threads_for_all_its_duties_ends_and_says_so(
    settings: ApiSettings, engine: Engine, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)
    begin = threading.Thread.start

    def begin_unless_tidy(thread: threading.Thread) -> None:
        if thread.name == "tidy":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", begin_unless_tidy)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        relay.run()

    assert not {"batches", "webhooks", "purge"} & {thread.name for thread in threading.enumerate()}


def test_a_relay_that_ends_takes_its_sign_of_life_away(
    settings: ApiSettings, engine: Engine, storage: Storage, session_factory: sessionmaker[Session]
) -> None:
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)
    relay.beat()
    relay.stop()

    relay.run()

    with session_factory() as session:
        assert heartbeats.seen(session, "relay") == []


def test_what_expires_while_the_databases_clock_jumps_forward_is_held_against_no_job(
    settings: ApiSettings,
    engine: Engine,
    storage: Storage,
    session_factory: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = str(accept(session_factory))
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)
    relay.sweep()
    claim(session_factory, job_id)
    with transaction(session_factory) as session:  # after the server was started, which would free the job by itself
        session.execute(update(Job).values(lease_until=func.clock_timestamp() - text("interval '0.2 seconds'")))
    read = clock.read
    monkeypatch.setattr(clock, "read", lambda session: read(session) + 5)

    relay.sweep()
    relay._leave()

    with session_factory() as session:
        job = session.get_one(Job, UUID(job_id))
        assert (job.status, job.num_lost) == ("queued", 0)


def test_the_storage_of_another_service_is_looked_at_once_a_minute_not_every_two_seconds() -> None:
    def act() -> None:
        raise ForeignStorage("nothing is removed from s3://theirs")

    duty = Duty(name="tidy", act=act, every_s=600)
    for _ in range(12):
        duty.run()

    assert duty.due - time.monotonic() > 50


def test_a_broker_that_another_program_has_named_in_the_environment_is_not_taken(
    settings: ApiSettings,
    engine: Engine,
    storage: Storage,
    session_factory: sessionmaker[Session],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "not_here")
    job_id = accept(session_factory)
    relay = Relay(settings, engine, Broker(settings.redis_url), storage)

    relay.publish()
    relay._leave()

    assert waiting(redis_url) == [str(job_id)]


def test_the_variable_that_kubernetes_sets_beside_a_service_named_chai_api_is_no_port(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "CHAI_API_PORT": "tcp://10.0.0.7:8400"}.items():
        monkeypatch.setenv(name, value)

    assert ApiSettings.model_validate({}).api_port == 8400


def test_half_of_an_address_of_a_storage_is_no_folder(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "STORAGE_URL": "s3:/videos/chai"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match="is neither an address nor a folder; write s3://BUCKET/chai with two"):
        ApiSettings.model_validate({})

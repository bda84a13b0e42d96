"""The relay against a real broker: what is committed gets there, whatever dies or goes away meanwhile."""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import redis
from running import Process, api_process, mp4, relay_process, wait_until, work
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.broker import Broker, BrokerAway
from api.outbox_relay import FORGET_CHUNK, Relay
from api.settings import ApiSettings
from cli.services.redis import Redis
from db import batches, cache, jobs, outbox
from db.models import Batch, CacheEvent, Job, Outbox
from db.session import transaction
from db.states import Queue
from shared.storage import Storage


def accept(factory: sessionmaker[Session], prompt: str = "a", **columns: object) -> UUID:
    values = {"tenant": "local", "model": "tiny", "width": 64, "height": 64, "num_frames": 16, "fps": 8, **columns}
    with transaction(factory) as session:
        job, _ = jobs.accept(session, Job(prompt=prompt, **values))
        return job.id


def messages(broker_url: str, queue: str = "interactive") -> list[dict]:
    """Messages in a queue, those that are taken first first."""
    with redis.Redis.from_url(broker_url) as client:
        keys = [queue, *(f"{queue}\x06\x16{step}" for step in range(1, 10))]
        return [json.loads(raw) for key in keys for raw in reversed(client.lrange(key, 0, -1))]


def waiting(broker_url: str, queue: str = "interactive") -> list[str]:
    """Ids in a queue, those that are taken first first."""
    return [arguments(message)[0] for message in messages(broker_url, queue)]


def arguments(message: dict) -> list[str]:
    return json.loads(b64decode(message["body"]))[0]


def outbox_length(factory: sessionmaker[Session]) -> int:
    with factory() as session:
        return session.scalar(select(func.count()).select_from(Outbox))


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


def test_the_bell_rings_for_every_accepted_job(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start(relay_poll_s=60)  # without the bell, the next look is a minute away: `wait_until` would give up
    for number in range(10):
        accept(session_factory)
        wait_until(lambda n=number: len(waiting(redis_url)) == n + 1)

    assert outbox_length(session_factory) == 0


def test_published_jobs_carry_only_their_id_and_the_time_is_noted(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    start()

    job_id = accept(session_factory, "a secret prompt")

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    message = messages(redis_url)[0]
    assert message["headers"]["task"] == "chai.generate"
    assert message["content-type"] == "application/json"
    assert arguments(message) == [str(job_id)]
    assert "secret" not in json.dumps(message)
    with session_factory() as session:
        assert session.get_one(Job, job_id).published_at is not None


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
    ids = [str(accept(session_factory)) for _ in range(250)]

    for _ in range(3):
        start()

    wait_until(lambda: outbox_length(session_factory) == 0)
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
    assert outbox_length(session_factory) == 0


def test_f2_an_api_that_dies_before_the_commit_leaves_nothing_and_a_retry_makes_one_job(
    environment: dict[str, str], tmp_path: Path, engine: Engine, session: Session
) -> None:
    key = {"Idempotency-Key": "once"}
    with api_process(environment, tmp_path) as api, engine.connect() as blocker:
        blocker.execute(text("LOCK TABLE outbox IN EXCLUSIVE MODE"))  # holds the request between its two rows
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
    assert len(session.scalars(select(Job)).all()) == len(session.scalars(select(Outbox)).all()) == 1


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
    environment = {**environment, "REDIS_URL": server.url}
    try:
        with api_process(environment, tmp_path) as api, relay_process(environment, tmp_path) as relay:
            before = _submit(api)
            wait_until(lambda: waiting(server.url) == [before])
            server.stop()

            during = [_submit(api) for _ in range(20)]
            wait_until(lambda: "duty failed" in relay.log.read_text())
            assert outbox_length(session_factory) == 20

            server.start()
            wait_until(lambda: outbox_length(session_factory) == 0)
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
    start(sweep_s=0.2, lost_empty_s=0.5)
    ids = {str(accept(session_factory)) for _ in range(5)}
    wait_until(lambda: set(waiting(redis_url)) == ids)

    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()

    wait_until(lambda: set(waiting(redis_url)) == ids)  # perhaps twice, which costs nothing


def test_a_job_that_was_published_long_ago_is_published_again_though_the_queue_is_not_empty(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    lost, other = accept(session_factory), accept(session_factory)
    with transaction(session_factory) as session:
        session.execute(text("DELETE FROM outbox"))
        session.execute(update(Job).where(Job.id == lost).values(published_at=func.now() - text("interval '2 hours'")))
        outbox.add(session, [session.get_one(Job, other)])

    start(sweep_s=0.2)

    wait_until(lambda: set(waiting(redis_url)) == {str(lost), str(other)})


def test_jobs_that_wait_in_a_full_queue_are_not_published_again(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    relay = start(sweep_s=30, lost_empty_s=0.01)
    ids = {str(accept(session_factory)) for _ in range(3)}
    wait_until(lambda: set(waiting(redis_url)) == ids)
    time.sleep(0.05)

    relay.republish()

    assert outbox_length(session_factory) == 0


def test_the_sweep_requeues_a_job_whose_worker_fell_silent(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], redis_url: str
) -> None:
    job_id = accept(session_factory)
    with transaction(session_factory) as session:
        jobs.claim(session, job_id, owner="w", lease_s=1)
        session.execute(text("DELETE FROM outbox"))
        session.execute(update(Job).values(lease_until=func.now() - text("interval '1 second'")))

    start(sweep_s=0.2)

    wait_until(lambda: waiting(redis_url) == [str(job_id)])
    with session_factory() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.num_lost, job.fence) == ("queued", 1, 2)


def test_the_sweep_ends_batches_and_removes_deleted_videos_with_their_files(
    start: Callable[..., Relay], session_factory: sessionmaker[Session], storage: Storage
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
    relay = start(sweep_s=30)

    relay.sweep()
    with transaction(session_factory) as session:
        assert session.get_one(Batch, batch_id).status == "completed"
        jobs.remove(session, "local", job_id)
    relay.sweep()

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
        space = cache.namespace(session, {"model": "tiny"}, scope="tenant", owner="ada", dims=384, byte_budget=1)
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
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = :name"
        session.execute(text(cut), {"name": engine.url.database})
    second = accept(session_factory)

    wait_until(lambda: set(waiting(redis_url)) == {str(first), str(second)})


def test_an_absent_broker_is_one_kind_of_error() -> None:
    broker = Broker("redis://127.0.0.1:1/0")

    with pytest.raises(BrokerAway, match="Connection refused"):
        broker.publish(UUID(int=0), "interactive", 5)
    with pytest.raises(BrokerAway, match="Connection refused"):
        broker.length(Queue.BULK)


def test_the_length_of_a_queue_counts_every_priority(redis_url: str) -> None:
    broker = Broker(redis_url)
    for priority in range(10):
        broker.publish(UUID(int=priority), "interactive", priority)

    assert (broker.length(Queue.INTERACTIVE), broker.length(Queue.BULK)) == (10, 0)
    broker.close()

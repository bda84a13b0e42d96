"""Nights of a bulk run by a clock that is set: API, relay, broker and worker are real, and a step lasts 20 minutes."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import pytest
import redis
from fastapi.testclient import TestClient
from running import settings_of, wait_until
from sqlalchemy import select

from api.app import create_app
from api.broker import Broker
from api.outbox_relay import Relay
from api.settings import ApiSettings
from db import batches
from db.models import Job, JobMetric
from db.session import connect
from db.states import Queue
from worker.jobs import pipeline as pipeline_module
from worker.jobs.attempt import generate
from worker.models.opensora.model import OpenSoraModel
from worker.runtime import Runtime

STEP, NUM_STEPS = timedelta(minutes=20), 7  # a line takes 2 h 20 min
LOOK = timedelta(minutes=30)  # a worker that has nothing to do looks at every hour and half hour
LONGEST = timedelta(days=6)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(kw_only=True)
class Nights:
    """A service that lives by `now`. It is started anew, with an empty broker, at every time of `restarts`."""

    now: datetime
    restarts: list[datetime]
    settings: ApiSettings
    runtime: Runtime
    begun: list[tuple[UUID, datetime]] = field(default_factory=list)  # attempts
    steps: list[datetime] = field(default_factory=list)  # when each began
    said: list[tuple[bool, int]] = field(default_factory=list)  # of the run by the API, after each restart
    job: UUID | None = None

    def __enter__(self) -> Self:
        self.engine = connect(self.settings.database_url, application="chai-test")
        self.relay = Relay(self.settings, self.engine, Broker(self.settings.redis_url), self.runtime.storage)
        self.client = TestClient(create_app(self.settings), base_url="http://127.0.0.1")
        self.client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__(None, None, None)
        self.relay.stop()
        self.relay.run()  # to its end
        self.engine.dispose()

    def submit(self, number: int, **window: str) -> None:
        run = self.client.post("/v1/bulk-runs", json={"manifest_key": "nights", "window": window}).json()["id"]
        lines = [
            {"custom_id": f"line-{n}", "prompt": f"a fox {n}", "mode": "full", "num_inference_steps": NUM_STEPS}
            for n in range(number)
        ]
        added = self.client.post(f"/v1/bulk-runs/{run}/items", json={"items": lines}).json()
        assert added["accepted"] == number, added
        self.client.post(f"/v1/bulk-runs/{run}/seal")
        self.run = run

    def pass_by(self, time: timedelta) -> None:
        self.now += time
        while self.restarts and self.restarts[0] <= self.now:
            self.restarts.pop(0)
            self.__exit__()
            with redis.Redis.from_url(self.settings.redis_url) as broker:
                broker.flushdb()
            self.__enter__()
            self.relay.republish()
            self.relay.republish()  # what it misses at two looks is lost
            shown = self.client.get(f"/v1/bulk-runs/{self.run}").json()
            self.said.append((shown["is_held"], shown["window_changes_at"]))
        self.relay.keep_windows()

    def step(self, number: int) -> None:
        """Let a step of the running job begin, after the one before was told of, and last."""
        wait_until(lambda: number == 0 or (self._job().step or 0) >= number)
        if number == 0:
            self.begun.append((self._job().id, self.now))
        self.steps.append(self.now)
        self.pass_by(STEP)

    def _job(self) -> Job:
        with self.runtime.factory() as session:
            return session.scalars(select(Job).where(Job.id == self.job)).one()

    def until_completed(self) -> None:
        ends = self.now + LONGEST
        while not self._turn():
            assert self.now < ends, self.begun

    def _turn(self) -> bool:
        """Let the worker run what the relay hands it, or time pass when that is nothing; True at the end of the run."""
        self.relay.publish()
        with redis.Redis.from_url(self.settings.redis_url) as broker:
            message = broker.rpop(Queue.BULK.value)
        if message is None:
            self.pass_by(LOOK - (self.now - datetime.min.replace(tzinfo=UTC)) % LOOK)
            return False
        self.job = UUID(json.loads(b64decode(json.loads(message)["body"]))[0][0])
        generate(self.runtime, self.job)
        self.relay.sweep()
        return bool(self.client.get(f"/v1/bulk-runs/{self.run}").json()["status"] == "completed")

    def outcomes(self) -> list[str]:
        with self.runtime.factory() as session:
            return sorted(session.scalars(select(JobMetric.outcome)))


class LongSteps:
    """A model whose steps take their time of the night."""

    def __init__(self, model: Any, step: Callable[[int], None]) -> None:
        self._model, self._step = model, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for number, step in enumerate(self._model.sample(*args, **options)):
            self._step(number)
            yield step


@pytest.fixture
def nights(
    start: Callable[..., Any],
    pipeline: Any,
    database_url: str,
    redis_url: str,
    storage_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Nights]]:
    """Starts the service at a time; restarts are given as times, too."""
    opened: list[Nights] = []

    def begin(now: str, *restarts: str) -> Nights:
        service = start(progress_s=1e-6)
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "STORAGE_URL": storage_url}
        models = service.runtime.settings.models_dir
        own = settings_of(environment, models_dir=models, default_model="tiny", lost_s=1e-6)
        runtime = replace(
            service.runtime, load=lambda card, _: LongSteps(OpenSoraModel(pipeline, card), lambda n: opened[0].step(n))
        )
        nights = Nights(now=at(now), restarts=list(map(at, restarts)), settings=own, runtime=runtime)
        opened.append(nights)
        monkeypatch.setattr(batches, "clock", lambda _session: nights.now)
        monkeypatch.setattr(pipeline_module, "AHEAD_S", -1.0)  # one job at a time: steps last no time by other clocks
        return nights.__enter__()

    yield begin
    for each in opened:
        each.__exit__()


Spans = list[tuple[datetime, datetime]]


def spans(*texts: str) -> Spans:
    """Nights, in UTC, each written as 2026-03-27T21:00 and its hours."""
    starts_hours = [text.split("+") for text in texts]
    return [(at(start), at(start) + timedelta(hours=float(hours))) for start, hours in starts_hours]


# In March the clocks of Berlin go forward in the second night, in October they go back; in April those of Lord Howe, by
# half an hour.
MARCH = spans("2026-03-27T21:00+8", "2026-03-28T21:00+7", "2026-03-29T20:00+8")
OCTOBER = spans("2026-10-23T20:00+8", "2026-10-24T20:00+9", "2026-10-25T21:00+8")
APRIL = spans("2026-04-03T12:00+6", "2026-04-04T12:00+6.5", "2026-04-05T12:30+6")


@pytest.mark.parametrize(
    ("rule", "now", "windows", "restarts", "starts"),
    [
        (
            {"start": "22:00", "end": "06:00", "tz": "Europe/Berlin"},
            "2026-03-27T15:00",
            MARCH,
            # while a line runs that the end of the window lets finish; by day; in the night of the change
            ("2026-03-28T05:30", "2026-03-28T12:00", "2026-03-29T00:30"),
            # four a night, the last one beyond its end; three in the short one, which end with it
            [
                "27 21:00",
                "27 23:20",
                "28 01:40",
                "28 04:00",
                "28 21:00",
                "28 23:20",
                "29 01:40",
                "29 20:00",
                "29 22:20",
            ],
        ),
        (
            {"start": "23:00", "end": "05:00", "tz": "Australia/Lord_Howe"},
            "2026-04-03T23:00",
            APRIL,
            ("2026-04-04T10:00", "2026-04-04T17:00"),
            ["04 12:00", "04 14:20", "04 16:40", "05 12:30"],
        ),
    ],
)
def test_lines_start_in_the_windows_of_their_zone_and_finish_through_changes_of_clocks_and_restarts(
    nights: Callable[..., Nights],
    rule: dict[str, str],
    now: str,
    windows: Spans,
    restarts: tuple[str, ...],
    starts: list[str],
) -> None:
    service = nights(now, *restarts)
    service.submit(len(starts), **rule)

    service.until_completed()

    assert [f"{moment:%d %H:%M}" for _, moment in service.begun] == starts
    assert service.outcomes() == ["completed"] * len(starts)
    assert service.said == [said_at(at(time), windows) for time in restarts]


def test_lines_that_stop_with_the_window_begin_again_in_the_next(nights: Callable[..., Nights]) -> None:
    restarts = ("2026-10-24T01:00", "2026-10-24T12:00", "2026-10-25T00:30")
    service = nights("2026-10-23T15:00", *restarts)
    service.submit(7, start="22:00", end="06:00", tz="Europe/Berlin", at_end="stop")

    service.until_completed()

    # the fourth of each night is stopped; the second night is an hour longer, which is too short for one more
    hours = ["23 20:00", "23 22:20", "24 00:40", "24 03:00", "24 20:00", "24 22:20", "25 00:40", "25 03:00", "25 21:00"]
    assert [f"{moment:%d %H:%M}" for _, moment in service.begun] == hours
    assert service.outcomes() == ["completed"] * 7 + ["released"] * 2
    assert len({job for job, _ in service.begun}) == 7
    late = [moment for moment in service.steps if not any(opens <= moment < closes for opens, closes in OCTOBER)]
    assert len(late) <= 6  # of the two that were stopped: a step is told of before the next one, and that one may begin
    assert service.said == [said_at(at(time), OCTOBER) for time in restarts]


def said_at(now: datetime, windows: Spans) -> tuple[bool, int]:
    """What the service says of a run: whether it is held, and when that changes."""
    is_open = any(opens <= now < closes for opens, closes in windows)
    change = min(moment for window in windows for moment in window if moment > now)
    return not is_open, int(change.timestamp())

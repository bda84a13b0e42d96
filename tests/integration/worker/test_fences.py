"""Another session takes the job away before each statement in turn: from then on the loser writes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, jobs
from db.models import CacheEntry, CacheEvent, Job, JobMetric, Lookup, Pin
from db.session import connect, sessions, transaction
from db.states import EntryStatus, JobStatus
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.jobs.attempt import generate
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny

Start = Callable[..., Any]  # Any: the Service of conftest

RED_FOX = "a red fox runs through a snowy forest"
SAME_FOX = "a red fox sleeps on a wooden bench"
LATE = {"lease_s": 3600, "progress_s": 3600, "storage_patience_s": 0}  # nothing but its fence tells the loser
MAX_STATEMENTS = 200
ENTRIES_IN_USE = (EntryStatus.WRITING, EntryStatus.RESIDENT)


@dataclass
class Taker:
    """Takes the job that runs on another engine, just before the statement of a number."""

    factory: sessionmaker[Session]
    at: int
    num_statements: int = 0
    before: dict[str, Any] = field(default_factory=dict)  # what stood in the tables when the job was taken
    statement: str = ""

    def __call__(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        self.num_statements += 1
        if self.num_statements > self.at and not self.before and self._take():
            self.before, self.statement = written(self.factory), statement

    def _take(self) -> bool:
        """End the attempt as the relay does, start another; False while the loser holds it, or before its claim."""
        held = select(Job.id).where(Job.status == JobStatus.IN_PROGRESS, Job.lease_owner == "w1")
        with transaction(self.factory) as session:
            free = session.scalars(held.with_for_update(skip_locked=True)).one_or_none()
            if free is None:
                return False
            session.execute(update(Job).where(Job.id == free).values(lease_until=func.now() - text("interval '1 ms'")))
            assert jobs.sweep(session, max_lost=9).requeued == [free]
            assert jobs.claim(session, free, owner="winner", lease_s=600)
        return True


def written(factory: sessionmaker[Session]) -> dict[str, Any]:
    """All that an attempt may write, apart from giving back what it has reserved."""
    with factory() as session:
        tables = {table.__tablename__: _rows(session, table) for table in (Job, JobMetric, Lookup, Pin, CacheEvent)}
        entries = session.execute(select(CacheEntry.id, CacheEntry.status)).all()
    in_use = {id_ for id_, status in entries if status in ENTRIES_IN_USE}
    resident = {id_ for id_, status in entries if status == EntryStatus.RESIDENT}
    return tables | {"resident": resident, "in_use": in_use}


def _rows(session: Session, table: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, session.execute(select(*table.__table__.columns))), key=str)


def assert_nothing_written(taker: Taker) -> None:
    after = written(taker.factory)
    assert after.pop("in_use") <= taker.before.pop("in_use"), taker.statement
    assert after == taker.before, f"taken before: {taker.statement}"


class Greedy:
    """A model that asks for more memory than there is."""

    def __init__(self, card: ModelCard) -> None:
        self._model = OpenSoraModel(tiny(), card)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, params: GenerationParams) -> Any:
        raise MemoryError


class Unwell(Greedy):
    """A model that cannot work for the moment."""

    def encode(self, params: GenerationParams) -> Any:
        raise RuntimeError("unwell")


@pytest.fixture
def loser(database_url: str) -> Iterator[Engine]:
    """The engine of the worker that loses its job."""
    engine = connect(database_url, application="loser")
    yield engine
    engine.dispose()


def play(service: Any, loser: Engine, at: int, prompt: str) -> Taker:
    """Run a job whose worker loses it before its statement number `at`."""
    values = {"tenant": "ada", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
    with transaction(service.factory) as session:
        job_id = acceptance.accept(session, Job(prompt=prompt, **values))[0].id
    taker = Taker(factory=service.factory, at=at)
    service.runtime.factory = sessions(loser)
    event.listen(loser, "before_cursor_execute", taker)
    try:
        generate(service.runtime, job_id)
    finally:
        event.remove(loser, "before_cursor_execute", taker)
    if taker.before:
        assert_nothing_written(taker)
        assert _holder(service.factory, job_id) == "winner"
        with transaction(service.factory) as session:  # the winner is done with it
            session.execute(update(Job).where(Job.id == job_id).values(status="cancelled", lease_until=None))
    return taker


def _holder(factory: sessionmaker[Session], job_id: UUID) -> str | None:
    with factory() as session:
        return session.get_one(Job, job_id).lease_owner


@pytest.mark.parametrize("prompts", [[RED_FOX], [RED_FOX, SAME_FOX]], ids=["full", "fast"])
def test_whoever_loses_its_job_between_two_statements_publishes_and_records_nothing(
    start: Start, loser: Engine, prompts: list[str]
) -> None:
    service = start(**LATE)
    for prompt in prompts[:-1]:
        service.run(prompt)
    num_taken = 0
    for at in range(MAX_STATEMENTS):
        taker = play(service, loser, at, prompts[-1])
        if not taker.before:
            break
        num_taken += 1

    assert num_taken >= 6, "the attempt has at least so many statements between its claim and its end"
    assert taker.num_statements < MAX_STATEMENTS
    with service.factory() as session:
        (ended,) = session.scalars(select(JobMetric.job_id).where(JobMetric.outcome == "completed")).all()[-1:]
        assert session.get_one(Job, ended).status == "completed"  # the attempt that nobody took


@pytest.mark.parametrize("model", [Greedy, Unwell])
def test_an_attempt_that_breaks_after_it_was_taken_neither_fails_nor_returns_the_job(
    start: Start, loser: Engine, model: type[Greedy]
) -> None:
    num_taken = 0
    for at in range(MAX_STATEMENTS):
        service = start(**LATE)  # a worker of its own: after a fault that is its machine's, one takes no more jobs
        service.runtime.load = lambda card, _: model(card)
        taker = play(service, loser, at, RED_FOX)
        if not taker.before:
            break
        num_taken += 1

    assert taker.num_statements, "the last attempt took its job"
    assert num_taken >= 6

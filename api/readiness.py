"""Whether jobs get through: database and storage take writes, the relay reaches the broker, a worker lives."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from api import lanes
from db import heartbeats, identities, migrate, outbox
from db.session import by_message, transaction
from shared.silence import MISSED_S, NOT_THERE_S
from shared.storage import Storage

logger = logging.getLogger("api.readiness")
OK = "ok"
FRESH_S = 1.0
FRESH_STORAGE_S = 10.0  # each check writes a file
FRESH_STRANDED_S = 5.0  # each check reads every waiting row
OUTBOX_OLD_S = 60.0
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of one check. Hosts, files and errors go to the log only."""

    checks: dict[str, str]  # "ok", or what is wrong, by part
    notes: list[str] = field(default_factory=list)  # on jobs that no worker takes while others are taken

    @property
    def is_ready(self) -> bool:
        """Whether jobs get through. Notes do not count: one job that no worker takes need not stop the others."""
        return all(result == OK for result in self.checks.values())


class OldTables(Exception):
    """The database waits for `chai migrate`."""


class Readiness:
    """The checks of one process, made once a second however many callers ask. Unknown states are left out."""

    def __init__(self, factory: sessionmaker[Session], storage: Storage) -> None:
        self._factory, self._storage = factory, storage
        self._lock = asyncio.Lock()
        self._found = Found(checks={})
        self._until = 0.0
        self._look: asyncio.Future[Found] | None = None  # the check in progress
        self._trying = "database"
        self._storage_found, self._storage_until = OK, 0.0
        self._stranded: list[str] = []
        self._stranded_until = 0.0

    async def found(self) -> Found:
        """Return the latest result; check at most once a second."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._found = await self._looked()
                self._until = time.monotonic() + FRESH_S
            return self._found

    async def _looked(self) -> Found:
        """Check; the next call waits for one that hangs rather than start another, since each takes a thread."""
        look = self._look = self._look or asyncio.ensure_future(run_in_threadpool(self._try_all))
        done, _ = await asyncio.wait({look}, timeout=PATIENCE_S)
        if not done:
            return Found(checks={self._trying: f"did not answer within {PATIENCE_S:g} s"})
        self._look = None
        return look.result()

    def _try_all(self) -> Found:
        self._trying = "database"
        database = _try("database", self._write)
        self._trying = "storage"
        checks = {"database": database, "storage": self._try_storage(has_database=database == OK)}
        self._trying = "database"
        if database != OK:
            return Found(checks=checks)
        with transaction(self._factory) as session:
            checks |= flow(session)
            if time.monotonic() >= self._stranded_until:
                self._stranded, self._stranded_until = stranded(session), time.monotonic() + FRESH_STRANDED_S
        return Found(checks=checks, notes=self._stranded)

    def _write(self) -> None:
        with by_message(self._factory) as session:  # a shared row: no process must keep it if its machine is cut off
            if (said := migrate.behind(session)) is not None:
                raise OldTables(said)
            heartbeats.beat(session, "api")

    def _try_storage(self, *, has_database: bool) -> str:
        """Check the storage and, if the database is there to say, that it is the workers' own."""
        if time.monotonic() >= self._storage_until:
            self._storage_found = _try("storage", self._storage.check)
            if self._storage_found == OK and has_database:
                check = partial(identities.check_storage, self._storage, self._factory, may_be_new=True)
                self._storage_found = _try("storage", check)
            fresh_s = FRESH_STORAGE_S if self._storage_found == OK and has_database else FRESH_S
            self._storage_until = time.monotonic() + fresh_s
        return self._storage_found


def flow(session: Session) -> dict[str, str]:
    """Return what is wrong between the database and the workers, judging by heartbeats."""
    found = {}
    if beats := heartbeats.seen(session, "relay"):
        found["broker"] = _young(beats[0].age_s, NOT_THERE_S, "no relay has reached the broker")
    elif age_s := outbox.unheard_s(session):  # with a living relay a backlog is no fault: it waits for workers
        found["outbox"] = _young(age_s, OUTBOX_OLD_S, "jobs have waited for a relay")
    if beats := heartbeats.seen(session, "worker"):
        found["workers"] = _young(beats[0].age_s, MISSED_S, "no worker has given a sign of life")
        living = [beat for beat in beats if beat.age_s < MISSED_S]
        if living and not any(beat.is_fit or beat.is_starting for beat in living):
            found["workers"] = f"no worker takes jobs: {living[0].reason_code}; its log says why"
    return found


def stranded(session: Session) -> list[str]:
    """Return a sentence for each kind of waiting job that no living worker takes while others are taken."""
    living = [beat for beat in heartbeats.seen(session, "worker") if beat.age_s < MISSED_S]
    said = []
    for queue, model, number in outbox.waiting(session) if living else ():
        if why := lanes.obstacle(queue, model, living):
            said.append(f"{number} queued: {why}")
    return said


def _young(age_s: float, most_s: float, wrong: str) -> str:
    return OK if age_s < most_s else f"{wrong} for {age_s:.0f} s"


def _try(name: str, check: Callable[[], None]) -> str:
    """Return "ok", or the kind of failure; the details, which may name hosts, go to the log only."""
    try:
        check()
    except OldTables as error:
        return str(error)
    except Exception as error:  # any failure means not ready; there is no list of what drivers raise
        logger.warning("not ready", extra={"fields": {"part": name, "error": str(error)}})
        return f"does not work ({type(error).__name__}); the server's log says why"
    return OK

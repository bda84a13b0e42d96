"""The lease of a worker on the job it runs."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol, Self
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db import jobs, previews
from db.errors import LeaseLost
from db.jobs import Claim
from db.session import transaction, waited_in_vain
from shared.logs import first_line
from worker.errors import Cancelled, Stopped, Unfit, no_threads
from worker.jobs.outages import DATABASE_AWAY, retry_database
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

BEAT_PATIENCE_S = 5.0  # how long a step whose lease has expired waits for a heartbeat that hangs in the network


class AnyLease(Protocol):
    """Lets an attempt go on, or stops it by raising an error."""

    @property
    def is_expired(self) -> bool:
        """Whether others may have the job."""

    def check(self, **progress: Any) -> None:
        """Note the progress; raise if the attempt must stop."""


class Lease:
    """The lease of a job while its block runs: a thread extends it, `check` says whether it is still held.

    Only the thread talks to the database: every quarter of a lease and, while steps go by, every `progress_s`. The loop
    of steps only reads flags. While the database is away, the thread tries again until the lease has expired by this
    process's own clock; while another transaction holds the row, until that ends. A job that is still held at a
    heartbeat although `is_stopping` says that its worker is ending is one that the worker could not release.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        claim: Claim,
        settings: WorkerSettings,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.claim = claim
        self._factory = factory
        self._settings = settings
        self._is_stopping = is_stopping
        self._progress: dict[str, Any] = {}
        self._extended_at = time.monotonic()
        self._is_lost = self._is_cancelled = self._is_stopped = self._is_over = False
        self._unfit: Unfit | None = None
        self._wake = threading.Event()
        self._beating = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"lease {claim.job.id}", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError as error:
            self._unfit = no_threads(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wake.set()
        if self._unfit is None:
            self._thread.join(timeout=1)  # a beat that hangs in the network ends by itself and changes nothing

    @property
    def silent_s(self) -> float:
        """Seconds since the sending of the last beat that is known to have reached the database."""
        return time.monotonic() - self._extended_at

    @property
    def is_expired(self) -> bool:
        """Whether the lease has expired by this process's clock, so that others may have the job."""
        return self.silent_s > self._settings.lease_s

    def check(self, **progress: Any) -> None:
        """Note the progress; raise if the attempt must stop.

        `progress` is what `db.jobs.beat` takes, and `preview`, a JPEG. Raises `LeaseLost`, `Cancelled` and `Stopped`,
        and `Unfit` if no thread could be started, since nothing would extend the lease.
        """
        if self._unfit is not None:
            raise self._unfit
        self._progress.update(progress)
        if self.is_expired:
            self._beat(patience_s=BEAT_PATIENCE_S)  # after a sleep, only the database knows whose job it is
        elif self.silent_s >= self._settings.progress_s:
            self._wake.set()
        if self._is_lost or self.is_expired:
            raise LeaseLost(f"job {self.claim.job.id}: no heartbeat for {self.silent_s:.1f} s, or taken away")
        if self._is_cancelled:
            raise Cancelled(f"job {self.claim.job.id}: cancelled by its user")
        if self._is_stopped:
            raise Stopped(f"job {self.claim.job.id}: the window of its run closed, or its worker is being stopped")

    def _keep(self) -> None:
        pause_s = self._settings.heartbeat_s
        while True:
            self._wake.wait(pause_s)
            self._wake.clear()
            if self._is_over or self._is_lost:
                return
            try:
                is_well = self._beat()
            except Exception:  # whatever it is: without this thread the job is lost
                logger.exception("job %s: heartbeat failed, trying again", self.claim.job.id)
                is_well = False
            pause_s = self._settings.heartbeat_s if is_well else min(self._settings.heartbeat_s, 1.0)
            if not is_well:
                time.sleep(min(pause_s, 0.2))  # steps wake this thread: avoid a tight loop

    def _beat(self, *, patience_s: float = -1) -> bool:
        """Extend the lease; return whether the database answered. Another beat may be hanging in the network."""
        if not self._beating.acquire(timeout=patience_s):
            return False
        try:
            sent_at = time.monotonic()
            picture = self._progress.pop("preview", None)
            try:
                with transaction(self._factory) as session:
                    asked = jobs.beat(session, self.claim, lease_s=self._settings.lease_s, **self._progress)
                    stops = self._is_stopping() or jobs.is_to_stop(session, self.claim)
                    if picture is not None:
                        previews.put(session, self.claim, picture)
            except LeaseLost:
                self._is_lost = True
            except DATABASE_AWAY as error:
                logger.warning("job %s: heartbeat failed, trying again: %s", self.claim.job.id, first_line(error))
                if isinstance(error, OperationalError) and waited_in_vain(error):
                    self._extended_at = sent_at  # while another transaction holds the row, nobody can take the job
                return False
            else:
                self._extended_at, self._is_cancelled, self._is_stopped = sent_at, asked, stops
            return True
        finally:
            self._beating.release()


def claim_job(
    factory: sessionmaker[Session],
    job_id: UUID,
    *,
    owner: str,
    lease_s: float,
    models: Collection[str] | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Claim | None:
    """Claim a job, waiting for the database for as long as it takes: without it a worker can do nothing else.

    None if another worker has the job, if it has ended, or if its model is none of these; also if its row is locked for
    too long, perhaps by a machine out of reach: the relay hands the job over again, and other jobs need not wait. Once
    `until()` is true, wait no longer and raise the database's error.

    The owner must hold no job: one that it seems to hold is a claim whose answer was lost, and goes back to the queue.
    """
    num_tries = 0

    def take() -> Claim | None:
        nonlocal num_tries
        num_tries += 1
        try:
            with transaction(factory) as session:
                claim = jobs.claim(session, job_id, owner=owner, lease_s=lease_s, models=models)
                if claim is None and num_tries > 1:
                    jobs.release(session, owner=owner)
                return claim
        except OperationalError as error:
            if waited_in_vain(error):
                return None
            raise

    return retry_database(take, until=until)

"""From committed rows to the broker, and back to the queue what fell out. Any number of relays may run.

Five duties, each with its own pace and its own patience: publish the outbox, sweep jobs that lost their worker or
their owner, republish what the broker must have lost, remove files that no row names, forget old history. One that
fails is tried again later; the others go on meanwhile.
"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api import logs, sweeps
from api.broker import Broker, BrokerAway
from api.outbox_listener import Bell
from api.settings import ApiSettings
from db import batches, jobs, outbox, quality_checks, retention
from db.session import connect, sessions, transaction
from db.states import Queue
from shared.storage import Storage, StorageError

logger = logging.getLogger("api.outbox_relay")

PASSING = (DBAPIError, PoolTimeout, BrokerAway, StorageError)  # over when the other side is back
CHUNK = 100  # ids published in one transaction
FORGET_CHUNK = 500  # rows of a table deleted in one transaction
FORGET_CHUNKS = 20  # in one turn: over a million rows of each table a day, more than jobs can write
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 2.0


@dataclass(slots=True, kw_only=True)
class Duty:
    """Something to do again and again."""

    name: str
    act: Callable[[], None]
    every_s: float
    due: float = 0.0  # on the monotonic clock
    num_failures: int = 0  # in a row

    def run(self) -> None:
        """Act, and set when to act next: at the usual time, or soon after a failure that will pass."""
        try:
            self.act()
        except PASSING as error:
            self.num_failures += 1
            pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (self.num_failures - 1))
            fields = {"duty": self.name, "failures": self.num_failures, "error": str(error).splitlines()[0]}
            logger.warning("duty failed", extra={"fields": fields})
        else:
            if self.num_failures:
                logger.info("duty works again", extra={"fields": {"duty": self.name, "failures": self.num_failures}})
            self.num_failures, pause_s = 0, self.every_s
        self.due = time.monotonic() + pause_s


class Relay:
    """One relay: `run` until `stop`."""

    def __init__(self, settings: ApiSettings, engine: Engine, broker: Broker, files: Storage) -> None:
        self._settings, self._broker, self._storage = settings, broker, files
        self._sessions = sessions(engine)
        self._bell = Bell(engine)
        self._is_stopped = False
        self._publishing = Duty(name="publish", act=self.publish, every_s=settings.relay_poll_s)
        self._duties = (
            self._publishing,
            Duty(name="sweep", act=self.sweep, every_s=settings.sweep_s),
            Duty(name="republish", act=self.republish, every_s=settings.sweep_s),
            Duty(name="tidy", act=self.tidy, every_s=settings.tidy_s),
            Duty(name="forget", act=self.forget, every_s=settings.tidy_s),
        )

    def run(self) -> None:
        """Do what is due, then wait for the bell, until somebody calls `stop`."""
        try:
            while not self._is_stopped:
                now = time.monotonic()
                for duty in self._duties:
                    if duty.due <= now and not self._is_stopped:
                        duty.run()
                has_rung = self._bell.wait(min(duty.due for duty in self._duties) - time.monotonic())
                if has_rung and not self._publishing.num_failures:
                    self._publishing.due = 0.0
        finally:
            self._bell.close()
            self._broker.close()

    def stop(self) -> None:
        """End `run` after the transaction at hand; may be called from a signal handler."""
        self._is_stopped = True
        self._bell.pull()

    def publish(self) -> None:
        """Empty the outbox into the broker. A crash between the two publishes twice, never not at all."""
        while not self._is_stopped and self._publish_chunk() == CHUNK:
            pass

    def _publish_chunk(self) -> int:
        with transaction(self._sessions) as session:
            rows = outbox.take(session, limit=CHUNK)
            for row in rows:
                self._broker.publish(row.job_id, row.queue, row.priority)
            if rows:
                outbox.published(session, rows)
        return len(rows)

    def sweep(self) -> None:
        """Requeue or end jobs whose lease expired, close batches, remove what users deleted."""
        with transaction(self._sessions) as session:
            swept = jobs.sweep(session, max_lost=self._settings.max_lost)
        if swept.requeued or swept.failed or swept.cancelled:
            fields = {"requeued": swept.requeued, "failed": swept.failed, "cancelled": swept.cancelled}
            logger.warning("leases expired", extra={"fields": fields})
        with transaction(self._sessions) as session:
            finished = batches.finish(session)
        if finished:
            logger.info("batches ended", extra={"fields": {"batches": finished}})
        with transaction(self._sessions) as session:
            for name in jobs.purge(session):
                self._storage.remove(name)  # before the commit: a crash leaves a row without a file, to be purged again

    def republish(self) -> None:
        """Write outbox rows for queued jobs whose message the broker must have lost."""
        for queue in Queue:
            is_empty = self._broker.length(queue) == 0
            older_s = self._settings.lost_empty_s if is_empty else self._settings.lost_s
            with transaction(self._sessions) as session:
                number = jobs.republish(session, queue, older_s=older_s)
            if number:
                logger.warning("messages lost", extra={"fields": {"queue": queue, "republished": number}})

    def tidy(self) -> None:
        """Finish evictions whose worker died, and remove files that no row names: written, but never published."""
        left = sweeps.sweep_entries(self._storage, self._sessions, quarantine_s=self._settings.quarantine_s)
        if left:
            logger.warning("cache entries swept", extra={"fields": {"files": left}})
        with transaction(self._sessions) as session:
            quality_checks.sweep(session)
        orphans = sweeps.sweep(self._storage, self._sessions, older_s=self._settings.orphan_s)
        if orphans:
            logger.warning("orphans removed", extra={"fields": {"files": orphans}})

    def forget(self) -> None:
        """Delete history that is past keeping; jobs are published between two batches, the rest waits for next time."""
        if not self._settings.keep_history_days:
            return
        older = timedelta(days=self._settings.keep_history_days)
        for _ in range(FORGET_CHUNKS):
            with transaction(self._sessions) as session:
                gone = retention.forget(session, older=older, limit=FORGET_CHUNK)
            if gone.num_rows:
                logger.info("history deleted", extra={"fields": asdict(gone)})
            if gone.is_all or self._is_stopped:
                break
            self.publish()


def main() -> None:
    """Relay until SIGTERM or SIGINT."""
    logs.configure()
    settings = ApiSettings.model_validate({})
    engine = connect(settings.database_url, pool_size=2, application="chai-relay")
    relay = Relay(settings, engine, Broker(settings.redis_url), Storage(settings.storage_url))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    logger.info("relay started")
    relay.run()
    engine.dispose()
    logger.info("relay stopped")


if __name__ == "__main__":
    main()

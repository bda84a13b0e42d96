"""Hands committed jobs to the broker, and returns lost ones to the queue. Any number of relays may run.

The backlog stays in Postgres. The broker gets a short window of it, `CHAI_WINDOW` messages for each living worker, the
best jobs first, and the next one as soon as a worker has claimed one: so a cancelled job leaves nothing behind, one
that lost its worker does not wait behind thousands, and a lost message costs seconds.

Each duty has its own interval and its own retries; while one fails, the others go on. Slow duties (removed videos,
orphaned files, old history) run in threads of their own and never hold up the rest.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api import lanes, sweeps
from api.broker import Broker, BrokerAway
from api.file_batches import FileBatches
from api.lanes import Lane
from api.settings import ApiSettings
from api.webhooks import Webhooks
from db import batches, cache_days, clock, heartbeats, jobs, outbox, previews, quality_checks, retention, webhooks
from db import files as stored_files
from db.heartbeats import Beat
from db.identities import ForeignStorage
from db.listener import Listener
from db.outbox import InFlight
from db.session import connect, sessions, transaction
from db.states import Queue
from shared import backoff, logs
from shared.ids import task_id
from shared.silence import NO_MORE_JOBS_S
from shared.storage import Storage, StorageError, opened

logger = logging.getLogger("api.outbox_relay")

PASSING = (DBAPIError, PoolTimeout, BrokerAway, StorageError)  # end when the other side is back
CHUNK = 20  # jobs of a queue handed over in one transaction
FORGET_CHUNK = 500  # rows of a table deleted in one transaction
FORGET_CHUNKS = 20  # in one turn: over a million rows per table and day, more than jobs can write
PURGE_CHUNK = 20  # removed jobs in one transaction, which stays open while their files are removed
PURGE_CHUNKS = 250  # in one turn
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 2.0
LONGEST_FAULT_BACKOFF_S = 60.0  # of a duty that fails for a reason that may not pass
BEAT_S = 2.0
LOOKS = 3  # checks for lost messages within the time after which one counts as lost
WINDOWS_S = 1.0
WEBHOOKS_S = 0.5  # between two checks for ended videos and due deliveries
BATCHES_S = 0.5  # between two checks for files to be read or written
CLOCK_STEP_S = 1.0  # by which the database's clock may seem to jump: the latency of a query
HEARTBEATS_KEPT = timedelta(days=1)
PREVIEWS_KEPT = timedelta(minutes=10)  # for long steps; the next one replaces it


@dataclass(slots=True, kw_only=True)
class Duty:
    """A periodic task."""

    name: str
    act: Callable[[], None]
    every_s: float
    due: float = 0.0  # on the monotonic clock
    num_failures: int = 0  # in a row
    last_error: str = ""  # its first line

    def run(self) -> None:
        """Act, and set the time of the next run: as usual or, after failures, after growing pauses. Never raises.

        A failure not in `PASSING` is a fault of ours or of the data: its traceback is logged, and the other duties go
        on. One in `PASSING`, which may occur every two seconds for hours, is logged once, and again when it changes or
        ends.
        """
        try:
            self.act()
        except Exception as error:
            self.num_failures += 1
            is_passing = isinstance(error, PASSING)
            is_short = is_passing and not isinstance(error, ForeignStorage)
            longest_s = LONGEST_BACKOFF_S if is_short else LONGEST_FAULT_BACKOFF_S
            again_s = backoff.pause_s(self.num_failures, first_s=FIRST_BACKOFF_S, longest_s=longest_s)
            self._tell(error, is_passing=is_passing)
        else:
            if self.num_failures:
                logger.info("duty works again", extra={"fields": {"duty": self.name, "failures": self.num_failures}})
            self.num_failures, self.last_error, again_s = 0, "", self.every_s
        self.due = time.monotonic() + again_s

    def _tell(self, error: Exception, *, is_passing: bool) -> None:
        before, self.last_error = self.last_error, logs.first_line(error)
        if not is_passing or self.last_error != before:
            fields = {"duty": self.name, "failures": self.num_failures, "error": self.last_error}
            logger.warning("duty failed", extra={"fields": fields}, exc_info=None if is_passing else error)


class Relay:
    """One relay: `run` until `stop`."""

    def __init__(self, settings: ApiSettings, engine: Engine, broker: Broker, files: Storage) -> None:
        self._settings, self._broker, self._storage = settings, broker, files
        self._sessions = sessions(engine)
        self._webhooks = Webhooks(self._sessions, settings)
        self._file_batches = FileBatches(self._sessions, files, settings)
        self._listener = Listener(engine, outbox.CHANNEL)
        self._is_told_to_stop = False
        self._stopped = threading.Event()  # wakes the slow duties
        self.name = f"relay:{socket.gethostname()}:{os.getpid()}"
        self._alive = self.name.replace(":", "@", 1)
        self._short_since: dict[Queue, float] = {}  # on the monotonic clock: the broker holds fewer than it was given
        self._publishing = Duty(name="publish", act=self.publish, every_s=settings.relay_poll_s)
        self._sweeping = Duty(name="sweep", act=self.sweep, every_s=settings.sweep_s)
        self._swept_at = time.monotonic()
        self._ahead_s: float | None = None  # the database's clock minus the monotonic one, at the last sweep
        self._duties = (
            self._publishing,
            self._sweeping,
            Duty(name="republish", act=self.republish, every_s=min(settings.sweep_s, settings.lost_s / LOOKS)),
            Duty(name="windows", act=self.keep_windows, every_s=WINDOWS_S),
            Duty(name="beat", act=self.beat, every_s=BEAT_S),
        )
        self._slow_duties = (
            Duty(name="batches", act=self.go_on_with_batches, every_s=BATCHES_S),
            Duty(name="webhooks", act=self._webhooks.turn, every_s=WEBHOOKS_S),
            Duty(name="purge", act=self.purge, every_s=settings.sweep_s),
            Duty(name="tidy", act=self.tidy, every_s=settings.tidy_s),
            Duty(name="forget", act=self.forget, every_s=settings.tidy_s),
        )

    def run(self) -> None:
        """Run due duties, then wait for a notification, until `stop` is called."""
        slow = [threading.Thread(target=self._repeat, args=(duty,), name=duty.name) for duty in self._slow_duties]
        try:
            for thread in slow:
                thread.start()
            while not self._is_ending:
                now = time.monotonic()
                for duty in self._duties:
                    if duty.due <= now and not self._is_ending:
                        duty.run()
                is_notified = self._listener.wait(min(duty.due for duty in self._duties) - time.monotonic())
                if is_notified and not self._publishing.num_failures:
                    self._publishing.due = 0.0
        finally:
            self._stopped.set()
            for thread in slow:
                if thread.ident is not None:  # its start may have failed
                    thread.join()
            self._webhooks.close()
            self._leave()

    def _repeat(self, duty: Duty) -> None:
        while not self._stopped.is_set():
            duty.run()
            self._stopped.wait(max(0.0, duty.due - time.monotonic()))

    def _leave(self) -> None:
        self._listener.close()
        self._broker.close()
        try:
            with transaction(self._sessions) as session:
                heartbeats.forget(session, self.name)
                heartbeats.forget(session, self._alive)
        except PASSING as error:
            logger.warning("sign of life left behind", extra={"fields": {"error": logs.first_line(error)}})

    def stop(self) -> None:
        """End `run` after the current transaction; may be called from a signal handler.

        It takes no lock, unlike an event: a second signal during the first would wait for that lock for ever.
        """
        self._is_told_to_stop = True
        self._listener.stop()

    @property
    def _is_ending(self) -> bool:
        return self._is_told_to_stop or self._stopped.is_set()

    def publish(self) -> None:
        """Fill the windows of both queues. A crash between broker and commit publishes twice, but loses nothing."""
        for queue in Queue:
            while not self._is_ending and self._hand_over(queue) == CHUNK:
                pass
        self._hand_over_checks()

    def _hand_over(self, queue: Queue) -> int:
        """Hand over jobs of a queue, up to its window, and returned ones even beyond it; return how many."""
        with transaction(self._sessions) as session:
            flying = outbox.in_flight(session)
            own = lanes.of(queue, self._workers(session, queue))
            return max(self._fill(session, queue, lane, flying) for lane in own)

    def _fill(self, session: Session, queue: Queue, lane: Lane, flying: list[InFlight]) -> int:
        room = self._settings.window * lane.num_workers - lane.num_handed(flying, queue)
        if room > 0:
            picked = outbox.pick(session, queue, flying, limit=min(room, CHUNK), models=lane.models)
        else:
            picked = outbox.returned(session, queue, limit=CHUNK, models=lane.models)
        mine = outbox.take(session, [job.id for job in picked]) if picked else set()
        for job in picked:
            if job.id in mine:
                self._broker.publish(job, lane.name)
        if mine:
            outbox.handed_over(session, mine)
        return len(mine)

    def _workers(self, session: Session, queue: Queue) -> list[Beat]:
        """Return the living, fit workers that serve a queue."""
        living = [beat for beat in heartbeats.seen(session, "worker") if beat.age_s < NO_MORE_JOBS_S]
        return [beat for beat in living if beat.is_fit and beat.serves(queue)]

    def _length(self, session: Session, queue: Queue, flying: list[InFlight]) -> int:
        return sum(map(self._broker.length, lanes.lists(queue, self._workers(session, queue), flying)))

    def _hand_over_checks(self) -> None:
        """Hand over one check of the monitor for each worker with its model, if they have nothing else to do."""
        with transaction(self._sessions) as session:
            if not outbox.take_checks(session, limit=1):
                return
            workers = self._workers(session, Queue.BULK)
            for lane in lanes.of(Queue.BULK, workers) if workers else ():
                if outbox.is_idle(session, models=lane.models) and not self._broker.length(lane.name):
                    rows = outbox.take_checks(session, limit=lane.num_workers, models=lane.models)
                    for row in rows:
                        self._broker.publish_check(row.job_id, lane.name)
                    outbox.checks_handed_over(session, rows)

    def sweep(self) -> None:
        """Requeue or fail jobs whose lease expired; close batches.

        While this failed, or the clock jumped forward, workers could not extend their leases either: leases that
        expired then do not count against their jobs.
        """
        away_s = time.monotonic() - self._swept_at if self._sweeping.num_failures else 0.0
        with transaction(self._sessions) as session:
            clock.follow(session, lease_s=self._settings.lease_s)
            ahead_s = clock.read(session) - time.monotonic()
            jump_s = ahead_s - self._ahead_s if self._ahead_s is not None else 0.0
            self._ahead_s = ahead_s
            away_s = max(away_s, jump_s if jump_s > CLOCK_STEP_S else 0.0)
            swept = jobs.sweep(session, max_lost=self._settings.max_lost, away_s=away_s)
        self._swept_at = time.monotonic()
        if swept.requeued or swept.failed or swept.cancelled:
            fields = {"requeued": swept.requeued, "failed": swept.failed, "cancelled": swept.cancelled}
            logger.warning("leases expired", extra={"fields": fields})
        with transaction(self._sessions) as session:
            finished = batches.finish(session)
        if finished:
            logger.info("batches ended", extra={"fields": {"batches": finished}})

    def keep_windows(self) -> None:
        """Open and close the windows of bulk runs: when one closes, running jobs finish and the rest wait."""
        with transaction(self._sessions) as session:
            changed = batches.keep_windows(session)
        if changed:
            logger.info("windows opened or closed", extra={"fields": {"batches": changed}})
            self._publishing.due = 0.0

    def republish(self) -> None:
        """Take back jobs whose message the broker must have lost: in repeated checks it holds fewer than it was given.

        One check says little, since a worker takes a message off its list shortly before it claims the job. Jobs that
        have waited for longer than any worker takes to claim one, and are in no list, are handed over again.
        """
        for queue in Queue:
            now = time.monotonic()
            short_since = self._short_since.pop(queue, now)  # after a failed check, start over
            with transaction(self._sessions) as session:
                flying = outbox.in_flight(session)
                if _num_handed(flying, queue) <= self._length(session, queue, flying):
                    continue
                if now - short_since < self._settings.lost_s:
                    self._short_since[queue] = short_since
                    continue
                lost = self._take_back(session, queue, flying)
            if lost:
                logger.warning("messages lost", extra={"fields": {"queue": queue, "republished": len(lost)}})
                self._publishing.due = 0.0

    def _take_back(self, session: Session, queue: Queue, flying: list[InFlight]) -> list[UUID]:
        old = outbox.unclaimed(session, queue, older_s=self._settings.lost_s)
        tasks = {task_id(id_, attempt): id_ for id_, attempt in old.items()}
        lists = lanes.lists(queue, self._workers(session, queue), flying)
        there = set().union(*(self._broker.holding(name, tasks) for name in lists))
        return outbox.take_back(session, [id_ for task, id_ in tasks.items() if task not in there])

    def beat(self) -> None:
        """Write two heartbeats: that this relay lives, and that it reaches the broker, with what that holds.

        They are separate, since a supervisor must not kill a relay because the broker is away, while a check whether
        jobs reach workers must report that.
        """
        with transaction(self._sessions) as session:
            heartbeats.beat(session, self._alive)
        with transaction(self._sessions) as session:
            flying = outbox.in_flight(session)
            lengths = {queue.value: self._length(session, queue, flying) for queue in Queue}
            handed = {queue.value: _num_handed(flying, queue) for queue in Queue}
            heartbeats.beat(session, self.name, {"broker": lengths, "handed_over": handed})

    def go_on_with_batches(self) -> None:
        """Read the files of batches into their runs, and write the files of results."""
        while not self._is_ending and self._file_batches.turn():
            pass

    def purge(self) -> None:
        """Delete the rows of removed jobs with their videos, and expired files."""
        with transaction(self._sessions) as session:
            self._remove(stored_files.purge(session, limit=PURGE_CHUNK))
        for _ in range(PURGE_CHUNKS):
            with transaction(self._sessions) as session:
                names = jobs.purge(session, limit=PURGE_CHUNK)
                self._remove(names)
            if not names or self._is_ending:
                break

    def _remove(self, names: list[str]) -> None:
        """Remove files before the commit that deletes their rows: after a crash, rows without files are purged again.

        Files that cannot be removed now become orphans.
        """
        if names:
            sweeps.check_ours(self._storage, self._sessions)
            sweeps.remove(self._storage, names)

    def tidy(self) -> None:
        """Finish evictions whose worker died, and remove files that no row names, written but never published."""
        with transaction(self._sessions) as session:
            quality_checks.sweep(session)
            webhooks.sweep(session, limit=FORGET_CHUNKS * FORGET_CHUNK)
            heartbeats.sweep(session, older=HEARTBEATS_KEPT)
            previews.sweep(session, older=PREVIEWS_KEPT)
        sweeps.check_ours(self._storage, self._sessions)
        left = sweeps.sweep_entries(self._storage, self._sessions, quarantine_s=self._settings.quarantine_s)
        if left:
            logger.warning("cache entries swept", extra={"fields": {"files": left}})
        orphans = sweeps.sweep(self._storage, self._sessions, older_s=self._settings.orphan_s)
        if orphans:
            fields = {"number": len(orphans), "files": orphans[:20]}
            logger.warning("orphans removed", extra={"fields": fields})

    def forget(self) -> None:
        """Sum up the days that are over, then delete old history, a bounded number of rows at a time."""
        with transaction(self._sessions) as session:
            cache_days.roll_up(session)
        if not self._settings.keep_history_days:
            return
        older = timedelta(days=self._settings.keep_history_days)
        for _ in range(FORGET_CHUNKS):
            with transaction(self._sessions) as session:
                gone = retention.forget(session, older=older, limit=FORGET_CHUNK)
            if gone.num_rows:
                logger.info("history deleted", extra={"fields": asdict(gone)})
            if gone.is_all or self._is_ending:
                break


def _num_handed(flying: list[InFlight], queue: Queue) -> int:
    return sum(busy.num_handed for busy in flying if busy.queue == queue)


def main() -> None:
    """Relay until SIGTERM or SIGINT."""
    logs.configure()
    settings = ApiSettings.model_validate({})
    engine = connect(settings.database_url, pool_size=5, application="chai-relay")
    relay = Relay(settings, engine, Broker(settings.redis_url), opened(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    logger.info("relay started")
    relay.run()
    engine.dispose()
    logger.info("relay stopped")


if __name__ == "__main__":
    main()

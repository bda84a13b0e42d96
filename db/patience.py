"""How long an answer of the database is waited for, where nobody says that none will come.

libpq waits for it without end. The kernel ends what nobody acknowledges, but whatever stands between (a proxy, a
balancer) may take every byte and bring none. So one thread of the process looks after all that is waited for, and shuts
the line of what is overdue: to who waits, the database went away.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg2
import psycopg2.extensions

STATEMENT_S = 45.0  # longer than the server lets one run (30 s), and a commit take
PING_S = 4.0  # of a connection that was idle
LOOK_S = 0.5


class Connection(psycopg2.extensions.connection):
    """One whose answers come within `patience_s`; None: whenever they do."""

    patience_s: float | None = STATEMENT_S

    def commit(self) -> None:
        """Commit, or raise as for a database that went away."""
        with waiting(self):
            super().commit()

    def rollback(self) -> None:
        """Roll back, or raise as for a database that went away."""
        with waiting(self):
            super().rollback()


class Cursor(psycopg2.extensions.cursor):
    """One of such a connection."""

    def execute(self, *args: Any, **options: Any) -> None:
        """Run a statement."""
        with waiting(self.connection):
            super().execute(*args, **options)

    def executemany(self, *args: Any, **options: Any) -> None:
        """Run a statement for each row."""
        with waiting(self.connection):
            super().executemany(*args, **options)


class _Watch:
    """What this process waits for, and a thread that shuts the line of what is overdue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._overdue_at: dict[int, tuple[float, Any]] = {}  # by a connection's id
        threading.Thread(target=self._look, name="patience", daemon=True).start()

    def begin(self, connection: Any, patience_s: float) -> None:
        self._overdue_at[id(connection)] = time.monotonic() + patience_s, connection

    def end(self, connection: Any) -> None:
        with self._lock:  # so that no line is shut which is another's by now
            self._overdue_at.pop(id(connection), None)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            with self._lock:
                for overdue_at, connection in list(self._overdue_at.values()):
                    if time.monotonic() >= overdue_at:
                        _shut(connection)


def _shut(connection: Any) -> None:
    with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


@cache
def _watch(_pid: int) -> _Watch:  # a forked child has none of its parent's threads
    return _Watch()


@contextmanager
def waiting(connection: Any) -> Iterator[None]:
    """Wait in the block for an answer of a connection, for as long as it says."""
    patience_s: float | None = getattr(connection, "patience_s", None)
    watch = None if patience_s is None else _own_watch()
    if patience_s is None or watch is None:
        yield
        return
    watch.begin(connection, patience_s)
    try:
        yield
    finally:
        watch.end(connection)


def _own_watch() -> _Watch | None:
    try:
        return _watch(os.getpid())
    except RuntimeError:  # no thread is to be had: it is waited without end, as libpq does
        return None

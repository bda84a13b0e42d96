"""A bound on how long a process waits for an answer from the database.

libpq waits forever. The kernel drops a peer that acknowledges nothing, but a proxy or balancer in between may accept
every byte and return none. So one thread watches all calls of the process and shuts down the socket of one that is
overdue; its caller sees a lost connection.
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

STATEMENT_S = 45.0  # longer than the server lets a statement run (30 s) or a commit takes
PING_S = 4.0  # for a connection that was idle
LOOK_S = 0.5


class Connection(psycopg2.extensions.connection):
    """A connection that is lost when an answer takes longer than `patience_s`; None: it waits forever."""

    patience_s: float | None = STATEMENT_S

    def commit(self) -> None:
        """Commit; raise as for a lost connection when no answer comes."""
        with waiting(self):
            super().commit()

    def rollback(self) -> None:
        """Roll back; raise as for a lost connection when no answer comes."""
        with waiting(self):
            super().rollback()


class Cursor(psycopg2.extensions.cursor):
    """A cursor of such a connection."""

    def execute(self, *args: Any, **options: Any) -> None:
        """Run a statement."""
        with waiting(self.connection):
            super().execute(*args, **options)

    def executemany(self, *args: Any, **options: Any) -> None:
        """Run a statement for each row."""
        with waiting(self.connection):
            super().executemany(*args, **options)


class _Watch:
    """The calls that this process waits for, and the thread that shuts down the socket of an overdue one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._overdue_at: dict[int, tuple[float, Any]] = {}  # by a connection's id
        threading.Thread(target=self._look, name="patience", daemon=True).start()

    def begin(self, connection: Any, patience_s: float) -> None:
        self._overdue_at[id(connection)] = time.monotonic() + patience_s, connection

    def end(self, connection: Any) -> None:
        with self._lock:  # so that no socket is shut down that another connection has by now
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
    """Bound the block, which waits for an answer on the connection, by its `patience_s`."""
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
    except RuntimeError:  # no thread can be started: wait forever, as libpq does
        return None

"""Waiting for rows: Postgres rings when a transaction with new ones commits."""

import logging
import select
import socket
from contextlib import suppress
from typing import Any

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)


class Bell:
    """Listens on a connection of its own; after a loss it listens again, and says so by ringing once."""

    def __init__(self, engine: Engine, channel: str) -> None:
        self._engine, self._channel = engine, channel
        self._line: Any = None  # Any: psycopg2's connection
        self._end, self._pulled = socket.socketpair()
        self._end.setblocking(False)

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as it rings, False after the timeout; `pull` and a lost connection end the wait early."""
        if self._line is None and self._listen():
            return True  # what was written meanwhile rang for nobody
        awaited = [self._pulled] if self._line is None else [self._pulled, self._line]
        ready, _, _ = select.select(awaited, [], [], max(0.0, timeout_s))
        return self._line in ready and self._take_rings()

    def pull(self) -> None:
        """End the wait from a signal handler; it stays ended. After `close` nobody waits, and nothing happens."""
        with suppress(OSError):
            self._end.send(b"x")

    def close(self) -> None:
        """Stop listening."""
        self._hang_up()
        self._end.close()
        self._pulled.close()

    def _listen(self) -> bool:
        try:
            connection = self._engine.raw_connection()
            self._line = connection.driver_connection
            connection.detach()
            self._line.autocommit = True
            with self._line.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
        except (DBAPIError, psycopg2.Error) as error:
            logger.warning("cannot listen", extra={"fields": {"error": str(error).splitlines()[0]}})
            self._hang_up()
            return False
        return True

    def _take_rings(self) -> bool:
        try:
            self._line.poll()
        except psycopg2.Error as error:
            logger.warning("stopped listening", extra={"fields": {"error": str(error).strip()}})
            self._hang_up()
            return False
        has_rung = bool(self._line.notifies)
        self._line.notifies.clear()
        return has_rung

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

"""Waiting for rows: Postgres notifies when a transaction with new ones commits."""

import logging
import select
import socket
from contextlib import suppress
from typing import Any

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)


class Listener:
    """Listens on a connection of its own; after a loss it reconnects, and ends one wait for what it missed."""

    def __init__(self, engine: Engine, channel: str) -> None:
        self._engine, self._channel = engine, channel
        self._connection: Any = None  # Any: psycopg2's connection
        self._end, self._stopped = socket.socketpair()
        self._end.setblocking(False)

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as a notice comes, False after the timeout; `stop` and a lost connection end it early."""
        if self._connection is None and self._listen():
            return True  # nothing notified of rows written meanwhile
        awaited = [self._stopped] if self._connection is None else [self._stopped, self._connection]
        ready, _, _ = select.select(awaited, [], [], max(0.0, timeout_s))
        return self._connection in ready and self._take_notices()

    def stop(self) -> None:
        """End the wait, and all later ones, from a signal handler. After `close` this does nothing."""
        with suppress(OSError):
            self._end.send(b"x")

    def close(self) -> None:
        """Stop listening."""
        self._disconnect()
        self._end.close()
        self._stopped.close()

    def _listen(self) -> bool:
        try:
            connection = self._engine.raw_connection()
            self._connection = connection.driver_connection
            connection.detach()
            self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
        except (DBAPIError, psycopg2.Error) as error:
            logger.warning("cannot listen", extra={"fields": {"error": str(error).splitlines()[0]}})
            self._disconnect()
            return False
        return True

    def _take_notices(self) -> bool:
        try:
            self._connection.poll()
        except psycopg2.Error as error:
            logger.warning("stopped listening", extra={"fields": {"error": str(error).strip()}})
            self._disconnect()
            return False
        is_notified = bool(self._connection.notifies)
        self._connection.notifies.clear()
        return is_notified

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

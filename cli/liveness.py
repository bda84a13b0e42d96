"""How a supervisor and a health check see that a part lives: by an HTTP answer or its heartbeat.

A probe returns None if it cannot know: a part must not be ended because the database is away.
"""

import http.client
import socket
import threading
import time

import psycopg2

from shared.silence import NOT_THERE_S

TIMEOUT_S = 5.0
READ_EVERY_S = 2.0  # one read serves all parts, which are probed this often

BEATS = "SELECT name, extract(epoch FROM clock_timestamp() - seen_at) FROM heartbeats"


def answers(port: int, path: str, _uptime_s: float) -> bool:
    """Return whether the HTTP server on a loopback port answers `path` with success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Heartbeats:
    """The heartbeats of all parts, read by one query at most every `READ_EVERY_S`. Thread-safe."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("+psycopg2", "")
        self._lock = threading.Lock()
        self._read_at = -READ_EVERY_S
        self._ages: dict[str, float] | None = None  # seconds, by name; None: unknown

    def is_young(self, name: str, uptime_s: float) -> bool | None:
        """Return whether the part `name` has written a heartbeat lately; None before the first since its start."""
        with self._lock:
            if time.monotonic() - self._read_at >= READ_EVERY_S:
                self._ages, self._read_at = self._read(), time.monotonic()
            ages = self._ages
        found = [age for row, age in (ages or {}).items() if row == name or row.startswith((f"{name}:", f"{name}@"))]
        if not found or min(found) >= uptime_s:
            return None
        return min(found) < NOT_THERE_S

    def _read(self) -> dict[str, float] | None:
        from db.session import arguments, dial  # what `chai up` needs of the database it has loaded by now

        try:
            connection = dial(self._url, **arguments(self._url, "chai-up"))
        except psycopg2.Error:
            return None
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 5000")
                cursor.execute(BEATS)
                return {name: float(age) for name, age in cursor.fetchall()}
        except psycopg2.Error:
            return None
        finally:
            connection.close()


def latest(database_url: str, part: str) -> float | None:
    """Return the age in seconds of the latest heartbeat of a part on this machine; None if there is none.

    Parts are named `relay:HOST:…` and `worker:NAME@HOST:…`. A container is a machine with a name of its own.
    """
    from db import heartbeats
    from db.session import connect, sessions, transaction

    host = socket.gethostname()
    engine = connect(database_url, pool_size=1, application="chai-alive")
    try:
        with transaction(sessions(engine)) as session:
            beats = heartbeats.seen(session, part)
    finally:
        engine.dispose()
    return next((beat.age_s for beat in beats if host in beat.name.replace("@", ":").split(":")), None)

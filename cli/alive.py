"""Signs of life of the parts on this machine, as the database has them."""

import socket

from db import heartbeats
from db.session import connect, sessions, transaction


def latest(database_url: str, part: str) -> float | None:
    """Return the age in seconds of the youngest sign of life of a part on this machine; None when there is none.

    Parts are named `relay:HOST:…` and `worker:NAME@HOST:…`. A container is a machine with a name of its own.
    """
    host = socket.gethostname()
    engine = connect(database_url, pool_size=1, application="chai-alive")
    try:
        with transaction(sessions(engine)) as session:
            beats = heartbeats.seen(session, part)
    finally:
        engine.dispose()
    return next((beat.age_s for beat in beats if host in beat.name.replace("@", ":").split(":")), None)

"""One direction of a connection that a test stands in the middle of."""

import socket
from contextlib import suppress


def pipe(source: socket.socket, target: socket.socket, *, then: int = socket.SHUT_RDWR) -> None:
    """Pass on what comes until it ends, however that is; `then` says how the other side hears of it."""
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(then)

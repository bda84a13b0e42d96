"""A network link between a worker and a server that can be cut: bytes stop without any error."""

import contextlib
import selectors
import socket
import threading
import time

CHUNK = 1 << 16


class Link:
    """Forwards a port of this machine to an address.

    While cut, connections stay open and silent, as when packets are dropped; `delay_s` delays all traffic.
    """

    delay_s = 0.0

    def __init__(self, host: str, port: int, *, at: str = "127.0.0.1") -> None:
        self._target = host, port
        self._listener = socket.create_server((at, 0))
        self.port: int = self._listener.getsockname()[1]
        self._whole = threading.Event()
        self._whole.set()
        threading.Thread(target=self._accept, name=f"link to {port}", daemon=True).start()

    def cut(self) -> None:
        """Let nothing through."""
        self._whole.clear()

    def heal(self) -> None:
        """Let traffic through again, starting with what was held back."""
        self._whole.set()

    def strand(self) -> None:
        """Let new connections through; those that are open stay silent for good."""
        self._whole.clear()
        self._whole = threading.Event()
        self._whole.set()

    def close(self) -> None:
        """Accept no more connections."""
        self.heal()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        whole = self._whole
        whole.wait()
        with contextlib.suppress(OSError), near, socket.create_connection(self._target, timeout=5) as far:
            far.settimeout(None)
            with selectors.DefaultSelector() as ready:
                ready.register(near, selectors.EVENT_READ, far)
                ready.register(far, selectors.EVENT_READ, near)
                while True:
                    for key, _ in ready.select():
                        source, target = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        content = source.recv(CHUNK)
                        whole.wait()
                        time.sleep(self.delay_s)
                        if not content:
                            return
                        target.sendall(content)

"""Whether a worker takes jobs: a state that its parent process and its child share."""

import mmap
import struct
import time

_HEADER = struct.Struct("=BH")  # open, length of the reason
_SIZE = 1024
_STOPPED = _SIZE - 1  # a byte of its own: the other process may open or close at the same moment


class Gate:
    """Open or closed, with the reason. Made before the child is forked, so that both processes read and write it.

    It is anonymous memory, since a machine without room for a file must still be able to report that.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self.open()

    @property
    def is_open(self) -> bool:
        """Whether jobs may be taken."""
        return self._memory[0] == 1 and not self.is_stopped

    @property
    def is_stopped(self) -> bool:
        """Whether no job may be taken any more, whatever happens."""
        return self._memory[_STOPPED] == 1

    @property
    def reason(self) -> str:
        """Why the gate is closed; empty while it is open."""
        if self.is_stopped:
            return "stopping"
        _, length = _HEADER.unpack_from(self._memory)
        return self._memory[_HEADER.size : _HEADER.size + length].decode(errors="replace")

    def open(self) -> None:
        """Let jobs in, unless the worker is being stopped."""
        self._write(1, "")

    def close(self, reason: str) -> None:
        """Take no more jobs; the running one goes on."""
        self._write(0, reason)

    def stop(self) -> None:
        """Take no more jobs for good: the worker is being stopped."""
        self._memory[_STOPPED] = 1

    def wait(self, timeout_s: float) -> bool:
        """Wait until the gate opens or the timeout has passed; return whether it is open."""
        give_up_at = time.monotonic() + timeout_s
        while not self.is_open and time.monotonic() < give_up_at:
            time.sleep(0.05)
        return self.is_open

    def _write(self, is_open: int, reason: str) -> None:
        said = reason.encode(errors="replace")[: _STOPPED - _HEADER.size]
        self._memory[_HEADER.size : _HEADER.size + len(said)] = said
        _HEADER.pack_into(self._memory, 0, is_open, len(said))

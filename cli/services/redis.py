"""An embedded Redis (or Valkey) on a loopback port."""

import shutil
import signal
import socket
from functools import cached_property
from pathlib import Path
from typing import Self

from cli import local
from cli.services import process as processes
from cli.services.binaries import redis_server
from cli.services.errors import PortTaken, StartFailed
from cli.services.server import Server

DATA = ("appendonly.aof", "appendonlydir")  # before Redis 7, and since
UNREADABLE = (  # in its log
    *(b"append only file", b"append-only file", b"Unrecoverable error", b"Wrong signature", b"AOF MANIFEST"),
    *(b"truncated file is not the last", b"Unable to obtain the AOF file"),
)
NUM_DATABASES = 1024  # tests use one each
CONFIG = """\
bind 127.0.0.1
port {port}
dir ./
databases {databases}
requirepass {password}
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class Redis(Server):
    """One server on `folder`, which holds its append-only data, `password`, `redis.conf` (mode 0600) and `port`.

    Writes are on disk within a second and nothing is ever evicted, since a queue must not lose entries.
    """

    name = "redis"
    start_timeout_s, stop_timeout_s, stop_signal = 60.0, 10.0, signal.SIGTERM

    @property
    def url(self) -> str:
        """URL of database 0, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """(Re)start the server and wait until it answers. Raises MissingProgram and StartFailed."""
        processes.on_free_port(self.port or processes.remembered_port(self.folder / "port"), self._start_at)
        return self

    def _start_at(self, port: int) -> None:
        self.port = port
        self.restart()

    def restart(self) -> Self:
        """Start again on the same port. Raises MissingProgram and StartFailed.

        Unreadable data, as after a power cut or a full disk, is put aside: a lost queue is handed over again from
        Postgres, while a server that refuses to start would stop everything.
        """
        begun = self.log.stat().st_size if self.log.exists() else 0
        try:
            return self._restart()
        except PortTaken:
            raise
        except StartFailed:
            if not (self._is_wanted and self._put_aside(begun)):
                raise
            return self._restart()

    def _put_aside(self, begun: int) -> bool:
        """Rename the append-only data if the log says that it was refused; return whether there was any."""
        with self.log.open("rb") as log:
            log.seek(begun)
            said = log.read()
        if not any(word in said for word in UNREADABLE):
            return False
        there = [self.folder / name for name in DATA if (self.folder / name).exists()]
        for data in there:
            aside = data.with_name(f"{data.name}.unreadable")
            shutil.rmtree(aside, ignore_errors=True)  # a rename cannot replace a folder
            data.replace(aside)
        return bool(there)

    def _restart(self) -> Self:
        self.stop()
        program = redis_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        processes.stop_leftovers(program.name, self.folder, with_signal=signal.SIGTERM)
        assert self.port is not None
        processes.kept_port(self.port)
        self._spawn([program, self._write_config()], cwd=self.folder)
        return self

    def answers(self) -> bool:
        """Return within a few seconds whether it answers at all: a server that loads its data is alive."""
        return self._reply() is not None

    @cached_property
    def _password(self) -> str:  # cached: after a restart with its folder gone, the known password must still work
        return local.secret(self.folder / "password")

    def _write_config(self) -> Path:
        file = self.folder / "redis.conf"
        text = CONFIG.format(port=self.port, databases=NUM_DATABASES, password=self._password)
        local.write_secret(file, text)
        return file

    def _is_ready(self) -> bool:
        return self._reply() == (b"+OK\r\n", b"+PONG\r\n")

    def _reply(self) -> tuple[bytes, bytes] | None:
        assert self.port is not None
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as replies:
                    answer = (replies.readline(), replies.readline())
        except OSError:
            return None
        return answer if answer[0] else None

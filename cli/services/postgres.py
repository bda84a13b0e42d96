"""An embedded Postgres with pgvector on a loopback port."""

import logging
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Self

import psycopg2
from psycopg2 import sql

from cli import local
from cli.services import process as processes
from cli.services.binaries import postgres_bin
from cli.services.errors import StartFailed
from cli.services.privileges import Way, give, reachable, way_to_run
from cli.services.server import Server
from shared import environment
from shared.storage.disks import sync_folder

log = logging.getLogger(__name__)

ADMIN = "postgres"
NAME = "chai"  # role and database of the application
REFUSALS = ("FATAL", "sent an error response")  # the second from the postmaster itself, if it cannot fork
MEMORY = "512MB"  # pages, allocated on use: with Postgres's default of 128, look-ups of a large cache wait for copies


class Postgres(Server):
    """One server on `folder`: `data/`, `password` and `admin` (mode 0600) and `port`, kept between starts.

    The application's role owns its database and may create others, and is no superuser; the superuser has a secret of
    its own, which no part of the service is given: with it SQL may run programs. `durable=False` leaves out
    fsync: rows survive the death of the server but not of the machine, which is what tests need.
    """

    name = "postgres"
    start_timeout_s = 120.0  # crash recovery of a large database takes long
    stop_timeout_s, stop_signal = 20.0, signal.SIGINT

    def __init__(
        self, folder: Path, *, port: int | None = None, logs: Path | None = None, durable: bool = True
    ) -> None:
        super().__init__(folder, port=port, logs=logs)
        self._durable = durable

    @property
    def data(self) -> Path:
        """The data folder, the server's working directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the application's database, password included."""
        return f"postgresql+psycopg2://{NAME}:{self._password}@127.0.0.1:{self.port}/{NAME}"

    @property
    def admin_url(self) -> str:
        """The same database as the superuser, who may drop the vector extension."""
        return f"postgresql+psycopg2://{ADMIN}:{self._admin_password}@127.0.0.1:{self.port}/{NAME}"

    def start(self) -> Self:
        """Make the data folder if there is none, (re)start the server and wait until the database can be used.

        Raises MissingProgram and StartFailed.
        """
        environment.forget(environment.LIBPQ)
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        programs, way = self._programs()
        processes.stop_leftovers("postgres", self.data, with_signal=signal.SIGINT)
        self._make_data(programs, way)

        def launch(port: int) -> None:
            self.port = port
            self._launch(programs, way)

        processes.on_free_port(self.port or processes.remembered_port(self.folder / "port"), launch)
        self._part_passwords()
        self._make_database()
        return self

    def restart(self) -> Self:
        """Start again on the same port, with the existing data. Raises StartFailed."""
        self.stop()
        programs, way = self._programs()
        if not (self.data / "PG_VERSION").exists():
            raise StartFailed(f"{self.data} is gone; put it back, or stop and start anew for an empty database")
        processes.stop_leftovers("postgres", self.data, with_signal=signal.SIGINT)
        self._launch(programs, way)
        return self

    def answers(self) -> bool:
        """Return within a few seconds whether it answers at all: one that recovers, is full or cannot fork is alive."""
        try:
            self._connect("postgres", timeout_s=3).close()
        except psycopg2.OperationalError as error:
            return any(said in str(error) for said in REFUSALS)
        return True

    @property
    def _password(self) -> str:
        return local.secret(self.folder / "password")

    @property
    def _admin_password(self) -> str:
        return self._admin_secrets()[0]

    def _admin_secrets(self) -> list[str]:
        """Possible secrets of the superuser, the likeliest first.

        In a folder of an earlier version that is the application's secret, until `_part_passwords` has run; a start
        interrupted during that left `admin.new`.
        """
        files = [file for name in ("admin", "admin.new") if local.has_secret(file := self.folder / name)]
        secrets = [file.read_text() for file in files]
        return secrets[:1] if files and files[0].name == "admin" else [*secrets, self._password]

    def _part_passwords(self) -> None:
        """Give the superuser its own secret if it shares the application's; it is on disk before it takes effect."""
        file, new = self.folder / "admin", self.folder / "admin.new"
        if local.has_secret(file):
            return
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(ADMIN), sql.Literal(local.secret(new))))
        new.replace(file)

    def _programs(self) -> tuple[Path, Way]:
        found, way = postgres_bin(), way_to_run(self.data)
        return reachable(found, way), way

    def _make_data(self, programs: Path, way: Way) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        processes.stop_leftovers("initdb", self.folder, with_signal=signal.SIGINT)
        data = self.data.resolve()  # may be a link to another disk
        partial = data.with_name("data.part")  # an interruption leaves nothing that looks like data
        if partial.exists():
            shutil.rmtree(partial)
        secret = self.folder / "initdb.secret"  # a copy readable to the user who runs initdb
        local.write_secret(secret, local.secret(self.folder / "admin"))
        give(secret, way.owner)
        partial.mkdir(mode=0o700)
        give(partial, way.owner)
        command: list[str | Path] = [*way.prefix, programs / "initdb", "-D", partial, "-U", ADMIN]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"]
        command += ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same order everywhere
        command += [] if self._durable else ["--no-sync"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        secret.unlink()
        if done.returncode != 0:
            raise StartFailed(f"initdb could not make {self.data}: {done.stderr.strip() or done.stdout.strip()}")
        partial.rename(data)  # replaces an empty folder, too
        if self._durable:
            sync_folder(data.parent)

    def _launch(self, programs: Path, way: Way) -> None:
        give(self.data, way.owner)
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # no server is left on the folder, so the file is stale
        assert self.port is not None
        options = {
            "listen_addresses": "127.0.0.1",
            "port": processes.kept_port(self.port),
            "unix_socket_directories": "",
            "shared_buffers": MEMORY,
            "fsync": "on" if self._durable else "off",
        }
        command: list[str | Path] = [*way.prefix, programs / "postgres", "-D", self.data]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._spawn(command, cwd=self.data)

    def _is_ready(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError as error:
            log.debug("postgres is not ready: %s", error)
            return False
        return True

    def _connect(self, database: str, timeout_s: int = 5) -> psycopg2.extensions.connection:
        for secret in self._admin_secrets():
            try:
                connection = psycopg2.connect(
                    host="127.0.0.1",
                    port=self.port,
                    user=ADMIN,
                    password=secret,
                    dbname=database,
                    connect_timeout=timeout_s,
                )
            except psycopg2.OperationalError as error:
                if "password authentication failed" not in str(error):
                    raise
                continue
            connection.autocommit = True
            return connection
        raise StartFailed(
            f"no secret in {self.folder} opens {self.data}: the files admin and password belong to this data; put them "
            "back, or choose another folder with CHAI_VAR_DIR"
        )

    def _make_database(self) -> None:
        role = sql.Identifier(NAME)
        # Only a superuser may add the extension: do so in template1, so that each later database has it.
        with closing(self._connect("template1")) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (NAME,))
            if cursor.fetchone() is None:
                statement = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
                cursor.execute(statement.format(role, sql.Literal(self._password)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))

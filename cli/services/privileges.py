"""Postgres refuses to run as uid 0 or as a uid without a name. This module works around that without making accounts.

Ways, first that works:

1. As is: an ordinary user with a passwd entry.
2. In a user namespace where our uid is called `nobody`: files stay ours, nothing on the machine changes.
3. As the real `nobody`, keeping one capability (CAP_DAC_OVERRIDE) to reach a data folder below a private home.
   Containers and chroots often forbid user namespaces to root; this needs none.
4. As the real `nobody` without it, for a data folder that all users reach, where there is no setpriv.

The capability does not help with the programs: they ask access(2) whether they may be run, which checks only the user.
Below a folder of mode 700 (such as root's home) they are therefore copied to a place that all users can read.

The wheel's own launcher instead adds an account and opens every parent folder up to `/` to all users.
"""

import logging
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli.services.errors import StartFailed

log = logging.getLogger(__name__)

PLACES = (Path("/var/lib"), Path("/opt"), Path("/usr/local/lib"))  # for copies of programs, before the temporary folder
AS_USER = """import os, shutil, sys
program = shutil.which(sys.argv[3])
os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[1]))
os.execv(program, sys.argv[3:])"""  # nothing is imported after the change: Python itself may lie below a private home


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to run a program that must not be root."""

    prefix: tuple[str, ...]  # goes before the command
    owner: int  # uid, seen from here, of files that the program makes


def way_to_run(data: Path) -> Way:
    """Return the first way that works here and reaches the folder above `data`; raise StartFailed if there is none."""
    uid = os.geteuid()
    if uid != 0 and _has_name(uid):
        return Way(prefix=(), owner=uid)
    for way in _other_ways(uid) if uid != 0 or _may_read_all() else []:
        if _runs(way, "test", "-e", f"{data.parent}/."):
            return way
    if uid == 0 and _may_read_all() and _runs(_as_nobody(), "true"):
        raise StartFailed(
            f"as root Postgres runs here as the user nobody, who cannot reach {data.parent}: set CHAI_VAR_DIR to a "
            "folder that all users can reach, such as /var/lib/chai; or run as an ordinary user, or set DATABASE_URL"
        )
    raise StartFailed(
        f"Postgres cannot run as uid {uid} here: neither `unshare --user` nor another user is allowed. "
        "Run as an ordinary user with an entry in /etc/passwd, or set DATABASE_URL to an external Postgres"
    )


def reachable(programs: Path, way: Way) -> Path:
    """Return `programs` or, if `way` may not execute them there, a copy, kept for the next start.

    Raises StartFailed if the copy cannot be made anywhere.
    """
    if _runs(way, "test", "-x", programs / "postgres"):
        return programs
    package = programs.parent.parent
    libraries = package.parent / f"{package.name}.libs"  # beside the package; libpq is loaded from there
    for place in (*PLACES, Path(tempfile.gettempdir())):
        copy = place / f"chai-{package.name}-{_version(programs)}"
        try:
            for folder in (copy, copy / package.name):
                _make_ours(folder)
            _copy(programs.parent, copy / package.name / programs.parent.name)
            if libraries.exists():
                _copy(libraries, copy / libraries.name)
        except OSError as error:
            log.info("%s takes no programs: %s", place, error)
            continue
        found = copy / package.name / programs.parent.name / programs.name
        if _runs(way, found / "postgres", "--version"):
            return found
    raise StartFailed(
        f"the user that Postgres has to run as cannot reach {programs}, and no folder takes a copy that it could run: "
        "move the checkout to a folder that all users can reach, such as /opt; or run as an ordinary user, or set "
        "DATABASE_URL"
    )


def _make_ours(folder: Path) -> None:
    """Make a world-readable folder; raise OSError for one that belongs to, or is writable by, somebody else."""
    folder.mkdir(exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} is not ours alone")
    folder.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder once, whole or not at all, readable by all."""
    if target.exists():
        return
    partial = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(source, partial, symlinks=True, dirs_exist_ok=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            is_program = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if is_program else 0o644)
    partial.rename(target)
    log.info("copied %s to %s", source, target)


def _version(programs: Path) -> str:
    """Return an id of this build of the programs."""
    found = (programs / "postgres").stat()
    return f"{found.st_size:x}-{int(found.st_mtime):x}"


def give(folder: Path, owner: int) -> None:
    """Make `owner` own `folder` and all in it: data made by one way can then be used by another.

    Only root can do this, and it takes nothing from another account, which a forgotten `sudo` would shut out. Raises
    StartFailed.
    """
    found = folder.stat().st_uid
    if found == owner:
        return
    if os.geteuid() != 0 or found not in (0, pwd.getpwnam("nobody").pw_uid):
        raise StartFailed(
            f"{folder} belongs to uid {found}, not to uid {owner}; "
            "run as that user, or choose another folder with CHAI_VAR_DIR"
        )
    for path in (*folder.rglob("*"), folder):  # the folder last: it shows whether all are done
        os.chown(path, owner, -1, follow_symlinks=False)


def _other_ways(uid: int) -> list[Way]:
    nobody = pwd.getpwnam("nobody")
    namespace = Way(
        prefix=("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"), owner=uid
    )
    capability = "+dac_override"
    account = Way(
        prefix=(
            "setpriv",
            f"--reuid={nobody.pw_uid}",
            f"--regid={nobody.pw_gid}",
            "--clear-groups",
            f"--inh-caps={capability}",
            f"--ambient-caps={capability}",
        ),
        owner=nobody.pw_uid,
    )
    return [namespace, account, _as_nobody()] if uid == 0 else [namespace]


def _as_nobody() -> Way:
    """Become nobody within Python: small images have no setpriv."""
    nobody = pwd.getpwnam("nobody")
    prefix = (sys.executable, "-I", "-S", "-c", AS_USER, str(nobody.pw_uid), str(nobody.pw_gid))
    return Way(prefix=prefix, owner=nobody.pw_uid)


def _may_read_all() -> bool:
    """Return whether this process has CAP_DAC_OVERRIDE, without which root has only ordinary access to files."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True  # not Linux: no capabilities
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << 1)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _runs(way: Way, *command: str | Path) -> bool:
    if way.prefix and shutil.which(way.prefix[0]) is None:
        return False
    return subprocess.run([*way.prefix, *command], capture_output=True, check=False).returncode == 0

"""Postgres refuses to run as uid 0 and as a uid without a name. This module finds a way around without making accounts.

Ways, first that works:

1. As is: an ordinary user with a passwd entry.
2. In a user namespace where our uid is called `nobody`: files stay ours, nothing on the machine changes.
3. As the real `nobody`, keeping one capability (CAP_DAC_OVERRIDE) to reach an installation and a data folder below a
   private home. Containers started as root often forbid user namespaces; this needs none.

The wheel's own launcher instead adds an account and opens every parent folder up to `/` to all users.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.services.errors import StartFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to run a program that must not be root."""

    prefix: tuple[str, ...]  # goes before the command
    owner: int  # uid that owns, seen from here, the files the program makes


def way_to_run() -> Way:
    """Return the first way that works here; raise StartFailed if there is none."""
    uid = os.geteuid()
    if uid != 0 and _has_name(uid):
        return Way(prefix=(), owner=uid)
    for way in _other_ways(uid):
        if _works(way):
            return way
    raise StartFailed(
        f"Postgres cannot run as uid {uid} here: neither `unshare --user` nor `setpriv --reuid` is allowed. "
        "Run as an ordinary user, or set DATABASE_URL to an external Postgres"
    )


def give(folder: Path, owner: int) -> None:
    """Make `owner` own `folder` and all in it, where it does not yet: data made by one way then serves another.

    Changing owners needs root; raise StartFailed otherwise.
    """
    if folder.stat().st_uid == owner:
        return
    if os.geteuid() != 0:
        raise StartFailed(
            f"{folder} belongs to uid {folder.stat().st_uid}, not to uid {owner}; "
            "run as that user, or choose another folder with CHAI_VAR_DIR"
        )
    for path in (folder, *folder.rglob("*")):
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
    return [namespace, account] if uid == 0 else [namespace]


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _works(way: Way) -> bool:
    if shutil.which(way.prefix[0]) is None:
        return False
    return subprocess.run([*way.prefix, "true"], capture_output=True, check=False).returncode == 0

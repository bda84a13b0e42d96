"""Removal of files and entries that dead workers left behind; their bytes are freed.

Only files with names that this service makes are touched: others in the same storage (the `.nfs…` of a file server, a
note of the operator) are left alone.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from api.errors import Gone
from db import cache, files, identities, jobs
from db.identities import ForeignStorage
from db.session import transaction
from shared.storage import (
    CHECKS,
    FILES,
    LATENTS,
    PICTURES,
    VIDEOS,
    Storage,
    StorageError,
    attempt_of,
    is_half_written,
    video_name,
)

logger = logging.getLogger("api.sweeps")

MOST_REFUSED = 10  # if the first ones all fail, the storage itself is at fault


def sweep(storage: Storage, factory: sessionmaker[Session], *, older_s: float) -> list[str]:
    """Remove files that no row names and that are too old to belong to a running attempt; return their names."""
    now = _clock(storage)
    orphans: list[str] = []
    for folder in (VIDEOS, PICTURES, LATENTS, FILES, CHECKS):
        found = list(storage.files(folder))
        until = now or max((file.modified_at for file in found), default=None)
        old = [file.name for file in found if until and (until - file.modified_at).total_seconds() >= older_s]
        with transaction(factory) as session:
            kept = _KEPT[folder](session, old)
        orphans += [name for name in old if name not in kept]
    left = remove(storage, orphans)
    return [name for name in orphans if name not in left]


def _clock(storage: Storage) -> datetime | None:
    """Return the time by the clock that dates the files, since no other tells their age; None if writing fails.

    The disk may be full, which a sweep is to relieve: the youngest file's time then serves as a lower bound.
    """
    try:
        return storage.clock()
    except StorageError as error:
        logger.warning("files are as old as the youngest says", extra={"fields": {"error": str(error)}})
        return None


def sweep_entries(storage: Storage, factory: sessionmaker[Session], *, quarantine_s: float) -> list[str]:
    """Finish the removal of cache entries that dead workers left: unlink their files, free their bytes."""
    with transaction(factory) as session:
        rows = cache.unfinished(session, quarantine_s=quarantine_s)
    left = remove(storage, [row.name for row in rows])
    rows = [row for row in rows if row.name not in left]
    by_space: dict[UUID, list[UUID]] = {}
    for row in rows:
        by_space.setdefault(row.namespace_id, []).append(row.id)
    for namespace_id, ids in by_space.items():
        with transaction(factory) as session:
            cache.gone(session, namespace_id, ids)
    return [row.name for row in rows]


def remove(storage: Storage, names: Iterable[str]) -> set[str]:
    """Remove files; return those that could not be removed. Raises `StorageError` if the first ten all fail.

    A file that cannot be removed, of another account or locked by its store, must not keep all others: the order
    changes each time, so that ten of these do not come first for ever.
    """
    left: dict[str, StorageError] = {}
    shuffled = list(names)
    random.shuffle(shuffled)
    for number, name in enumerate(shuffled):
        try:
            storage.remove(name)
        except StorageError as error:
            left[name] = error
            if len(left) == MOST_REFUSED == number + 1:
                raise
    if left:
        said = {"number": len(left), "first": str(next(iter(left.values())))}
        logger.warning("files cannot be removed", extra={"fields": said})
    return set(left)


def check_ours(storage: Storage, factory: sessionmaker[Session]) -> None:
    """Raise `ForeignStorage` unless this is the storage that this database's workers write to.

    In another storage no file has a row here: all would be orphans.
    """
    try:
        identities.check_storage(storage, factory, may_be_new=False)
    except ForeignStorage as error:
        raise ForeignStorage(f"nothing is removed from, or gone from, {error}") from None


@contextmanager
def gone_from_ours_only(storage: Storage, factory: sessionmaker[Session]) -> Iterator[None]:
    """Raise `StorageError` instead of a `Gone` from the block if this storage is not the service's own.

    A process that has just started has not seen the storage's id: an unmounted disk has none, nor has a gateway that
    has lost sight of its files.
    """
    try:
        yield
    except Gone:
        check_ours(storage, factory)
        raise


def _published(session: Session, names: list[str]) -> set[str]:
    """Return which of these names belong to a job's output or to a running attempt, whatever clocks say."""
    made = {name: attempt for name in names if (attempt := attempt_of(name))}
    owners = {owner for owner, _ in made.values()}
    held = jobs.attempts_going_on(session, owners)  # before the outputs: a job published in between was running here
    outputs = jobs.videos(session, owners)
    return {
        name
        for name, attempt in made.items()
        if attempt in held or (not is_half_written(name) and video_name(*attempt) in outputs)
    }


_KEPT: dict[str, Callable[[Session, list[str]], set[str]]] = {
    VIDEOS: _published,
    PICTURES: _published,
    LATENTS: lambda session, _: set(cache.names(session)),
    FILES: files.known,
    CHECKS: lambda _, __: set(),
}

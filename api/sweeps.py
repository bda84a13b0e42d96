"""Files and entries that dead workers left behind: removed, and their bytes given back.

Only files whose names this service makes are touched: what others keep or leave in the same storage (the `.nfs…` of a
file server, a note of the operator) is theirs.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import cache, files
from db.models import Job
from db.session import transaction
from shared.storage import FILES, LATENTS, PICTURES, VIDEOS, Storage, video_name

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# A file of an attempt or a tenant, whole or half written; see the names that `shared.storage` makes.
_OURS = re.compile(
    rf"(?:{VIDEOS}|{LATENTS}|{PICTURES}|{FILES})/(?:\.writing-[0-9a-f]+-)?({_UUID})"
    r"(?:\.(\d+)\.(?:mp4|safetensors|[a-z]+\.jpg)|\.jsonl)"
)


def sweep(storage: Storage, factory: sessionmaker[Session], *, older_s: float) -> list[str]:
    """Remove files that no row names and that are older than any attempt could still be; return their names."""
    now = datetime.now(UTC)
    orphans: list[str] = []
    for folder in (VIDEOS, PICTURES, LATENTS, FILES):
        ours = (file for file in storage.files(folder) if _OURS.fullmatch(file.name))
        old = [file.name for file in ours if (now - file.modified_at).total_seconds() >= older_s]
        with transaction(factory) as session:
            kept = _KEPT[folder](session, old)
        orphans += [name for name in old if name not in kept]
    for name in orphans:
        storage.remove(name)
    return orphans


def sweep_entries(storage: Storage, factory: sessionmaker[Session], *, quarantine_s: float) -> list[str]:
    """Finish what dead workers left half done with cache entries: unlink their files, give the bytes back."""
    with transaction(factory) as session:
        rows = cache.unfinished(session, quarantine_s=quarantine_s)
    by_space: dict[UUID, list[UUID]] = {}
    for row in rows:
        storage.remove(row.name)
        by_space.setdefault(row.namespace_id, []).append(row.id)
    for namespace_id, ids in by_space.items():
        with transaction(factory) as session:
            cache.gone(session, namespace_id, ids)
    return [row.name for row in rows]


def _published(session: Session, names: list[str]) -> set[str]:
    """Return the names among these of the videos that are the output of a job, and of the pictures of these."""
    made = {name: (UUID(found[1]), int(found[2])) for name in names if (found := _OURS.fullmatch(name))}
    owners = {owner for owner, _ in made.values()}
    outputs = set(session.scalars(select(Job.output["name"].astext).where(Job.id.in_(owners))))
    whole = (name for name in made if ".writing-" not in name)
    return {name for name in whole if video_name(*made[name]) in outputs}


_KEPT: dict[str, Callable[[Session, list[str]], set[str]]] = {
    VIDEOS: _published,
    PICTURES: _published,
    LATENTS: lambda session, _: set(cache.names(session)),
    FILES: files.known,
}

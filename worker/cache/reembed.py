"""Another embedder for stored entries: they move, a few at a time, to the namespace of the new one.

An embedder is part of a namespace's identity, so another one starts with an empty cache; latents do not depend on it.
Each step is one transaction in which entries leave the look-ups of one namespace and enter those of the other, with
their files and bytes, and their phrases embedded again. So this may be stopped and restarted beside a running service:
at any time each entry is found in one of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import cache, namespaces, vetoes
from db.models import CacheEntity, Namespace
from db.session import transaction
from worker.cache.decisions.match_settings import THRESHOLD_NAMES
from worker.models.embedder import Embedder
from worker.prompts.types import OPAQUE, Entity

STEP = 100  # entries per transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The source and target namespaces."""

    source: UUID
    target: UUID


def find(session: Session, embedder: Embedder) -> list[Namespace]:
    """Return the namespaces of other embedders that hold entries."""
    others = (space for space in namespaces.every(session) if space.identity["embedder"] != embedder.name)
    return [space for space in others if namespaces.num_resident(session, space)]


def begin(session: Session, source: Namespace, embedder: Embedder) -> Move:
    """Find or make the namespace to which a source's entries move: like the source, but with its own thresholds.

    Its budget is at least the source's, and operators' verdicts on matches are copied.
    """
    own = {name: value for name, value in source.identity.items() if name not in ("scope", "owner")}
    match = {name: value for name, value in source.settings.get("match", {}).items() if name not in THRESHOLD_NAMES}
    settings = {name: value for name, value in source.settings.items() if name != "match"}
    target = namespaces.get_or_create(
        session,
        own | {"embedder": embedder.name},
        scope=source.scope,
        owner=source.owner,
        dims=embedder.dim,
        byte_budget=source.byte_budget,
        policy=source.policy,
        admission=source.admission,
        tenant_share=source.tenant_share,
        settings=settings | ({"match": match} if match else {}),
    )
    target.byte_budget = max(target.byte_budget, source.byte_budget)
    vetoes.move(session, source.id, target.id)
    return Move(source=source.id, target=target.id)


def step(factory: sessionmaker[Session], move: Move, embedder: Embedder, *, limit: int = STEP) -> int:
    """Move the longest unused entries for which the target has room; return how many.

    None: all remaining ones are held by running jobs or do not fit. Phrases are embedded outside the transaction.
    """
    with factory() as session:
        source, target = (session.get_one(Namespace, id_) for id_ in (move.source, move.target))
        ids = cache.movable(session, source, target, limit=limit)
        words = cache.entities(session, ids)
    found = {id_: _anew(rows, embedder) for id_, rows in words.items()}
    with transaction(factory) as session:
        held = {
            id_: namespaces.lock(session, id_) for id_ in sorted((move.source, move.target))
        }  # two steps never cross
        return len(cache.move(session, held[move.source], held[move.target], {id_: found.get(id_, []) for id_ in ids}))


def _anew(rows: Sequence[CacheEntity], embedder: Embedder) -> list[cache.NewEntity]:
    """Return stored entities with the vectors of another embedder, marking those whose words it does not know."""
    texts = [Entity(text=row.text, head=row.head).lookup_text for row in rows]
    return [
        cache.NewEntity(
            text=row.text,
            head=row.head,
            attributes=(
                *(word for word in row.attributes if word != OPAQUE),
                *(() if embedder.knows(text) else (OPAQUE,)),
            ),
            kind=row.kind,
            embedding=vector,
        )
        for row, text, vector in zip(rows, texts, embedder.embed(texts), strict=True)
    ]

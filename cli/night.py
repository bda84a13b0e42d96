"""A dry run of a list: each line is decided as the service would, in the order in which it would run.

Entities, look-ups and plans are the service's own, against the stored videos and the entries that earlier full lines
would store. What the model's text encoder would cut off a prompt is not known here. Nothing is written.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api import batch_items
from api.deps import LOCAL
from api.ids import batch_id
from cli import local
from cli.errors import BadInput
from cli.manifest import BadLine, Line, Manifest, Order
from cli.model_cards import cards_in
from db import batches, heartbeats, jobs, keys, metrics, reused_lines
from db.keys import Caller
from db.metrics import Spread
from db.models import Batch, Job, Namespace
from db.session import connect, sessions, transaction
from db.states import BatchStatus
from shared.generation import GenerationParams, Mode
from shared.model_cards import ModelCard
from shared.silence import NO_MORE_JOBS_S
from worker.cache import dry_run, nights, planner, tables
from worker.cache.decisions.planning import Plan
from worker.cache.decisions.types import Neighbour
from worker.cache.namespaces import SpaceSettings, initial_settings
from worker.models.embedder import Embedder
from worker.models.embedders import load_embedder
from worker.models.keeping_embedder import EmbedderError
from worker.settings import WorkerSettings

Size = tuple[str, int, int, int, int]  # model, width, height, frames, frames a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One line, and how it would run."""

    line: Line
    plan: Plan
    size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The lines of a list that earlier runs have made, or will make."""

    run: str | None = None  # that was made of this very list
    lines: frozenset[str] = frozenset()  # custom ids of lines that are not made again


@dataclass(slots=True, kw_only=True)
class Night:
    """A list of prompts, and all that is needed to decide it."""

    cards: Mapping[str, ModelCard]
    settings: WorkerSettings
    embedder: Embedder
    factory: sessionmaker[Session] | None  # None: no service is known, only the list is considered
    num_workers: int
    caller: Caller  # whose cache it is
    jobs: Sequence[tuple[Line, Job]]
    bad: Sequence[BadLine]
    earlier: Earlier
    measured: dict[Size, Mapping[str, Spread]] = field(default_factory=dict)  # by path, of each size that came up
    stored_by: str | None = None  # another embedder, whose all is that is stored of a size that came up

    def decided(self, order: Order) -> Iterator[Decided]:
        """Decide each usable line, in the order in which it would run; lines of one size together."""
        groups: dict[Size, list[tuple[Line, Job]]] = defaultdict(list)
        for line, job in self.jobs:
            groups[job.model, job.width, job.height, job.num_frames, job.fps].append((line, job))
        for size, pairs in groups.items():
            for line, plan in self._group(size, pairs, order):
                yield Decided(line=line, plan=plan, size=size)

    def _group(self, size: Size, pairs: Sequence[tuple[Line, Job]], order: Order) -> Iterator[tuple[Line, Plan]]:
        room: nights.Room | None = None
        for start in range(0, len(pairs), nights.SLICE):
            part = pairs[start : start + nights.SLICE]
            session = self.factory() if self.factory else None
            try:  # closed before lines are yielded: no transaction stays open meanwhile
                space = self._space(session, part[0][1]) if session else None
                own = _own_settings(space, self.cards[part[0][1].model])
                if room is None:
                    self.measured[size] = _measured(session, part[0][1]) if session else {}
                    room = nights.Room(capacity=self._capacity(space, self.measured[size]))
                lines = [self._taken_apart(session, space, own, line, job) for line, job in part]
            finally:
                if session:
                    session.close()
            matching = own.matching(self.embedder.name)
            indexes: Sequence[int] = range(len(lines))
            if order is Order.PLANNED:
                indexes = nights.arrange(lines, room, matching, num_workers=self.num_workers)
            for index, plan in nights.run(lines, indexes, room, matching, num_workers=self.num_workers):
                yield part[index][0], plan

    def _space(self, session: Session, job: Job) -> Namespace | None:
        """Return the namespace that such a job of the caller's would look into; None before there is one."""
        caller, params = self.caller, GenerationParams.of(job)
        found = dry_run.find_spaces(session, params, caller.tenant, caller.group)
        self.stored_by = self.stored_by or dry_run.stored_by_another(session, found, self.embedder.name)
        return dry_run.of_embedder(found, self.embedder.name)

    def _capacity(self, space: Namespace | None, measured: Mapping[str, Spread]) -> int | None:
        """Return how many videos of this size the cache can hold; None if none was measured."""
        full = measured.get("full")
        if full is None or not full.latent_bytes:
            return None
        return int((space.byte_budget if space else self.settings.cache_bytes) // full.latent_bytes)

    def _taken_apart(
        self, session: Session | None, space: Namespace | None, own: SpaceSettings, line: Line, job: Job
    ) -> nights.Line:
        card, params = self.cards[job.model], GenerationParams.of(job)
        found = planner.extractor(own.extractor)(params.prompt, negative=params.negative_prompt or "")
        extraction, vectors = planner.embed(self.embedder, found)
        stored: tuple[Neighbour, ...] = ()
        if session and space:
            stored = planner.neighbours(session, space, own, extraction, vectors)
        return nights.Line(
            id=f"{nights.OWN}{line.custom_id}",
            mode=params.mode,
            extraction=extraction,
            vectors=np.asarray(vectors, dtype=np.float32).reshape(len(vectors), self.embedder.dim),
            table=tables.of_job(session, space, own, self.settings, card, params),
            lends=params.mode is not Mode.FAST and params.is_canonical(card),
            stored=stored,
        )


def of(listed: Manifest, series: str | None = None) -> Night:
    """Prepare to decide a list; the database is used if a service is running here or one is named.

    Lines that earlier runs of `series` have made, or will make, are left out. Raises `BadInput` if this machine lacks
    something that is needed.
    """
    factory = database()
    with local.settings_checked():
        settings = WorkerSettings.model_validate({} if factory else {"DATABASE_URL": "postgresql://none/none"})
    cards = cards_in(settings.models_dir)
    try:
        embedder = load_embedder(settings.embedder)
    except EmbedderError as error:
        raise BadInput(f"CHAI_EMBEDDER: {error}") from error
    jobs, bad = _checked(listed, cards, settings)
    caller = _caller(factory)
    asked = [job for _, job in jobs]
    earlier = _earlier(factory, listed, series, asked, caller.tenant) if factory else Earlier()
    return Night(
        cards=cards,
        settings=settings,
        embedder=embedder,
        factory=factory,
        num_workers=_num_workers(factory),
        caller=caller,
        jobs=[(line, job) for line, job in jobs if line.custom_id not in earlier.lines],
        bad=bad,
        earlier=earlier,
    )


def database() -> sessionmaker[Session] | None:
    """Return access to the service's database, if one is named and answers."""
    local.join(local.var_dir())
    if "DATABASE_URL" not in os.environ:
        return None
    factory = sessions(connect(local.database_url(), pool_size=1, application="chai-forecast"))
    try:
        with transaction(factory) as session:
            jobs.ping(session)
    except SQLAlchemyError:
        return None
    return factory


def _checked(
    listed: Manifest, cards: Mapping[str, ModelCard], settings: WorkerSettings
) -> tuple[list[tuple[Line, Job]], list[BadLine]]:
    """Check the lines as the service would; return the jobs that they ask for, and the errors of the others."""
    batch = Batch(id=uuid4(), tenant=LOCAL.tenant)
    items = [line.item for line in listed.lines]
    found = batch_items.sort_out(items, cards, batch, default_model=settings.default_model)
    bad = []
    for index, item in found.bad.items():
        line, reason = listed.lines[index], item.error.message if item.error else ""
        bad.append(BadLine(number=line.number, file=line.file, reason=reason))
    return [(listed.lines[index], job) for index, job in sorted(found.good.items())], bad


def _earlier(
    factory: sessionmaker[Session], listed: Manifest, series: str | None, jobs: Sequence[Job], tenant: str
) -> Earlier:
    """Look up the lines that the service would not make again."""
    with transaction(factory) as session:
        batch = batches.of_manifest(session, tenant, listed.key)
        if batch is not None and batch.status != BatchStatus.OPEN:
            return Earlier(run=batch_id(batch.id), lines=frozenset(line.custom_id for line in listed.lines))
        asked = batch or Batch(id=uuid4(), tenant=tenant, series=series)
        found = reused_lines.of_earlier(session, asked, jobs)
        known = reused_lines.known(session, asked.id, {job.custom_id or "" for job in jobs})
        return Earlier(lines=frozenset({*found, *known}))


def _caller(factory: sessionmaker[Session] | None) -> Caller:
    """Return the caller to whom CHAI_API_KEY belongs; without one, the caller of a service without keys."""
    if factory is None:
        return LOCAL
    with transaction(factory) as session:
        return keys.check(session, os.environ.get("CHAI_API_KEY", "").strip()) or LOCAL


def _own_settings(space: Namespace | None, card: ModelCard) -> SpaceSettings:
    return SpaceSettings.model_validate(space.settings if space else initial_settings(card))


def _measured(session: Session, job: Job) -> Mapping[str, Spread]:
    return metrics.spread(session, model=job.model, width=job.width, height=job.height, num_frames=job.num_frames)


def _num_workers(factory: sessionmaker[Session] | None) -> int:
    if factory is None:
        return 1
    with transaction(factory) as session:
        return max(1, sum(beat.age_s < NO_MORE_JOBS_S for beat in heartbeats.seen(session, "worker")))

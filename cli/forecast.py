"""What a list would cost, before it runs: `chai bulk run --dry-run`.

Entities, look-ups and plans are the service's own, asked in the order of the list: each line of `auto` may use the
stored videos and those that full lines before it will leave. What the model's text encoder would leave out of a prompt,
and what an eviction takes away on the way, is not known here. Nothing is written.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cli import local
from cli.manifest import BadLine, Manifest

if TYPE_CHECKING:
    import numpy as np
    from sqlalchemy.orm import Session, sessionmaker

    from db.metrics import Spread
    from db.models import Job, Namespace
    from shared.model_cards import ModelCard
    from shared.run_windows import RunWindow
    from worker.cache.decisions.planning import Plan
    from worker.cache.decisions.types import Extraction, Neighbour
    from worker.cache.planner import Embedder
    from worker.settings import WorkerSettings

Size = tuple[str, int, int, int, int]  # model, width, height, frames, frames a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """GPU hours and bytes of some lines; None where nothing of their kind was ever measured."""

    low_h: float | None  # every quick run
    likely_h: float | None
    high_h: float | None  # every slow run, and no line finds a donor
    work_h: float | None  # likely, of one worker, reading and writing included
    video_bytes: float | None
    latent_bytes: float | None  # that full lines would add to the cache, before evictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A list, as it would run now."""

    num_lines: int  # that would run
    num_duplicates: int
    bad: tuple[BadLine, ...]
    num_fast: int
    num_full: int
    num_hits_stored: int  # of the fast ones, with a donor that is there
    num_hits_own: int  # with a donor that the list itself makes
    cost: Cost
    num_workers: int
    starts_at: datetime
    likely_end: datetime | None  # with these workers, in the window's open hours alone
    closes_at: datetime | None  # when the window that it would start in closes
    is_cache_known: bool  # the stored videos were asked; else the list was looked at alone

    @property
    def fits(self) -> bool | None:
        """Whether it would likely end before the window closes; None without a window or figures."""
        if self.closes_at is None or self.likely_end is None:
            return None
        return self.likely_end <= self.closes_at


@dataclass(slots=True)
class _Donors:
    """Entities that full lines of the list will have left, searched like the stored ones."""

    vectors: "list[np.ndarray[Any, Any]]" = field(default_factory=list)
    rows: "list[Neighbour]" = field(default_factory=list)

    def add(self, line: int, extraction: "Extraction", vectors: Sequence[Sequence[float]]) -> None:
        import numpy as np

        from worker.cache.decisions.types import Neighbour

        for entity, vector in zip(extraction.entities, vectors, strict=True):
            self.vectors.append(np.asarray(vector, dtype=np.float32))
            self.rows.append(
                Neighbour(
                    query=0,
                    entry_id=f"{OWN}{line}",
                    text=entity.text,
                    head=entity.head,
                    attributes=entity.stored_attributes,
                    kind=entity.kind,
                    similarity=0.0,
                    created=float(line),
                )
            )

    def near(self, vectors: Sequence[Sequence[float]], limit: int) -> "list[Neighbour]":
        import numpy as np

        if not self.rows or not vectors:
            return []
        likeness = np.asarray(vectors, dtype=np.float32) @ np.stack(self.vectors).T  # (queries, stored)
        found = []
        for query, row in enumerate(likeness):
            best = np.argsort(-row, kind="stable")[:limit]
            found += [replace(self.rows[i], query=query, similarity=float(min(1.0, row[i]))) for i in best]
        return found


OWN = "line "  # how donors of the list itself are told from stored ones


def forecast(listed: Manifest, window: "RunWindow | None") -> Forecast:
    """Return what a list would do and cost now; the database is asked when a service is running or named."""
    from shared import model_cards
    from worker.models.embedders import load_embedder
    from worker.settings import WorkerSettings

    factory = _database()
    with local.settings_checked():
        settings = WorkerSettings.model_validate({} if factory else {"database_url": "postgresql://none/none"})
    cards = model_cards.load(settings.models_dir)
    jobs, bad = _jobs(listed, cards, settings)
    groups: dict[Size, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.model, job.width, job.height, job.num_frames, job.fps].append(job)
    embedder = load_embedder(settings.embedder)
    parts = [_of_group(factory, group, cards, embedder, settings) for group in groups.values()]
    return _summed(listed, bad, parts, factory, window)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Lines of one model and size."""

    num_fast: int
    num_full: int
    num_hits_stored: int
    num_hits_own: int
    measured: "Mapping[str, Spread]"  # by path


def _database() -> "sessionmaker[Session] | None":
    """Return the way to the database of the service, if one is named and answers."""
    import os

    from sqlalchemy.exc import SQLAlchemyError

    from db import jobs
    from db.session import connect, sessions, transaction

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


def _jobs(
    listed: Manifest, cards: "Mapping[str, ModelCard]", settings: "WorkerSettings"
) -> "tuple[list[Job], list[BadLine]]":
    """Check the lines as the service would; return the jobs they ask for, and what is wrong with the others."""
    from api import batch_items
    from db.models import Batch

    batch = Batch(id=uuid4(), tenant="local")
    lines = [line.item for line in listed.lines]
    found = batch_items.sort_out(lines, cards, batch, default_model=settings.default_model)
    bad = []
    for index, item in found.bad.items():
        line, reason = listed.lines[index], item.error.message if item.error else ""
        bad.append(BadLine(number=line.number, file=line.file, reason=reason))
    return list(found.good.values()), bad


def _of_group(
    factory: "sessionmaker[Session] | None",
    jobs: "Sequence[Job]",
    cards: "Mapping[str, ModelCard]",
    embedder: "Embedder",
    settings: "WorkerSettings",
) -> _Part:
    """Take the decision of each line in turn, as a worker would."""
    session = factory() if factory else None
    try:
        space = _space(session, jobs[0], embedder.name) if session else None
        plans = list(_plans(session, space, jobs, cards[jobs[0].model], embedder, settings))
        measured = _measured(session, jobs[0]) if session else {}
    finally:
        if session:
            session.close()
    fast = [plan for plan in plans if plan.path == "fast"]
    own = sum(plan.donors[:1] != () and plan.donors[0].startswith(OWN) for plan in fast)
    return _Part(
        num_fast=len(fast),
        num_full=len(plans) - len(fast),
        num_hits_stored=sum(bool(plan.donors) for plan in fast) - own,
        num_hits_own=own,
        measured=measured,
    )


def _plans(
    session: "Session | None",
    space: "Namespace | None",
    jobs: "Sequence[Job]",
    card: "ModelCard",
    embedder: "Embedder",
    settings: "WorkerSettings",
) -> "Iterator[Plan]":
    from shared.generation import GenerationParams, RunPath
    from worker.cache import planner
    from worker.cache.decisions import planning
    from worker.cache.namespaces import SpaceSettings

    own, table, donors = SpaceSettings(), planning.TABLES[card.plans], _Donors()
    if session and space:
        own = SpaceSettings.model_validate(space.settings)
        shipped = settings.models_dir / card.name / planner.PLANS
        table = planner.table_for(session, space, own, shipped, card.plans)
    matching, extract = own.matching(embedder.name), planner.extractor(own.extractor)
    for index, job in enumerate(jobs):
        params = GenerationParams.of(job)
        extraction = extract(params.prompt, negative=params.negative_prompt or "")
        extraction, vectors = planner.embed(embedder, extraction)
        near = donors.near(vectors, matching.neighbours_per_entity)
        if session and space:
            near += planner.neighbours(session, space, own, extraction, vectors)
        plan = planning.decide(params.mode, extraction, near, planner.recipes(params, card, table), matching)
        yield plan
        if plan.path is RunPath.FULL and params.is_canonical(card):
            donors.add(index, extraction, vectors)


def _space(session: "Session", job: "Job", embedder: str) -> "Namespace | None":
    """Return the namespace that holds most of what such a job could use."""
    from db import cache

    wanted = {"model": job.model, "embedder": embedder, "width": job.width, "height": job.height}
    wanted |= {"num_frames": job.num_frames, "fps": job.fps}
    fitting = [
        space
        for space in cache.namespaces(session)
        if all(space.identity.get(name) == value for name, value in wanted.items())
    ]
    return max(fitting, key=lambda space: space.num_entities, default=None)


def _measured(session: "Session", job: "Job") -> "Mapping[str, Spread]":
    from db import metrics

    return metrics.spread(session, model=job.model, width=job.width, height=job.height, num_frames=job.num_frames)


def _summed(
    listed: Manifest,
    bad: Sequence[BadLine],
    parts: Sequence[_Part],
    factory: "sessionmaker[Session] | None",
    window: "RunWindow | None",
) -> Forecast:
    cost, num_workers = _cost(parts), _num_workers(factory)
    now = datetime.now(UTC)
    starts = now if window is None or window.is_open(now) else window.next_change(now)
    work = None if cost.work_h is None else timedelta(hours=cost.work_h / num_workers)
    return Forecast(
        num_lines=sum(part.num_fast + part.num_full for part in parts),
        num_duplicates=len(listed.duplicates),
        bad=(*listed.bad, *bad),
        num_fast=sum(part.num_fast for part in parts),
        num_full=sum(part.num_full for part in parts),
        num_hits_stored=sum(part.num_hits_stored for part in parts),
        num_hits_own=sum(part.num_hits_own for part in parts),
        cost=cost,
        num_workers=num_workers,
        starts_at=starts,
        likely_end=None if work is None else end_of(starts, work, window),
        closes_at=window.next_change(starts) if window else None,
        is_cache_known=factory is not None,
    )


def end_of(starts: datetime, work: timedelta, window: "RunWindow | None") -> datetime:
    """Return when work that begins now, or when the window opens, is done: it goes on in open hours alone."""
    if window is None:
        return starts + work
    while (closes := window.next_change(starts)) - starts < work:
        work -= closes - starts
        starts = window.next_change(closes)
    return starts + work


def _cost(parts: Sequence[_Part]) -> Cost:
    def total(name: str, of: Mapping[str, Sequence[int]]) -> float | None:
        """Sum a figure over the lines of each path; None when a path that occurs was never measured."""
        sum_ = 0.0
        for index, part in enumerate(parts):
            for path, numbers in of.items():
                measured = part.measured.get(path) or part.measured.get("full")  # no fast run takes longer
                value = None if measured is None else getattr(measured, name)
                if numbers[index] and value is None:
                    return None
                sum_ += numbers[index] * (value or 0.0)
        return sum_

    planned = {"fast": [part.num_fast for part in parts], "full": [part.num_full for part in parts]}
    unlucky = {
        "fast": [part.num_fast - part.num_hits_stored - part.num_hits_own for part in parts],
        "full": [part.num_full + part.num_hits_stored + part.num_hits_own for part in parts],
    }
    seconds = [total("low_s", planned), total("mean_s", planned), total("high_s", unlucky), total("wall_s", planned)]
    low, likely, high, work = (None if number is None else number / 3600 for number in seconds)
    return Cost(
        low_h=low,
        likely_h=likely,
        high_h=high,
        work_h=work,
        video_bytes=total("video_bytes", planned),
        latent_bytes=total("latent_bytes", {"full": planned["full"]}),
    )


def _num_workers(factory: "sessionmaker[Session] | None") -> int:
    from db import heartbeats
    from db.session import transaction

    if factory is None:
        return 1
    with transaction(factory) as session:
        return max(1, sum(beat.age_s < WORKER_SILENT_S for beat in heartbeats.seen(session, "worker")))


WORKER_SILENT_S = 15.0


def facts(found: Forecast) -> dict[str, str]:
    """Return a forecast as names and texts for people."""
    cost, zone = found.cost, "%Y-%m-%d %H:%M %Z"
    asked = "the cache and the list itself" if found.is_cache_known else "the list itself; no service is running here"
    told = {
        "lines": f"{found.num_lines} would run, {found.num_duplicates} duplicates, {len(found.bad)} cannot be used",
        "fast": f"{found.num_fast}: {found.num_hits_stored} by stored videos, {found.num_hits_own} by earlier lines",
        "full": f"{found.num_full}",
        "looked up": asked,
        "GPU hours": "no run of this kind was measured yet",
        "videos": _bytes(cost.video_bytes),
        "latents": _bytes(cost.latent_bytes) and f"{_bytes(cost.latent_bytes)}, less what is evicted",
        "starts": f"{found.starts_at.astimezone():{zone}}, {found.num_workers} workers",
    }
    if cost.low_h is not None and cost.likely_h is not None and cost.high_h is not None:
        told["GPU hours"] = f"{cost.low_h:.2g} to {cost.high_h:.2g}, likely {cost.likely_h:.2g}"
    if found.likely_end:
        told["ends"] = f"{found.likely_end.astimezone():{zone}}"
    if found.closes_at and found.fits is not None:
        closes = f"the window closes {found.closes_at.astimezone():{zone}}"
        told["ends"] += f", before {closes}" if found.fits else f"; {closes} and the rest waits for the next one"
    return {name: text for name, text in told.items() if text}


def _bytes(number: float | None) -> str:
    return "" if number is None else f"{number / 2**30:.2f} GiB" if number > 2**28 else f"{number / 2**20:.1f} MiB"


def plain(found: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON values; times in ISO 8601, UTC."""
    times = {name: value.isoformat() for name, value in asdict(found).items() if isinstance(value, datetime)}
    return {**asdict(found), **times, "fits": found.fits}

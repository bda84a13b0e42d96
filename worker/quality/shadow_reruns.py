"""A check: makes the video of a finished job again without its donor (or with it), and judges which is better.

It runs when nothing else waits, makes way for the first job that does, and leaves nothing behind but its row: no file,
no cache entry, no hit, no figures of a job.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import cache, decisions, quality_checks
from db.decisions import Pinned
from db.jobs import Claim
from db.models import Job, Namespace, QualityCheck
from db.session import transaction
from db.states import EntryStatus, JobStatus
from shared.generation import GenerationParams, Mode
from shared.logs import first_line
from worker.cache import trace
from worker.cache.decisions import planning
from worker.cache.decisions.planning import Plan
from worker.cache.namespaces import SpaceSettings
from worker.cache.planner import StoredPlan
from worker.jobs.attempt import parts
from worker.jobs.context import JobContext
from worker.jobs.metrics import Figures
from worker.jobs.outages import DATABASE_AWAY
from worker.jobs.preview import Previews
from worker.jobs.runner import borrow, compress, decode, denoise, encode, load
from worker.models import device_faults
from worker.quality import judges
from worker.quality import monitor as rule
from worker.quality.videos import Video
from worker.runtime import Runtime

logger = logging.getLogger(__name__)


class Lost(Exception):
    """What a check needs is gone."""


class MadeWay(Exception):
    """A job is waiting, and this worker is needed."""


class TakenBack(Exception):
    """The check is no longer this worker's."""


@dataclass(slots=True, kw_only=True)
class CheckLease:
    """In place of a job's lease: asks now and then whether the check may go on."""

    factory: sessionmaker[Session]
    row: QualityCheck
    models: Collection[str]  # of this worker
    every_s: float
    is_expired: bool = False
    _asked_at: float = field(default_factory=time.monotonic)

    def check(self, **progress: Any) -> None:
        """Raise `MadeWay` or `TakenBack` when the check has to stop; progress is ignored."""
        del progress
        if time.monotonic() - self._asked_at < self.every_s:
            return
        with transaction(self.factory) as session:
            standing = quality_checks.standing(session, self.row, models=self.models)
        self._asked_at = time.monotonic()
        if not standing.is_ours:
            raise TakenBack
        if not standing.is_quiet:
            raise MadeWay


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was recorded about the job of a check."""

    job: Job
    served: StoredPlan  # what it ran
    fast: StoredPlan  # with the donors
    full: StoredPlan  # full mode


def check(runtime: Runtime, job_id: UUID) -> None:
    """Run the check of a job if one is waiting. Raises only errors that leave this process unusable."""
    try:
        row = _claim(runtime, job_id)
        if row is not None:
            _run(runtime, row)
    except DATABASE_AWAY as error:
        logger.warning("the check of job %s ends without a word: %s", job_id, first_line(error))


def _claim(runtime: Runtime, job_id: UUID) -> QualityCheck | None:
    with transaction(runtime.factory) as session:
        row = quality_checks.claim(session, job_id, owner=runtime.owner)
        if row is None:
            logger.info("job %s: not queued, message dropped", job_id)
        elif runtime.settings.monitor_share == 0:
            quality_checks.lose(session, row, reason="the monitor was switched off")
            return None
        elif (job := session.get(Job, job_id)) and job.model not in runtime.models():
            quality_checks.put_back(session, row, seconds=0.0)
            return None
        return row


def _run(runtime: Runtime, row: QualityCheck) -> None:
    figures = Figures()
    lease = CheckLease(factory=runtime.factory, row=row, models=runtime.models(), every_s=runtime.settings.progress_s)
    try:
        known = _recorded(runtime, row)
        measured = _measure(runtime, known, lease, figures)
        rule.settle(runtime.factory, runtime.settings, row, known.served.table, measured)
    except MadeWay:
        with transaction(runtime.factory) as session:
            quality_checks.put_back(session, row, seconds=figures.gpu_seconds)
    except TakenBack:
        logger.info("the check of job %s goes on elsewhere", row.job_id)
    except DATABASE_AWAY:
        raise
    except Exception as error:
        logger.warning("the check of job %s is lost: %s", row.job_id, error, exc_info=not isinstance(error, Lost))
        device_faults.forget(error)
        with transaction(runtime.factory) as session:
            quality_checks.lose(session, row, reason=str(error) or type(error).__name__, seconds=figures.gpu_seconds)
        if device_faults.is_broken(error):
            raise


def _recorded(runtime: Runtime, row: QualityCheck) -> Recorded:
    """Read what the check needs; raise `Lost` if any of it is gone."""
    with transaction(runtime.factory) as session:
        job = session.get(Job, row.job_id)
        if job is None or job.status != JobStatus.COMPLETED or job.deleted_at is not None:
            raise Lost("the job was deleted")
        if runtime.loaded not in (None, job.model):
            raise Lost("the worker has another model loaded")
        known = decisions.of_attempt(session, job.id, job.fence)
        if known is None:
            raise Lost("the record of the decision is gone")
        taken = trace.decision(known)
        plan = rule.unmoved(taken) if row.is_refused else taken.plan
        full = planning.decide(Mode.FULL, taken.extraction, taken.neighbours, taken.table, taken.settings)
        space = session.get_one(Namespace, known.namespace_id)
        served = StoredPlan(
            plan=taken.plan,
            table=taken.table,
            extraction=taken.extraction,
            namespace_id=space.id,
            space=space,
            settings=SpaceSettings.model_validate(space.settings),
            vectors=[],
            pinned=(),
            fast_seconds=None,
        )
        pinned = tuple(_donors(session, plan))
        fast = replace(served, plan=plan, pinned=pinned, donors=tuple(entry.id for entry in pinned))
        return Recorded(job=job, served=served, fast=fast, full=replace(served, plan=full))


def _donors(session: Session, plan: Plan) -> list[Pinned]:
    ids = [UUID(id_) for id_ in plan.donors]
    rows = cache.entries(session, ids)
    return [Pinned.of(rows[id_]) for id_ in ids if id_ in rows and rows[id_].status == EntryStatus.RESIDENT]


def _measure(runtime: Runtime, known: Recorded, lease: CheckLease, figures: Figures) -> rule.Measured:
    """Return what a judge says of the two videos; the job's own serves as the one whose plan it ran."""
    fast, full = (_video(runtime, known, plan, lease, figures) for plan in (known.fast, known.full))
    found = judges.judge(judges.judges(runtime.settings), known.job.prompt, fast, full)
    if found is None:
        raise Lost("no judge can read the videos")
    judge, judged = found
    return rule.Measured(judge=judge, judged=judged, seconds=figures.gpu_seconds)


def _video(runtime: Runtime, known: Recorded, plan: StoredPlan, lease: CheckLease, figures: Figures) -> Video:
    if plan.plan.recipe == known.served.plan.recipe:
        return Video(runtime.storage.read(_output(known.job)["name"]))
    return Video(_made(runtime, known.job, plan, lease, figures))


def _output(job: Job) -> dict[str, Any]:
    assert job.output is not None, "completed jobs have one"
    return job.output


def _made(runtime: Runtime, row: Job, plan: StoredPlan, lease: CheckLease, figures: Figures) -> bytes:
    """Return the MP4 that a plan makes of a job's prompt and seed."""
    job = JobContext(
        claim=Claim(job=row, fence=row.fence, attempt=row.attempt, owner=runtime.owner, queue_wait_s=0.0),
        params=GenerationParams.of(row),
        seed=_output(row)["seed"],
        lease=lease,
        figures=figures,
        is_rerun=True,
    )
    with runtime.pipeline.device:
        model = load(job, parts(runtime))
        ready = borrow(job, model, runtime.cache, plan)
        if ready.plan.plan != plan.plan or len(plan.donors) != len(plan.plan.donors):
            raise Lost("the donor is gone")
        encoding = encode(job, model)
        latents, _ = denoise(job, model, ready, encoding, Previews())
        _, film = decode(job, model, latents)
    return compress(job, film)

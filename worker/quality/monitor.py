"""The quality monitor beside the jobs: chooses a share of them to check, and moves thresholds by what checks found."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from db import decisions, quality_checks
from db.jobs import Claim
from db.models import Job, Namespace, PlanRow, QualityCheck
from db.session import transaction
from shared.logs import first_line
from shared.reasons import Reason
from worker.cache import trace
from worker.cache.decisions import planning
from worker.cache.decisions.planning import Case, Plan, Recipe, Table
from worker.cache.decisions.replay import DecisionRow
from worker.cache.latent_cache import CachePlan
from worker.cache.namespaces import plan_key
from worker.jobs.outages import DATABASE_AWAY
from worker.quality.judges import Judge, Judged
from worker.quality.thresholds import SOURCE, Loss, Move, Rule, demanding, is_chosen, relaxed, threshold_of
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

KEPT_MOVES = 20  # the latest, in the row of a plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A judged check, and what it cost."""

    judge: Judge
    judged: Judged
    seconds: float  # of GPU time


def sample(
    factory: sessionmaker[Session],
    settings: WorkerSettings,
    claim: Claim,
    chosen: CachePlan,
    output_name: str,
    *,
    is_canonical: bool,
) -> None:
    """Decide whether to check a finished job, and if so store the check. No error here affects the job.

    Only jobs that the table in `plans` decided, and that ran as the model's card says, tell anything about the table.
    """
    job = claim.job
    is_table_s = is_canonical and job.num_inference_steps is None  # requested steps change the recipe of a hit
    if not is_chosen(job.id, settings.monitor_share) or not is_table_s or not _is_watched(chosen):
        return
    try:
        with transaction(factory) as session:
            plan = chosen.plan if chosen.plan.donors else refused(session, job, claim.fence)
            if not plan.donors:
                return
            quality_checks.sample(
                session,
                job.id,
                output_name=output_name,
                namespace_id=chosen.namespace_id,
                namespace_key=plan_key(session.get_one(Namespace, chosen.namespace_id)),
                kind=plan.case.value,
                similarity=plan.similarity,
                is_refused=not chosen.plan.donors,
            )
    except Exception as error:  # the job has completed, whatever fails here
        is_away = isinstance(error, DATABASE_AWAY)
        logger.warning("job %s is not checked: %s", job.id, first_line(error), exc_info=not is_away)


def _is_watched(chosen: CachePlan) -> bool:
    is_refused = chosen.plan.reason is Reason.HIT_TOO_WEAK and _is_moved(chosen.table)
    return chosen.is_calibrated and (bool(chosen.plan.donors) or is_refused)


def _is_moved(table: Table) -> bool:
    return any(recipe.source == SOURCE for recipes in table.values() for recipe in recipes)


def refused(session: Session, job: Job, fence: int) -> Plan:
    """Return the plan that a job would have run without the monitor."""
    row = decisions.of_attempt(session, job.id, fence)
    assert row is not None, "the decision of a running attempt is recorded"
    return unmoved(trace.decision(row))


def unmoved(known: DecisionRow) -> Plan:
    """Return the plan of a recorded decision without the monitor's thresholds."""
    table = {case: relaxed(recipes) for case, recipes in known.table.items()}
    return planning.decide(
        known.mode, known.extraction, known.neighbours, table, known.settings, overlent=known.overlent
    )


def settle(
    factory: sessionmaker[Session], settings: WorkerSettings, check: QualityCheck, table: Table, found: Measured
) -> Move | None:
    """Store what a check found and, if there is enough evidence, the new threshold of its case, in one transaction.

    `table` holds the recipes that decided its job; they are in force while no plan is stored for the case.
    """
    with transaction(factory) as session:
        row = quality_checks.lock(session, check.namespace_key, check.kind)
        if not quality_checks.finish(session, check, seconds=found.seconds, **asdict(found.judged)):
            return None
        moved = _judge(session, settings, check, row, table, found.judge)
    if moved is not None:
        logger.warning("monitor: threshold of %s hits of plan %s: %s", check.kind, check.namespace_key[:12], moved)
    return moved


def _judge(
    session: Session, settings: WorkerSettings, check: QualityCheck, row: PlanRow | None, table: Table, judge: Judge
) -> Move | None:
    tolerance = tolerance_of(judge, settings)
    now, before = recipes_of(row, table, check.kind)
    threshold, floor = threshold_of(now), threshold_of(before)
    if tolerance is None or threshold is None or floor is None:
        return None
    since = None if row is None else row.created_at
    pairs = quality_checks.losses(session, check.namespace_key, check.kind, judge=judge.name, since=since)
    losses = [Loss(similarity=similarity, loss=loss) for similarity, loss in pairs]
    rule = Rule(tolerance=tolerance, min_checks=settings.monitor_min_checks)
    moved = rule.move(threshold, floor, losses)
    if moved is not None:
        _write(session, check, row, before, moved, judge.name)
    return moved


def tolerance_of(judge: Judge, settings: WorkerSettings) -> float | None:
    """Return the mean loss that donors may cost according to a judge.

    The setting is in the units of one judge: the command if there is one, else CLIP, else whichever read the videos.
    Other judges keep their own tolerance.
    """
    meant = "command" if settings.monitor_judge else "clip" if settings.monitor_clip else judge.name
    return judge.tolerance if settings.monitor_tolerance is None or judge.name != meant else settings.monitor_tolerance


def recipes_of(row: PlanRow | None, table: Table, kind: str) -> tuple[Sequence[Recipe], Sequence[Recipe]]:
    """Return the recipes of a case that are in force, and those from before the monitor first moved its threshold."""
    if row is None:
        found = table[Case(kind)]
        return found, found
    stored: dict[str, list[dict[str, Any]]] = row.plan
    now, before = stored["recipes"], stored.get("before", stored["recipes"])
    return [Recipe.from_dict(recipe) for recipe in now], [Recipe.from_dict(recipe) for recipe in before]


def _write(
    session: Session, check: QualityCheck, row: PlanRow | None, before: Sequence[Recipe], moved: Move, judge: str
) -> None:
    quality: dict[str, Any] = {} if row is None else row.quality
    moves: list[Any] = quality.get("monitor", [])
    note = {"at": quality_checks.now(session).isoformat(), "judge": judge, **asdict(moved)}
    quality_checks.set_plan(
        session,
        check.namespace_key,
        check.kind,
        plan={
            "recipes": [recipe.to_dict() for recipe in demanding(before, moved.new)],
            "before": [recipe.to_dict() for recipe in before],
        },
        quality={**quality, "monitor": [*moves, note][-KEPT_MOVES:]},
    )

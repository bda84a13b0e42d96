"""The recipes in force for a job: its namespace's, calibrated or shipped with its model, fitted to its steps."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import metrics
from db.models import Namespace
from shared.generation import GenerationParams, RunPath
from shared.model_cards import MEASURED_PLANS, ModelCard
from worker.cache.decisions import planning
from worker.cache.decisions.planning import Case, Table
from worker.cache.namespaces import SpaceSettings, plan_key
from worker.reuse import registry as ways
from worker.settings import WorkerSettings

_OF_ITS_STEPS = ("levels", "guidance_scales")  # options of a schedule with one value per step

logger = logging.getLogger(__name__)


def recipes(params: GenerationParams, card: ModelCard, table: Table) -> Table:
    """Return the table for this model's number of steps, or that of the job."""
    full = params.num_inference_steps or card.full_steps

    def fitted(recipe: planning.Recipe) -> planning.Recipe:
        if recipe.source == "nirvana":
            return _scaled(recipe, full)
        is_for_any_model = recipe.source in planning.NOT_OF_A_MODEL
        if is_for_any_model and card.family != "opensora":  # the unguided first step is for the paper's model
            recipe = replace(recipe, schedule={})
        if params.num_inference_steps or is_for_any_model:
            steps = full if recipe.path is RunPath.FULL else (params.num_inference_steps or card.fast_steps)
            schedule = {name: value for name, value in recipe.schedule.items() if name not in _OF_ITS_STEPS}
            recipe = replace(recipe, num_steps=steps + recipe.num_skipped_steps, schedule=schedule)
        return recipe

    # With few steps a share of them may be none: such a donor would be read for nothing. Who names a seed asks for the
    # layout of that seed, and no donor's; and a donor keeps the latent where the plan's own steps enter, no other.
    return {
        Case(case): tuple(one for one in map(fitted, found) if _does_something(one))
        for case, found in table.items()
        if case is not Case.LAYOUT or (params.seed is None and params.num_inference_steps is None)
    }


def _does_something(recipe: planning.Recipe) -> bool:
    return recipe.reuse != "resume" or recipe.reuse_options.get("skipped_steps") != 0


def _scaled(recipe: planning.Recipe, num_steps: int) -> planning.Recipe:
    """Return a recipe that skips the same share of a different number of steps."""
    skipped = round(recipe.reuse_options["skipped_steps"] * num_steps / recipe.num_steps)
    return replace(recipe, num_steps=num_steps, reuse_options={**recipe.reuse_options, "skipped_steps": skipped})


def of_job(
    session: Session | None,
    space: Namespace | None,
    own: SpaceSettings,
    settings: WorkerSettings,
    card: ModelCard,
    params: GenerationParams,
) -> Table:
    """Return the recipes by which a job would run now; those of its card if it has no namespace yet."""
    if session is None or space is None:
        return recipes(params, card, planning.named(card.plans))
    return recipes(params, card, table_for(session, space, own, shipped_plans(settings, card), card.plans))


def shipped_plans(settings: WorkerSettings, card: ModelCard) -> Path:
    """Return the path of the plans that ship with a model, whether it exists or not."""
    return settings.models_dir / card.name / MEASURED_PLANS


def table_for(session: Session, space: Namespace, own: SpaceSettings, file: Path, plans: str = "paper") -> Table:
    """Return the recipes in force, like `table_of`, with those now in the database."""
    stored = metrics.plans(session, plan_key(space)) if own.table == "calibrated" else {}
    return table_of(stored, space, own, file, plans)


def table_of(
    stored: Mapping[str, Any], space: Namespace, own: SpaceSettings, file: Path, plans: str = "paper"
) -> Table:
    """Return the recipes in force: those that the namespace names, else, per case, the stored ones or the card's.

    `file` has those called `measured`. Raises ValueError if the card names no plans.
    """
    is_calibrated = own.table == "calibrated"
    name = plans if is_calibrated else own.table
    measured = _shipped(file, plan_key(space)) if name == planning.MEASURED else {}
    return planning.table_from_rows({**measured, **(stored if is_calibrated else {})}, default=planning.named(name))


@once
def _shipped(file: Path, key: str) -> Mapping[str, Any]:
    """Return the recipes that ship with a model if they were measured for this key: weights, size, embedder.

    An unusable file is logged once, and no job fails because of it.
    """
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found: Mapping[str, Any] = content["recipes"]
        measured_for = content["key"]
        planning.table_from_rows(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it is no table of plans ({type(error).__name__}: {error})"
    else:
        if measured_for == key:
            return found
        reason = "it was measured for other weights, another size or another embedder"
    logger.warning(
        "%s is not used: %s; `chai calibrate --model %s --write FILE` makes another", file, reason, file.parent.name
    )
    return {}


def kept(settings: SpaceSettings, table: Table) -> tuple[str, ...]:
    """Return the latents to store beside a full run's clean one: those that the namespace names, or its recipes read.

    A recipe with an unknown way of reuse needs nothing: its plan runs without a donor.
    """
    if settings.keep is not None:
        return settings.keep
    recipes = [recipe for found in table.values() for recipe in found]
    reads = {(recipe.reuse, json.dumps(recipe.reuse_options, sort_keys=True)) for recipe in recipes if recipe.reuse}
    return tuple(sorted(frozenset().union(*(_reads(*way) for way in reads))))


@once
def _reads(way: str, options: str) -> frozenset[str]:
    given = json.loads(options)
    try:
        ways.check(way, given)
        return ways.requires(way, given)
    except ValueError:
        return frozenset()

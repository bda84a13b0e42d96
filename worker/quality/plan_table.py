"""The table of plans that follows from measurements, and the evidence for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from db.models import PlanRow
from shared.generation import RunPath
from worker.cache.decisions.planning import Case
from worker.quality.candidates import KINDS
from worker.quality.evidence import Bound, Choice, Measured, Verdict, mean_of, most_likely

HIT_CASES = (*KINDS, Case.LAYOUT)  # that may get a donor


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A recipe for each case that was measured, and why."""

    choices: Mapping[Case, Choice]
    num_prompts: int
    seed: int
    bound: Bound
    missing: tuple[str, ...] = ()  # sentences on what evidence the table, or a donor in it, lacks

    @property
    def is_enough(self) -> bool:
        """Whether the table may be stored: some judge decided, on enough prompts."""
        return bool(self.choices)

    def recipes(self) -> dict[str, list[dict[str, Any]]]:
        """The table as the service reads it: case → recipes."""
        return {case.value: [choice.chosen.recipe.to_dict()] for case, choice in self.choices.items()}

    def rows(self, namespace_key: str) -> list[PlanRow]:
        """The rows of the table `plans`."""
        return [
            PlanRow(
                namespace_key=namespace_key,
                kind=case.value,
                plan={"recipes": [choice.chosen.recipe.to_dict()]},
                quality=quality(choice, self.bound) | {"prompts": self.num_prompts, "seed": self.seed},
                cost={"evaluations": choice.chosen.evaluations, "seconds": choice.chosen.seconds},
            )
            for case, choice in self.choices.items()
        ]


def decide(
    hits: Mapping[Case, Choice], without_hit: Choice, plain: Sequence[Measured], *, fast_steps: int
) -> dict[Case, Choice]:
    """Return the table: what answers each kind of hit, a miss, and a fast run that was asked for."""
    # Without a donor, a hit is a prompt like any other, and all prompts say more than the few of one kind.
    earned = {case: choice for case, choice in hits.items() if choice.verdict is Verdict.REUSE}
    found = {case: earned.get(case, without_hit) for case in KINDS}
    found |= {case: choice for case, choice in earned.items() if case is Case.LAYOUT}  # else its kind decides
    choices = with_misses(found, without_hit)
    choices[Case.PLAIN_FAST] = on_request(without_hit, plain, most=fast_steps)
    return choices


def with_misses(hits: Mapping[Case, Choice], without_hit: Choice) -> dict[Case, Choice]:
    """Add the cases without a known donor.

    If some hit takes a donor, a miss counts as a full run, though by the cheaper schedule: it lends its latents.
    """
    is_reusing = any(choice.verdict is Verdict.REUSE for choice in hits.values())
    lending = replace(without_hit.chosen, recipe=replace(without_hit.chosen.recipe, path=RunPath.FULL))
    on_a_miss = replace(without_hit, chosen=lending) if is_reusing else without_hit
    return {Case.NONE: on_a_miss, Case.PLAIN_FAST: without_hit, Case.PROMPT: without_hit, **hits}


def on_request(without_hit: Choice, schedules: Sequence[Measured], *, most: int) -> Choice:
    """What answers `mode=fast` without a hit: instead of full mode, the best schedule of at most `most` steps."""
    if without_hit.verdict is not Verdict.FULL:
        return without_hit
    fast = [one for one in schedules if one.recipe.num_evaluated_steps <= most] or list(schedules)
    if not fast:  # full mode is all there is
        fast = [replace(without_hit.full, recipe=replace(without_hit.full.recipe, path=RunPath.FAST))]
    return replace(without_hit, chosen=min(fast, key=_lost), verdict=Verdict.FAST)


def quality(choice: Choice, bound: Bound) -> dict[str, Any]:
    """What was measured against full mode, as plain values."""
    return {
        "verdict": choice.verdict.value,
        "plan": choice.chosen.name,
        "clips": choice.chosen.count,
        "losses": {judge: _figures(losses, judge, bound) for judge, losses in choice.chosen.losses.items()},
    }


def _figures(losses: Sequence[float], judge: str, bound: Bound) -> dict[str, Any]:
    loss = mean_of(losses)
    found: dict[str, Any] = {"mean": loss.mean, "error": loss.error if loss.count > 1 else None}
    if judge in bound.deciding:
        bad = bound.num_bad(losses, bound.deciding[judge])
        found |= {"bad": bad, "most_bad": most_likely(bad, len(losses), confidence=bound.confidence)}
    return found


def write(found: Calibration, file: Path, *, namespace_key: str) -> None:
    """Write the table beside a model's card; it serves namespaces with that key that have no plans of their own."""
    content = {
        "key": namespace_key,
        "recipes": found.recipes(),
        "quality": {case.value: quality(choice, found.bound) for case, choice in found.choices.items()},
        "prompts": found.num_prompts,
        "seed": found.seed,
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


def _lost(one: Measured) -> float:
    return sum(fmean(losses) for losses in one.losses.values())

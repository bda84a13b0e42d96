"""`chai calibrate`: measure candidate recipes for each kind of hit and keep the cheapest that loses nothing."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from db.cache import fingerprint
from db.models import PlanRow
from lab.calibration.choose import Choice, Measured, Tolerance, Verdict, choose
from lab.experiments.evaluate import Report
from lab.experiments.experiment import Experiment, Model, Outcome, prepare
from lab.experiments.scores import difference
from lab.experiments.variants import FULL, QUADRATIC, WAYS, Variant, plain, plain_controls
from shared.generation import RunPath
from shared.model_cards import load
from worker.cache.decisions.planning import Case
from worker.cache.decisions.types import HitKind
from worker.cache.namespaces import identity
from worker.models.embedders import load_embedder
from worker.models.fingerprint import identify

CASES = {Case.SCENE: HitKind.SCENE, Case.OBJECT: HitKind.OBJECT, Case.BOTH: HitKind.BOTH}
MOST_STEPS = 15  # of a plain schedule
REUSE_STEPS = (3, 4, 5)  # of a schedule with a donor, quadratic spacing; those that resume run one fewer
TRIED_WAYS = ("CA", "resume from 1")  # of those that the service has; what else was tried gained nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A recipe for each case that was measured, and why."""

    choices: Mapping[Case, Choice]
    num_prompts: int
    seed: int
    tolerance: Tolerance

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
                quality=quality(choice) | {"prompts": self.num_prompts, "seed": self.seed},
                cost={"evaluations": choice.chosen.evaluations, "seconds": choice.chosen.seconds},
            )
            for case, choice in self.choices.items()
        ]


def quality(choice: Choice) -> dict[str, Any]:
    """What was measured, against full mode, in plain values."""
    accuracy = difference(choice.chosen.accuracies, choice.full.accuracies)
    distance = difference(choice.chosen.distances, choice.full.distances)
    return {
        "verdict": choice.verdict.value,
        "plan": choice.chosen.name,
        "clips": accuracy.count,
        "accuracy": sum(choice.chosen.accuracies) / accuracy.count,
        "full_accuracy": sum(choice.full.accuracies) / accuracy.count,
        "accuracy_change": {"mean": accuracy.mean, "error": accuracy.error},
        "distance_change": {"mean": distance.mean, "error": distance.error},
    }


def candidates() -> tuple[list[Variant], list[Variant]]:
    """Plain schedules, and the ways of reuse that the search left over (docs/lab-notes.md), at few steps."""
    schedules = [one for one in plain_controls() if one.recipe.num_steps <= MOST_STEPS]
    bases = [plain(n, **QUADRATIC) for n in REUSE_STEPS]
    return schedules, [WAYS[label].on(base) for base in bases for label in TRIED_WAYS]


def calibrate(
    model: Model, *, num_prompts: int, seed: int, tolerance: Tolerance, progress: Report | None = None
) -> Calibration:
    """Measure every candidate on fresh prompts of the model and choose for each case.

    First the schedules, against full mode. The best of them then makes the donors, because with calibrated plans it is
    what answers a miss; so reuse is measured with the donors that it will have.
    """
    tell, (schedules, reusing) = progress or (lambda done, text: None), candidates()
    experiment = prepare(
        model,
        load_embedder(),
        num_stored=num_prompts,
        num_prompts=num_prompts,
        seed=seed,
        progress=lambda count: tell(0, "full runs"),
    )
    outcomes: dict[str, list[Outcome]] = {FULL.name: experiment.full_outcomes()}
    for i, variant in enumerate(schedules):
        tell(i * num_prompts, f"schedule {i + 1} of {len(schedules)}: {variant.name}")
        outcomes[variant.name] = experiment.run(variant)
    without_hit = choose(everywhere(FULL, outcomes), [everywhere(one, outcomes) for one in schedules], [], tolerance)
    experiment.restock(without_hit.chosen.recipe)
    for i, variant in enumerate(reusing):
        tell((len(schedules) + i) * num_prompts, f"reuse {i + 1} of {len(reusing)}: {variant.name}")
        outcomes[variant.name] = experiment.run(variant)
    choices = decide_cases(experiment, outcomes, schedules, reusing, without_hit, tolerance)
    plain_ones = [everywhere(one, outcomes) for one in schedules]
    choices[Case.PLAIN_FAST] = on_request(without_hit, plain_ones, most=model.fast_steps)
    return Calibration(choices=choices, num_prompts=num_prompts, seed=seed, tolerance=tolerance)


def num_clips(num_prompts: int) -> int:
    """How many clips `calibrate` counts its progress in."""
    schedules, reusing = candidates()
    return (len(schedules) + len(reusing)) * num_prompts


def decide_cases(
    experiment: Experiment,
    outcomes: Mapping[str, Sequence[Outcome]],
    schedules: Sequence[Variant],
    reusing: Sequence[Variant],
    without_hit: Choice,
    tolerance: Tolerance,
) -> dict[Case, Choice]:
    """Choose for each kind of hit from the prompts that had it; what has too few of them gets no donor."""
    choices = {}
    for case, kind in CASES.items():
        numbers = {question.number for question in experiment.questions if question.case is kind}
        if len(numbers) < tolerance.min_prompts:
            choices[case] = without_hit
            continue
        choice = choose(
            measured(FULL, outcomes[FULL.name], numbers),
            [measured(one, outcomes[one.name], numbers) for one in schedules],
            [measured(one, outcomes[one.name], numbers) for one in reusing],
            tolerance,
        )
        # Without a donor a hit is a prompt like any other, and all prompts together say more than these few.
        choices[case] = choice if choice.verdict is Verdict.REUSE else without_hit
    return with_misses(choices, without_hit)


def with_misses(hits: Mapping[Case, Choice], without_hit: Choice) -> dict[Case, Choice]:
    """Add the cases without a known donor.

    Where some hit wants a donor, a miss runs as full mode does, only by the cheaper schedule: it lends its latents.
    """
    is_reusing = any(choice.verdict is Verdict.REUSE for choice in hits.values())
    lending = replace(without_hit.chosen, recipe=replace(without_hit.chosen.recipe, path=RunPath.FULL))
    on_a_miss = replace(without_hit, chosen=lending) if is_reusing else without_hit
    return {Case.NONE: on_a_miss, Case.PLAIN_FAST: without_hit, Case.PROMPT: without_hit, **hits}


def on_request(without_hit: Choice, schedules: Sequence[Measured], *, most: float) -> Choice:
    """What answers `mode=fast` without a hit: never full mode, but then the best schedule of at most so many steps."""
    if without_hit.verdict is not Verdict.FULL:
        return without_hit
    fast = [one for one in schedules if one.evaluations <= most]
    return replace(without_hit, chosen=max(fast, key=lambda one: sum(one.accuracies)), verdict=Verdict.FAST)


def everywhere(variant: Variant, outcomes: Mapping[str, Sequence[Outcome]]) -> Measured:
    """A variant on all its prompts."""
    found = outcomes[variant.name]
    return measured(variant, found, {outcome.question for outcome in found})


def measured(variant: Variant, outcomes: Sequence[Outcome], numbers: Collection[int]) -> Measured:
    """A variant on the prompts of these numbers, in their order."""
    inside = sorted((one for one in outcomes if one.question in numbers), key=lambda one: one.question)
    return Measured(
        name=variant.name,
        recipe=variant.recipe,
        evaluations=sum(one.evaluations for one in inside) / len(inside),
        seconds=sum(one.seconds for one in inside) / len(inside),
        accuracies=tuple(one.accuracy for one in inside),
        distances=tuple(one.prompt_distance for one in inside),
    )


def write(found: Calibration, file: Path, *, namespace_key: str) -> None:
    """Write the table beside a model's card; it serves namespaces of that key which have no plans of their own."""
    content = {
        "key": namespace_key,
        "recipes": found.recipes(),
        "quality": {case.value: quality(choice) for case, choice in found.choices.items()},
        "prompts": found.num_prompts,
        "seed": found.seed,
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


def namespace_key(model: Model, folder: Path) -> str:
    """What the service keeps plans of this model's default size under."""
    card = load(folder.parent)[folder.name]
    width, height = map(int, card.default_size.split("x"))
    size = {"width": width, "height": height, "num_frames": card.default_frames, "fps": card.fps}
    return fingerprint(identity(card, identify(model.pipeline), load_embedder().name, **size))

"""The results of an evaluation for people (table, plot, contact sheet) and for programs (one JSON value)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.experiments.experiment import Experiment, Outcome, Question
from lab.experiments.scores import MIN_FOR_FD, Difference, Figures, compare, features, figures, leakage
from lab.experiments.variants import FULL, Variant
from lab.toy_world.world import Clip
from worker.quality.contact_sheet import sheet

ALL = "all"
COLUMNS = ("plan", "n", "evals", "accuracy", "cond", "FD", "d30", "CPU s", "vs plain", "accuracy ±", "cond ±", "leak ±")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One variant in one group of questions."""

    group: str  # all, or what the look-up shared
    name: str
    is_plain: bool
    figures: Figures
    baseline: str  # the best plain plan of equal cost or less
    accuracy: Difference  # against the baseline, as the two below
    prompt_distance: Difference
    leakage: Difference | None  # None without a donor
    to_full: Difference  # accuracy against full mode

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        own = self.figures
        return (
            self.name,
            str(own.count),
            f"{own.evaluations:.1f}",
            f"{own.accuracy:.3f}",
            f"{own.prompt_distance:.3f}",
            "" if own.frechet is None else f"{own.frechet:.2f}",
            f"{own.distance_to_full:.3f}",
            f"{own.seconds:.2f}",
            self.baseline,
            str(self.accuracy),
            str(self.prompt_distance),
            "" if self.leakage is None else str(self.leakage),
        )


Results = Mapping[str, tuple[Variant, Sequence[Outcome]]]  # by name of the variant


def rows(experiment: Experiment, results: Results) -> list[Row]:
    """Every variant over all its questions, and again for each kind of sharing."""
    real = features(_drawn(experiment)) if len(experiment.questions) >= MIN_FOR_FD else None
    found = []
    groups: dict[str, set[int]] = {ALL: {question.number for question in experiment.questions}}
    groups |= {case.value: {question.number for question in asked} for case, asked in experiment.cases().items()}
    for group, numbers in groups.items():
        inside = {
            name: (variant, [outcome for outcome in outcomes if outcome.question in numbers])
            for name, (variant, outcomes) in results.items()
        }
        found += [
            _row(experiment, group, inside, variant, outcomes, real)
            for variant, outcomes in inside.values()
            if outcomes and not (group == ALL and variant.recipe.reuse)
        ]
    return found


def best_plain(results: Results, evaluations: float) -> str:
    """The most accurate plain plan among those that cost no more; in a tie, the one nearer its prompts."""
    plain = {
        name: figures(outcomes)
        for name, (variant, outcomes) in results.items()
        if variant.is_plain and variant is not FULL and outcomes
    }
    within = {name: own for name, own in plain.items() if own.evaluations <= evaluations + 1e-6} or {
        name: own for name, own in plain.items() if own.evaluations == min(own.evaluations for own in plain.values())
    }
    return max(within, key=lambda name: (within[name].accuracy, -within[name].prompt_distance))


def _row(
    experiment: Experiment, group: str, results: Results, variant: Variant, outcomes: Sequence[Outcome], real: Any
) -> Row:
    own = figures(outcomes, real)
    baseline = best_plain(results, own.evaluations)
    theirs = {outcome.question: outcome for outcome in results[baseline][1]}
    full = {outcome.question: outcome for outcome in results[FULL.name][1]}
    asked = {question.number: question.caption.spec for question in experiment.questions}
    lent = {
        question.number: experiment.stored[question.donor].caption.spec
        for question in experiment.questions
        if question.donor is not None
    }
    return Row(
        group=group,
        name=variant.name,
        is_plain=variant.is_plain,
        figures=own,
        baseline=baseline,
        accuracy=compare(outcomes, theirs),
        prompt_distance=compare(outcomes, theirs, "prompt_distance"),
        leakage=leakage(outcomes, theirs, asked, lent) if variant.recipe.reuse else None,
        to_full=compare(outcomes, full),
    )


def as_json(found: Sequence[Row], **facts: Any) -> dict[str, Any]:
    """All results in plain values; `facts` say how they were measured."""
    return {**facts, "rows": [asdict(row) for row in found]}


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points (cost, quality) that no other beats: the Pareto front, by rising cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    kept: list[int] = []
    for i in order:
        if not kept or points[i][1] > points[kept[-1]][1]:
            kept.append(i)
    return kept


def plot(found: Sequence[Row], file: Path) -> None:
    """Draw accuracy against evaluations, one picture for each group, with the Pareto front. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = list(dict.fromkeys(row.group for row in found))
    figure, axes = pyplot.subplots(1, len(groups), figsize=(4 * len(groups), 3.6), sharey=True, squeeze=False)
    for axis, group in zip(axes[0], groups, strict=True):
        _draw_group(axis, [row for row in found if row.group == group], group)
    axes[0][0].set_ylabel("attribute accuracy")
    handles, labels = axes[0][-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _draw_group(axis: Any, found: Sequence[Row], group: str) -> None:
    points = [(row.figures.evaluations, row.figures.accuracy) for row in found]
    for label, colour, marker, wanted in (
        ("plain", "#4477aa", "o", lambda row: row.is_plain),
        ("reuse, found donor", "#228833", "D", lambda row: not row.is_plain and "donor)" not in row.name),
        ("reuse, random or noise donor", "#bbbbbb", "x", lambda row: "donor)" in row.name),
    ):
        chosen = [point for point, row in zip(points, found, strict=True) if wanted(row)]
        axis.scatter(*zip(*chosen, strict=True) if chosen else ([], []), s=18, c=colour, marker=marker, label=label)
    edge = [points[i] for i in front(points)]
    axis.plot(*zip(*edge, strict=True), c="#ee6677", lw=1, label="Pareto front")
    axis.set(title=f"{group} (n = {max(row.figures.count for row in found)})", xlabel="model evaluations", xscale="log")
    axis.set_xticks([2, 3, 4, 6, 8, 15, 30], ["2", "3", "4", "6", "8", "15", "30"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)


def contact_sheet(
    experiment: Experiment, columns: Mapping[str, Mapping[int, Outcome]], asked: Sequence[Question], file: Path
) -> None:
    """Draw first, middle and last frames of clips: a row per question, with full mode, `columns` and the donor."""
    lines = []
    for question in asked:
        clips = [experiment.full[question.number, question.seed].clip]
        clips += [outcomes[question.number].clip for outcomes in columns.values()]
        if question.donor is not None:
            clips.append(experiment.stored[question.donor].clip)
        lines.append((f"{question.case}: {question.caption.text}", clips))
    names = ["full", *columns, "donor"]
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet(names, lines).save(file, optimize=True)


def _drawn(experiment: Experiment) -> list[Clip]:
    """Clips of the world that fit the prompts, four for each: the reference of the Fréchet distance."""
    rng = np.random.default_rng(0)
    specs = [question.caption.spec for question in experiment.questions]
    return [experiment.model.world.render(spec, rng) for spec in specs for _ in range(4)]

"""The report of a study of reuse: tables with errors clustered by donor, and a page of clips."""

import html
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from lab.experiments.reuse_study import FULL, Made, Study, StudyPlan, read
from lab.experiments.study_prompts import LAYOUT
from worker.quality.contact_sheet import sheet

ALL = "all"
MIXES = (0.08, 0.26, 0.5)  # of layout hits in a stream: as in a trace of people's prompts, as drawn, and half


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A mean of paired differences and its standard error over donors."""

    mean: float
    error: float
    pairs: int

    @property
    def is_sure(self) -> bool:
        """Whether it is at least three standard errors."""
        return abs(self.mean) >= 3 * self.error > 0

    def __str__(self) -> str:
        text = f"{self.mean:+.3f} ± {self.error:.3f}"
        return f"**{text}**" if self.is_sure else text


def gap(
    ours: Sequence[Made], theirs: Sequence[Made], figure: str, weigh: Callable[[Made], float] = lambda one: 1.0
) -> Gap | None:
    """Return ours less theirs on the pairs that both made; None if there are fewer than two donors.

    Pairs of one donor are not independent: their sum is one observation. `weigh` gives the weight of a pair.
    """
    other = {one.pair: one.figures[figure] for one in theirs if figure in one.figures}
    known = [(one.donor, weigh(one), one.figures[figure] - other[one.pair]) for one in ours if one.pair in other]
    if len({donor for donor, *_ in known}) < 2:
        return None
    whole, sums = sum(weight for _, weight, _ in known), defaultdict[int, float](float)
    mean = sum(weight * value for _, weight, value in known) / whole
    for donor, weight, value in known:
        sums[donor] += weight * (value - mean)
    clusters = len(sums)
    error = (sum(total**2 for total in sums.values()) * clusters / (clusters - 1)) ** 0.5 / whole
    return Gap(mean=mean, error=error, pairs=len(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A plan on the pairs of one kind."""

    plan: str
    pairs: int
    evaluations: float
    seconds: float
    figures: Mapping[str, float]
    rival: str  # the best plain plan that costs no more, by the first figure
    over_rival: Mapping[str, Gap]
    over_noise: Mapping[str, Gap]  # the same plan with the donor's noise alone
    over_unrelated: Mapping[str, Gap]


def lines(made: Sequence[Made], plans: Sequence[StudyPlan], kind: str) -> list[Line]:
    """Return every plan on the pairs of a kind: the way they were drawn, `layout`, or `all`."""
    chosen = [one for one in made if kind in (ALL, one.kind) or (kind == LAYOUT and one.is_layout)]
    by_plan = defaultdict[str, list[Made]](list)
    for one in chosen:
        by_plan[one.plan].append(one)
    plain = [plan.name for plan in plans if plan.is_plain and plan.name in by_plan]
    names = [FULL, *(plan.name for plan in plans)]
    return [_line(name, by_plan, plain) for name in names if name in by_plan]


def _line(name: str, by_plan: Mapping[str, list[Made]], plain: Sequence[str]) -> Line:
    own = by_plan[name]
    cost = fmean(one.evaluations for one in own)
    figures = {key: fmean(one.figures[key] for one in own if key in one.figures) for key in _keys(own)}
    rivals = {other: by_plan[other] for other in plain if fmean(m.evaluations for m in by_plan[other]) <= cost + 1e-6}
    rivals.pop(name, None)
    first = next(iter(figures), "")
    rival = max(rivals, key=lambda other: fmean(one.figures.get(first, 0.0) for one in rivals[other]), default="")
    return Line(
        plan=name,
        pairs=len(own),
        evaluations=cost,
        seconds=fmean(one.seconds for one in own),
        figures=figures,
        rival=rival,
        over_rival=_gaps(own, rivals.get(rival, []), figures),
        over_noise=_gaps(own, by_plan.get(f"{name}, noise alone", []), figures),
        over_unrelated=_gaps(own, by_plan.get(f"{name}, unrelated donor", []), figures),
    )


def _keys(own: Iterable[Made]) -> list[str]:
    return list(dict.fromkeys(key for one in own for key in one.figures))


def _gaps(ours: Sequence[Made], theirs: Sequence[Made], keys: Iterable[str]) -> dict[str, Gap]:
    found = {key: gap(ours, theirs, key) for key in keys}
    return {key: one for key, one in found.items() if one is not None}


def tables(made: Sequence[Made], plans: Sequence[StudyPlan]) -> str:
    """Return Markdown: for each kind of pair, every plan with its controls."""
    kinds = [ALL, LAYOUT, *dict.fromkeys(one.kind for one in made)]
    parts = []
    for kind in kinds:
        found = lines(made, plans, kind)
        if found:
            parts.append(f"### {kind}\n\n{_table(found)}")
    if streams := mixed(made, plans):
        head = ("layout hits", "plan", "evals", "less full mode", "for layout hits", "evals", "less full mode", "fewer")
        parts.append(f"### a stream of mixed prompts\n\n{_rows(head, streams)}")
    return "\n\n".join(parts) + "\n"


def mixed(made: Sequence[Made], plans: Sequence[StudyPlan], shares: Sequence[float] = MIXES) -> list[list[str]]:
    """Return, for each share of layout hits, every plain plan, alone and with those hits entering their donor's run.

    Figures are the first one less full mode's. The cost of making the donors is not counted.
    """
    by_plan = defaultdict[str, dict[int, Made]](dict)
    for one in made:
        by_plan[one.plan][one.pair] = one
    full = [*by_plan[FULL].values()]
    hits = sum(one.is_layout for one in full)
    if not 0 < hits < len(full):
        return []
    entering = [plan.name for plan in plans if plan.donor == "found" and plan.reuse == "own_trajectory"]
    rows = []
    for share in shares:
        weigh = partial(_weight, hit=share / hits, other=(1 - share) / (len(full) - hits))
        for plain in (plan.name for plan in plans if plan.is_plain):
            alone = [*by_plan[plain].values()]
            for name in entering:
                both = [by_plan[name].get(one.pair, one) if one.is_layout else one for one in alone]
                costs = [sum(weigh(one) * one.evaluations for one in stream) for stream in (alone, both)]
                if costs[1] < costs[0]:
                    told = [_less_full(stream, full, weigh) for stream in (alone, both)]
                    fewer = f"{1 - costs[1] / costs[0]:.0%}"
                    ends = [plain, f"{costs[0]:.2f}", told[0], name, f"{costs[1]:.2f}", told[1], fewer]
                    rows.append([f"{share:.2f}", *ends])
    return rows


def _weight(one: Made, *, hit: float, other: float) -> float:
    return hit if one.is_layout else other


def _less_full(stream: Sequence[Made], full: Sequence[Made], weigh: Callable[[Made], float]) -> str:
    return str(gap(stream, full, next(iter(full[0].figures)), weigh) or "")


def _table(found: Sequence[Line]) -> str:
    keys = list(dict.fromkeys(key for line in found for key in line.figures))
    told = keys[:2]  # the figures whose differences are reported
    head = ["plan", "pairs", "evals", "s", *keys, "best plain", *(f"{key} over it" for key in told)]
    head += [f"{key} over {other}" for other in ("noise", "unrelated") for key in told]
    rows = [
        [
            line.plan,
            str(line.pairs),
            f"{line.evaluations:.2f}",
            f"{line.seconds:.2f}",
            *(f"{line.figures[key]:.3f}" if key in line.figures else "" for key in keys),
            line.rival,
            *(str(of.get(key, "")) for of in (line.over_rival, line.over_noise, line.over_unrelated) for key in told),
        ]
        for line in found
    ]
    return _rows(head, rows)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def write(study: Study, *, is_whole: bool, num_shown: int = 4) -> list[Path]:
    """Write `report.md` and, once all clips are made, `sheet.png` and `report.html` with both."""
    made = read(study.file)
    card, count = study.card, len(study.prompts.pairs)
    donors = sum(pair.is_layout for pair in study.prompts.pairs)
    text = (
        f"# What a donor is worth: {card.title}\n\n"
        f"{len({one.pair for one in made})} of {count} pairs ({donors} with a donor whose layout the service would "
        f"take), {len(study.prompts.donors)} donors, seed {study.seed}, on {study.model.device}. ± is one standard "
        "error, clustered by donor; bold is three of them. A plan of a donor is worth something where it is better "
        "than the best plain plan of its cost, than the donor's noise alone, and than an unrelated donor. "
        "`differing` is the share of the tokens that the first step sees differ from the donor's: below .4 for "
        "pairs that share much, computing only those pays.\n\n" + tables(made, study.plans)
    )
    written = [study.folder / "report.md"]
    written[0].write_text(text)
    if is_whole:
        written += [study.folder / "sheet.png", study.folder / "report.html"]
        _shown(study, num_shown).save(written[1])
        written[2].write_text(_PAGE.format(title=html.escape(card.title), text=html.escape(text)))
    return written


def _shown(study: Study, num_shown: int):  # type: ignore[no-untyped-def]  # an image of Pillow
    found = next((plan.name for plan in study.plans if plan.donor == "found"), None)
    plain = next((plan.name for plan in study.plans if plan.is_plain), None)
    names = [name for name in (plain, found, found and f"{found}, unrelated donor") if name]
    pairs = study.prompts.pairs[: num_shown * len({pair.kind for pair in study.prompts.pairs})]
    rows = []
    for number, pair in enumerate(pairs):
        clips = study.clips(number, names)
        rows.append((f"{pair.kind}: {pair.prompt}", list(clips.values())))
    return sheet(["donor", FULL, *names], rows)


_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 sans-serif;margin:2em}}pre{{overflow-x:auto}}img{{max-width:100%}}</style>
<img src="sheet.png" alt="donor, full mode, plain, found donor, unrelated donor"><pre>{text}</pre>
"""

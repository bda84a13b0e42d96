"""Which eviction, admission, threshold and sharing to choose: every table and plot of docs/policies.md.

Prompts come from other people's files and never enter the project: only figures do. Budgets are shares of what all
prompts of a sample would store. Every setup runs on the same samples, so differences are paired.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from worker.cache import planner
from worker.cache.decisions.comparison import compare
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.types import Neighbour
from worker.cache.eviction import POLICIES
from worker.cache.simulation import protocol, study
from worker.cache.simulation.play import Capacity, Setup, play
from worker.cache.simulation.prepare import Prepared, Progress, Request, prepare
from worker.cache.simulation.study import Sample, Study
from worker.models.embedder import Embedder
from worker.prompts.entities import extract

BUDGETS = (0.02, 0.05, 0.1, 0.2)
THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
FULL_S = 12.59  # the paper's full run on an H100
WARMUP, COUNTED = 100, 1_000
PAIRS = Path("tests/data/phrase_pairs.tsv")
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->"

Said = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Prompts of one source, and the samples that are replayed."""

    name: str
    prepared: Prepared
    samples: Sequence[Sample]
    has_users: bool
    in_order: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one trace."""

    trace: Trace
    policies: Study  # budget by budget, each with every policy, LRU first
    limits: Sequence[study.Bounds]  # by budget
    admissions: Study  # LRU and LFU at a tenth, with and without admission
    thresholds: Study
    isolation: Study | None  # shared, then apart
    never_hit: Mapping[str, float]  # by policy: share of victims that were never used as donors
    same_victims: Mapping[str, float]  # by policy: share of LFU's victims that it also chose


def load(
    name: str,
    requests: Sequence[Request],
    embedder: Embedder,
    *,
    num_samples: int,
    in_order: bool,
    folder: Path | None,
    progress: Progress,
) -> Trace:
    """Draw samples of a file's prompts and extract their entities; windows if the file is in order, else random ones.

    Raises ValueError if the file is too short for the protocol.
    """
    used = min(WARMUP + COUNTED, len(requests))
    if used < 3 * WARMUP:
        raise ValueError(f"{name} has {len(requests)} prompts; at least {3 * WARMUP} are needed")
    drawn = list(protocol.samples(len(requests), num_used=used, num_samples=num_samples, in_order=in_order))
    kept = sorted({index for indices in drawn for index in indices})
    place = {index: number for number, index in enumerate(kept)}
    floor = min(THRESHOLDS[0], _settings(embedder).related_threshold)
    return Trace(
        name=name,
        prepared=prepare(
            [requests[index] for index in kept],
            extract=planner.extractor(),
            embedder=embedder,
            floor=floor,
            folder=folder,
            progress=progress,
        ),
        samples=[Sample.of([place[index] for index in indices]) for indices in drawn],
        has_users=len({request.tenant for request in requests}) > 1,
        in_order=in_order,
    )


def _settings(embedder: Embedder) -> MatchSettings:
    return MatchSettings.of_embedder(embedder.name, {})


def measure(trace: Trace, embedder: Embedder, say: Said) -> Measured:
    """Replay a trace under every setup that the page compares."""
    settings = _settings(embedder)
    base = Setup(capacity=Capacity(share=0.1), settings=settings)
    names = ["lru", *(name for name in POLICIES if name != "lru")]
    every = [replace(base, capacity=Capacity(share=budget), policy=name) for budget in BUDGETS for name in names]

    def ran(what: str, setups: Sequence[Setup]) -> Study:
        say(f"{trace.name}: {what}")
        return study.study(trace.prepared, setups, trace.samples, warmup=WARMUP)

    never, same = _victims(trace, base)
    return Measured(
        trace=trace,
        policies=ran("policies", every),
        limits=study.limits(
            trace.prepared, [every[number * len(names)] for number in range(len(BUDGETS))], trace.samples, warmup=WARMUP
        ),
        admissions=ran(
            "admissions",
            [
                replace(base, policy=policy, admission=admission)
                for policy in ("lru", "lfu")
                for admission in ("all", "second_sighting")
            ],
        ),
        thresholds=ran("thresholds", [replace(base, settings=_from(embedder, least)) for least in THRESHOLDS]),
        isolation=ran("isolation", [replace(base, isolation=name) for name in ("shared", "tenant")])
        if trace.has_users
        else None,
        never_hit=never,
        same_victims=same,
    )


def _from(embedder: Embedder, least: float) -> MatchSettings:
    return MatchSettings.of_embedder(embedder.name, {"same_threshold": least})


def _victims(trace: Trace, base: Setup) -> tuple[dict[str, float], dict[str, float]]:
    """Return, by policy, the share of its victims that never were donors, and the share of LFU's that it also chose."""
    chosen: dict[str, list[str]] = {}
    served: dict[str, list[bool]] = {}
    names = ("lru", "fifo", "lfu", "lcbfu", "sieve", "s3fifo", "gdsf")
    for name in names:
        chosen[name], served[name] = [], []
        for number, sample in enumerate(trace.samples):
            hits: Counter[str] = Counter()

            def watch(_index: int, said: Any, *, name: str = name, number: int = number, hits: Any = hits) -> None:
                if isinstance(said, tuple):
                    chosen[name].extend(f"{number}/{victim}" for victim in said)
                    served[name].extend(hits[victim] > 0 for victim in said)
                else:
                    hits.update(said.donors)

            play(trace.prepared, sample.steps, replace(base, policy=name), watch=watch)
    lfu = set(chosen["lfu"])
    never = {name: 1 - fmean(served[name]) if served[name] else 1.0 for name in names}
    return never, {name: len(lfu & set(chosen[name])) / max(1, len(lfu)) for name in names}


def pairs_accepted(embedder: Embedder) -> dict[float, tuple[int, int, int, int]]:
    """Return, by threshold, how many labelled pairs of the same thing match, of how many; and of different things."""
    rows = [line.split("\t") for line in PAIRS.read_text().splitlines() if line and not line.startswith("#")]
    labelled = [(row[0], extract(row[1]), extract(row[2])) for row in rows]
    found = {}
    for least in THRESHOLDS:
        counts: Counter[tuple[bool, bool]] = Counter()
        for relation, ours, theirs in labelled:
            if len(ours.entities) == 1 == len(theirs.entities):
                counts[relation == "same", _matches(embedder, ours, theirs, _from(embedder, least))] += 1
        found[least] = (
            counts[True, True],
            counts[True, True] + counts[True, False],
            counts[False, True],
            counts[False, True] + counts[False, False],
        )
    return found


def _matches(embedder: Embedder, ours: Any, theirs: Any, settings: MatchSettings) -> bool:
    a, b = embedder.embed([found.entities[0].lookup_text for found in (ours, theirs)])
    likeness = sum(x * y for x, y in zip(a, b, strict=True))
    bare = replace(theirs.entities[0], context=())
    near = Neighbour.of(bare, query=0, entry_id="", similarity=min(1.0, likeness), created=0.0)
    alone = replace(ours, entities=(replace(ours.entities[0], context=()),))
    return compare(alone, near, settings).is_match


# --- the page ---------------------------------------------------------------------------------------------------------


def page(measured: Sequence[Measured], embedder: Embedder) -> str:
    """Return the tables of the page in Markdown."""
    parts = [_traces(measured, embedder)]
    for found in measured:
        parts += [_policies(found), _admissions(found)]
    parts += [_why(measured), _thresholds(measured, pairs_accepted(embedder))]
    if apart := [found for found in measured if found.isolation]:
        parts.append(_isolation(apart))
    return "\n\n".join(parts) + "\n"


def put(file: Path, text: str) -> None:
    """Replace the text between the marks of a page. Raises ValueError if it has none."""
    before, after = around(file)
    file.write_text(before + text + after)


def around(file: Path) -> tuple[str, str]:
    """Return a page up to its first mark and from its second. Raises ValueError if it has none."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} lacks the marks {BEGIN.strip()} and {END}")
    return before + begin, end + after


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _traces(measured: Sequence[Measured], embedder: Embedder) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for found in measured:
            trace = found.trace
            order = "windows, in order" if trace.in_order else "random"
            entities = fmean(len(of.entities) for of in trace.prepared.extractions)
            used = len(trace.samples[0].indices)
            yield (
                trace.name,
                f"{len(trace.samples)} × {used}, {order}",
                f"{entities:.1f}",
                "yes" if trace.has_users else "",
            )

    head = ("trace", "samples (the first 100 warm up)", "entities per prompt", "users known")
    return f"Embedder `{embedder.name}` with its own thresholds.\n\n" + _table(head, rows())


def _policies(found: Measured) -> str:
    names = [setup.policy for setup in found.policies.setups[: len(POLICIES)]]

    def rows() -> Iterator[Sequence[str]]:
        for place, name in enumerate(names):
            cells = []
            for number in range(len(BUDGETS)):
                at = number * len(names) + place
                rate = found.policies.figures[at].hit_rate
                difference, (low, high) = found.policies.difference(at, number * len(names))
                beside = "" if name == "lru" else f" ({100 * difference:+.1f} ± {50 * (high - low):.1f})"
                cells.append(f"{100 * rate:.1f}{beside}")
            tenth = found.policies.figures[BUDGETS.index(0.1) * len(names) + place]
            yield (name, *cells, f"{tenth.saved * FULL_S:.2f}")
        known = [limit.clairvoyant for limit in found.limits]
        yield ("*clairvoyant*", *("" if rate is None else f"{100 * rate:.1f}" for rate in known), "")
        yield ("*any earlier prompt*", *(f"{100 * limit.reachable:.1f}" for limit in found.limits), "")

    head = (found.trace.name, *(f"{100 * budget:g} %" for budget in BUDGETS), "seconds saved at 10 %")
    return _table(head, rows())


def _admissions(found: Measured) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for number, setup in enumerate(found.admissions.setups):
            difference, (low, high) = found.admissions.difference(number, number - number % 2)
            beside = f"{100 * difference:+.1f} ± {50 * (high - low):.1f}" if number % 2 else ""
            figures = found.admissions.figures[number]
            yield (setup.policy, setup.admission, f"{100 * figures.hit_rate:.1f}", beside, f"{figures.evictions:.0f}")

    head = (f"{found.trace.name}, 10 %", "admission", "hit rate", "against all", "evictions")
    return _table(head, rows())


def _why(measured: Sequence[Measured]) -> str:
    names = list(measured[0].never_hit)

    def rows() -> Iterator[Sequence[str]]:
        for found in measured:
            yield (
                found.trace.name,
                *(f"{100 * found.never_hit[name]:.0f} / {100 * found.same_victims[name]:.0f}" for name in names),
            )

    return (
        "Victims at 10 %: percentage that had served nobody / percentage of LFU's victims that it also chose.\n\n"
        + _table(("trace", *names), rows())
    )


def _thresholds(measured: Sequence[Measured], pairs: Mapping[float, tuple[int, int, int, int]]) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for number, least in enumerate(THRESHOLDS):
            right, same, wrong, other = pairs[least]
            rates = [f"{100 * found.thresholds.figures[number].hit_rate:.1f}" for found in measured]
            yield (f"{least:.2f}", f"{right} of {same}", f"{wrong} of {other}", *rates)

    head = (
        "`same_threshold`",
        "same pairs matched",
        "**different pairs matched**",
        *(found.trace.name for found in measured),
    )
    return "Hit rates with LRU at 10 %, by threshold.\n\n" + _table(head, rows())


def _isolation(measured: Sequence[Measured]) -> str:
    def rows() -> Iterator[Sequence[str]]:
        for found in measured:
            assert found.isolation is not None
            shared, apart = found.isolation.figures
            difference, (low, high) = found.isolation.difference(1)
            cost = f"{100 * difference:+.1f} ± {50 * (high - low):.1f}"
            yield (found.trace.name, f"{100 * shared.hit_rate:.1f}", f"{100 * apart.hit_rate:.1f}", cost)

    head = ("LRU, 10 % of each namespace", "shared by all", "each user apart", "isolation costs")
    return _table(head, rows())


def plot(measured: Sequence[Measured], file: Path) -> None:
    """Draw hit rate against budget for each trace and policy. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = ("lru", "fifo", "lfu", "sieve", "s3fifo", "gdsf", "coverage", "none")
    figure, axes = pyplot.subplots(1, len(measured), figsize=(4.2 * len(measured), 3.6), sharey=True, squeeze=False)
    for axis, found in zip(axes[0], measured, strict=True):
        names = [setup.policy for setup in found.policies.setups[: len(POLICIES)]]
        share = [100 * budget for budget in BUDGETS]
        for name in shown:
            place = names.index(name)
            rates = [100 * found.policies.figures[k * len(names) + place].hit_rate for k in range(len(BUDGETS))]
            axis.plot(share, rates, marker="o", markersize=3, linewidth=2 if name in ("lru", "gdsf") else 1, label=name)
        best = [limit.clairvoyant for limit in found.limits]
        if None not in best:
            axis.plot(share, [100 * (rate or 0) for rate in best], "k--", linewidth=1, label="clairvoyant")
        axis.axhline(100 * found.limits[0].reachable, color="gray", linestyle=":", label="any earlier prompt")
        axis.set_title(found.trace.name, fontsize=9)
        axis.set_xlabel("budget, % of all latents")
        axis.set_xscale("log", base=2)
        axis.set_xticks(share, [f"{value:g}" for value in share])
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("hit rate, %")
    axes[0][-1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)

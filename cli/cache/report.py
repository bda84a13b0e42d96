"""`chai cache report`: what the cache did, why not more, and what to change, from the metrics rows; one page and JSON.

What other settings would have done is replayed on the recorded decisions; a recommendation says how sure it is, by the
interval of its gain over tenths of the record.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import local, output, plots
from cli.cache import replays
from cli.cache.spaces import find_id
from cli.errors import BadInput
from cli.prompt_lists import STDIN
from cli.report import STYLE, listed, section, table
from shared.limits import A_CENTURY

if TYPE_CHECKING:
    from worker.cache.decisions.replay import DecisionRow
    from worker.cache.simulation.play import Setup
    from worker.cache.simulation.recorded import Recorded

Json = dict[str, Any]  # Any: a report is what JSON holds

NUM_SHOWN = 15
NUM_FOR_A_CHOICE = 200  # with fewer decisions, nothing is recommended
WORTH_SAYING = 0.005  # hit rate: a smaller gain is not worth a change
POLICIES = ("lru", "lfu", "sieve", "gdsf", "s3fifo", "fifo")
BUDGETS = (0.5, 1.0, 2.0, 4.0)  # times the recorded ones
THRESHOLD_STEPS = (-0.1, -0.05, 0.0, 0.05, 0.1)
NUM_BUCKETS = 24  # of time
PLOTS = "svg{display:block;margin:.5rem 0}"


def report(
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="As `chai cache ls` shows it; else all.")
    ] = None,
    days: Annotated[float, typer.Option(min=0, max=A_CENTURY, help="How far back, in days.")] = 30,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The page, with JSON beside it; else var/cache-report.html; - prints the JSON.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, write no page.")] = False,
) -> None:
    """Say what the cache did, why it did not do more, and what other settings would have done with this traffic.

    The page quotes prompts of every tenant: it is for the operator.
    """
    if out is not None and out.suffix == ".json":
        raise BadInput(f"--out {str(out)!r} is the place of the JSON; name the page, as {out.with_suffix('.html')}")
    from db import cache_stats
    from db.session import connect, sessions
    from worker.cache.simulation import recorded

    since = datetime.now(UTC) - timedelta(days=days)
    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with sessions(engine)() as session:
            space_id = find_id(session, namespace)
            found = recorded.read(session, namespace_id=space_id, since=since)
            replays.of_record(found)  # its error says what to do if there is nothing
            within = cache_stats.Range(since=since, namespace_id=space_id)
            by_day = cache_stats.seconds_by_day(session, within)
    finally:
        engine.dispose()
    told = of(found, by_day, _what_if(found))
    if as_json or str(out) == STDIN:
        output.print_json(told)
        return
    file = out or local.var_dir() / "cache-report.html"
    if file.exists() and not file.is_file():  # it would replace a device, or collide with a folder
        raise BadInput(f"--out {str(file)!r} is no file; name one, or - for the JSON")
    file.parent.mkdir(parents=True, exist_ok=True)
    local.write_secret(file, page(told))
    local.write_secret(file.with_suffix(".json"), json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    output.note(f"{file} and {file.with_suffix('.json')} hold the report; they quote prompts")
    for line in told["recommendations"]:
        output.say(line)


def of(found: "Recorded", by_day: Sequence[Mapping[str, Any]], trials: "Sequence[Trial]") -> Json:
    """Return the report of a record, as plain JSON."""
    decisions = found.decisions
    hits = [decision for decision in decisions if decision.plan.donors]
    return {
        "from": _time(decisions[0].at),
        "to": _time(decisions[-1].at),
        "decisions": len(decisions),
        "hits": len(hits),
        "hit_rate": round(len(hits) / len(decisions), 4),
        "over_time": _over_time(decisions),
        "seconds_by_day": [{**row, "spent": round(row["spent"], 2), "saved": round(row["saved"], 2)} for row in by_day],
        "reasons": dict(Counter(decision.plan.reason.value for decision in decisions).most_common()),
        "nearest_of_misses": _nearest(decisions),
        "near_misses": list(_near_misses(found)),
        "carriers": _carriers(hits),
        "donors": _donors(found, hits),
        "trials": [trial.to_dict() for trial in trials],
        "recommendations": list(_recommendations(found, trials)),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _over_time(decisions: "Sequence[DecisionRow]") -> list[Json]:
    size = max(1, -(-len(decisions) // NUM_BUCKETS))
    parts = [decisions[start : start + size] for start in range(0, len(decisions), size)]
    return [
        {
            "from": _time(part[0].at),
            "decisions": len(part),
            "hit_rate": round(fmean(bool(decision.plan.donors) for decision in part), 4),
            "steps_saved": sum(decision.plan.steps_saved for decision in part if decision.plan.donors),
        }
        for part in parts
    ]


def _nearest(decisions: "Sequence[DecisionRow]") -> dict[str, int]:
    """Return the number of misses by the similarity of their nearest stored entity, in steps of .05."""
    missed = [row.plan.nearest for row in decisions if not row.plan.donors and row.plan.reason.is_miss]
    counts = Counter(min(19, max(0, int(20 * near))) for near in missed if near is not None)
    return {f"{step / 20:.2f}": counts[step] for step in range(min(counts, default=20), 20)}


def _near_misses(found: "Recorded") -> Iterator[Json]:
    """Yield the misses with the most similar stored entity, each as a sentence."""
    missed = [
        (row, request)
        for row, request in zip(found.decisions, found.requests, strict=True)
        if not row.plan.donors and row.plan.reason.is_miss and row.neighbours
    ]
    missed.sort(key=lambda pair: -(pair[0].plan.nearest or 0))
    for row, request in missed[:NUM_SHOWN]:
        near = max(row.neighbours, key=lambda neighbour: (neighbour.similarity, neighbour.created, neighbour.entry_id))
        asked = row.extraction.entities[near.query].text
        yield {
            "prompt": request.prompt,
            "reason": row.plan.reason.value,
            "entity": asked,
            "stored": near.text,
            "nearest": round(near.similarity, 4),
            "threshold": row.settings.same_threshold,
            "sentence": _sentence(asked, near.text, near.similarity, row),
        }


def _sentence(asked: str, stored: str, likeness: float, row: "DecisionRow") -> str:
    least = row.settings.same_threshold
    said = f"“{asked}” met “{stored}” at {likeness:.2f}"
    if row.plan.reason.value in ("only_related", "no_match") and likeness < least:
        return f"{said}, below {least:.2f}"
    return f"{said}: {row.plan.reason.sentence}"


def _carriers(hits: "Sequence[DecisionRow]") -> list[Json]:
    """Return the stored entities that matched in most hits."""
    counts = Counter(match.donor_text for hit in hits for match in hit.plan.matched)
    return [
        {"entity": text, "hits": number, "share": round(number / len(hits), 4)}
        for text, number in counts.most_common(NUM_SHOWN)
    ]


def _donors(found: "Recorded", hits: "Sequence[DecisionRow]") -> list[Json]:
    prompts = {request.entry_id: request.prompt for request in found.requests if request.entry_id}
    counts = Counter(donor for hit in hits for donor in hit.plan.donors)
    return [
        {"entry": donor, "hits": number, "share": round(number / len(hits), 4), "prompt": prompts.get(donor)}
        for donor, number in counts.most_common(NUM_SHOWN)
    ]


# --- what if ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one change would have done with the recorded traffic."""

    what: str  # policy, budget, threshold, admission, sharing
    value: str
    command: str | None  # makes the change; None: no change, or not of one namespace
    hit_rate: float
    gain: float  # in hit rate, against what was recorded
    interval: tuple[float, float]  # 95 %, of the gain
    steps_saved: float  # share

    @property
    def is_sure(self) -> bool:
        """Whether its interval shows that the gain is real."""
        return self.interval[0] > 0

    def to_dict(self) -> Json:
        """Return plain JSON."""
        return {
            "what": self.what,
            "value": self.value,
            "hit_rate": round(self.hit_rate, 4),
            "gain": round(self.gain, 4),
            "gain_interval": [round(end, 4) for end in self.interval],
            "steps_saved": round(self.steps_saved, 4),
            "sure": self.is_sure,
        }


def _what_if(found: "Recorded") -> list[Trial]:
    """Replay the record under one change at a time."""
    from worker.cache.simulation import study
    from worker.cache.simulation.play import Capacity, Setup

    source = replays.of_record(found)
    policy = source.policies[0]
    base = Setup(capacity=Capacity(), policy=policy, isolation="tenant")
    if source.entry_bytes is not None:
        base = replace(base, entry_bytes=source.entry_bytes)
    asked = [("as it was", policy, None, base), *_changes(found, base)]
    embedder = replays.load_embedder(None)
    with output.Meter(1) as meter:
        prepared = replays.prepared_with(
            found.requests,
            "lexicon",
            embedder,
            [each[3] for each in asked],
            local.var_dir() / "simulation",
            replays.told(meter),
        )
        ran = study.study(prepared, [each[3] for each in asked], [found.sample], warmup=0)
    trials = []
    for number, (what, value, command, _) in enumerate(asked):
        gain, within = ran.difference(number)
        figures = ran.figures[number]
        trials.append(
            Trial(
                what=what,
                value=value,
                command=command,
                hit_rate=figures.hit_rate,
                gain=gain,
                interval=within,
                steps_saved=figures.saved,
            )
        )
    return trials


def _changes(found: "Recorded", base: "Setup") -> "Iterator[tuple[str, str, str | None, Setup]]":
    settings = found.decisions[-1].settings
    for name in POLICIES:
        if name != base.policy:
            yield "policy", name, f"--policy {name}", replace(base, policy=name)
    for times in BUDGETS:
        if times != 1:
            yield "budget", f"{times:g} times", "--budget MIB", replace(base, budget_times=times)
    for step in THRESHOLD_STEPS:
        least = round(settings.same_threshold + step, 2)
        if step and settings.head_threshold <= least <= 1:
            changed = replace(settings, same_threshold=least)
            yield "threshold", f"{least:.2f}", "--settings JSON", replace(base, settings=changed)
    yield "admission", "second_sighting", "--admission second_sighting", replace(base, admission="second_sighting")
    if len({request.tenant for request in found.requests}) > 1:
        yield "sharing", "shared by all", None, replace(base, isolation="shared")


def _recommendations(found: "Recorded", trials: Sequence[Trial]) -> Iterator[str]:
    number = len(found.decisions)
    if number < NUM_FOR_A_CHOICE:
        yield f"Nothing yet: {number} decisions say too little; from {NUM_FOR_A_CHOICE} on, changes are recommended."
        return
    said = False
    if len(found.policies) > 1:
        several = ", ".join(sorted(found.policies))
        yield (
            f"The namespaces have different policies ({several}), and gains are against all of them under "
            f"{trials[0].value}: name a NAMESPACE for what it would gain itself."
        )
    for what in ("policy", "admission", "budget", "threshold", "sharing"):
        best = max((trial for trial in trials if trial.what == what), key=lambda trial: trial.gain, default=None)
        if best is None or best.gain < WORTH_SAYING:
            continue
        said = True
        yield _advice(found, best, trials[0])
    if not said:
        yield "Leave it as it is: no change that was tried would have gained half a point of hit rate."


def _advice(found: "Recorded", best: Trial, base: Trial) -> str:
    low, high = best.interval
    sure = "sure" if best.is_sure else "not sure: the interval holds 0"
    gain = f"{100 * best.gain:+.1f} points of hit rate ({100 * low:+.1f} to {100 * high:+.1f}, {sure})"
    seconds = 1000 * (best.steps_saved - base.steps_saved) * (found.full_seconds or 0.0)
    per = f", about {seconds:.0f} GPU seconds in 1,000 videos" if found.full_seconds else ""
    how = f": `chai cache set NAMESPACE {best.command}`" if best.command else ""
    price = {
        "threshold": " Wrong matches grow with a lower threshold: look at the near misses first.",
        "sharing": " One tenant's videos then shape another's (CHAI_CACHE_SCOPE).",
        "budget": " It costs that much more storage.",
    }.get(best.what, "")
    return f"{best.what.capitalize()} {best.value} would have given {gain}{per}{how}.{price}"


# --- the page ---------------------------------------------------------------------------------------------------------


def page(told: Json) -> str:
    """Return the report as one HTML file."""
    over, misses = told["over_time"], told["near_misses"]
    least = misses[0]["threshold"] if misses else None
    head = (
        f"{told['decisions']} decisions, {told['hits']} hits ({told['hit_rate']:.1%}), {told['from']} to {told['to']}"
    )
    rates = plots.bars([(_short(row["from"]), 100 * row["hit_rate"]) for row in over], unit="% hits")
    days = told["seconds_by_day"]
    saved = plots.bars([(row["day"][5:], row["saved"]) for row in days], unit="GPU seconds saved")
    nearest = told["nearest_of_misses"]
    missed = [(step, float(number)) for step, number in nearest.items()]
    mark = None if least is None or not nearest else (20 * (least - float(min(nearest))), f"same from {least:.2f}")
    parts = [
        f"<h1>The cache</h1><p>{escape(head)}</p>",
        section("What to change", listed(told["recommendations"])),
        section("Hits over time", rates),
        section("Savings", saved + table(("day", "videos", "GPU seconds", "saved"), _day_rows(days))),
        section("Why", table(("reason", "decisions", "share"), _reason_rows(told))),
        section("How near the misses came", plots.bars(missed, unit="misses", mark=mark)),
        section("The nearest misses", table(("prompt", "why"), [(row["prompt"], row["sentence"]) for row in misses])),
        section("What carries the hits", table(("stored entity", "hits", "share"), _rows(told["carriers"], "entity"))),
        section("Who lends", table(("prompt", "hits", "share"), _rows(told["donors"], "prompt"))),
        section("What other settings would have done", _trial_plot(told) + _trial_table(told)),
    ]
    top = f"<!doctype html><html lang=en><meta charset=utf-8><title>The cache</title><style>{STYLE}{PLOTS}</style>"
    return f"{top}{''.join(parts)}\n"


def _short(at: str) -> str:
    return at[5:16].replace("T", " ")


def _day_rows(days: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [(row["day"], row["videos"], row["spent"], row["saved"]) for row in days]


def _reason_rows(told: Json) -> list[tuple[object, ...]]:
    from shared.reasons import Reason

    return [
        (Reason(reason).sentence, number, f"{number / told['decisions']:.1%}")
        for reason, number in told["reasons"].items()
    ]


def _rows(found: Sequence[Mapping[str, Any]], name: str) -> list[tuple[object, ...]]:
    return [(row[name], row["hits"], f"{row['share']:.1%}") for row in found]


def _trial_plot(told: Json) -> str:
    rates = {f"{trial['what']} {trial['value']}": 100 * trial["hit_rate"] for trial in told["trials"]}
    budgets = {name: rate for name, rate in rates.items() if name.startswith("budget")}
    base = 100 * told["trials"][0]["hit_rate"]
    names = [f"{times:g} ×" for times in BUDGETS]
    values = [base if times == 1 else budgets.get(f"budget {times:g} times", base) for times in BUDGETS]
    return plots.lines({"hit rate": values}, names, unit="% hits, by budget")


def _trial_table(told: Json) -> str:
    rows = [
        (
            trial["what"],
            trial["value"],
            f"{trial['hit_rate']:.1%}",
            f"{100 * trial['gain']:+.1f}" if number else "",
            f"{100 * trial['gain_interval'][0]:+.1f} to {100 * trial['gain_interval'][1]:+.1f}" if number else "",
            ("yes" if trial["sure"] else "no") if number else "",
        )
        for number, trial in enumerate(told["trials"])
    ]
    return table(("what", "", "hit rate", "gain in points", "95 % interval", "sure"), rows)

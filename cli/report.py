"""The morning after: what a bulk run did, what it cost, what failed and what to change tonight; as JSON and one page.

The page has a contact sheet: the first frames of videos from all over the list.

`of` computes, `page` writes self-contained HTML. Nothing here calls the service.
"""

import base64
import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from shared.formats import duration
from shared.results import STAGES, Result

Json = dict[str, Any]  # Any: a report is what JSON holds

NUM_SLOWEST = 10
NUM_PICTURES = 48
NUM_LINES_SHOWN = 12  # per reason for failure
MUCH_LOADING = 0.1  # share of the work
FEW_HITS = 0.2  # share of the lines that could have had one
NUM_FOR_A_SHARE = 20  # with fewer lines, a share says nothing

WAYS_OUT = {
    "out_of_memory": "run these lines at a smaller size, or on a GPU with more memory",
    "invalid_request": "change these lines as the message says; only they run again with the changed list",
    "worker_lost": "retry them once; those that end so again kill their worker: try another prompt or size",
    "storage_unavailable": "free or mend the storage (`chai doctor` says what is wrong), then retry",
    "deadline": "give them more time, or run them earlier in the night",
    "cancelled": "retry, if the cancel was not meant for them",
    "model_not_found": "fetch the model (`chai model ls`), then retry",
    "model_unavailable": "look at the model on that machine (`chai doctor`), then retry",
}
OTHERWISE = "`chai doctor` looks at the machine; then retry"


def of(batch: Mapping[str, Any], results: Sequence[Result]) -> Json:
    """Return the report of the present state of a run."""
    own = [result for result in results if not result.reused]
    made = [result for result in own if result.status == "completed"]
    return {
        "batch": {
            name: batch[name] for name in ("id", "name", "status", "created_at", "completed_at", "num_bad_lines")
        },
        "lines": {**batch["request_counts"], "reused": batch["num_reused"]},
        "made": {"number": len(made), **_hits(made), "seconds": _seconds(made), "stages": _stages(made)},
        "forecast": _forecast(batch, own, made),
        "failures": _failures(own),
        "slowest": [_slow(result) for result in sorted(made, key=lambda made: -(made.seconds or 0))[:NUM_SLOWEST]],
        "sheet": [_pictured(result) for result in _spread(made)],
        "tonight": list(_tonight(batch, own, made)),
    }


def _forecast(batch: Mapping[str, Any], own: Sequence[Result], made: Sequence[Result]) -> Json | None:
    """Compare the forecast of the run with its outcome; None if there was no forecast."""
    expected = batch.get("forecast")
    if expected is None:
        return None
    came = {
        "num_fast": sum(result.path == "fast" for result in made),
        "num_full": sum(result.path == "full" for result in made),
        "work_h": round(sum(result.seconds or 0.0 for result in own) / 3600, 4),
        "ends_at": batch["completed_at"],
    }
    return {"expected": dict(expected), "came": came}


def _spread(made: Sequence[Result]) -> list[Result]:
    """Choose videos for the contact sheet, as far apart in the list as possible."""
    step = max(1.0, len(made) / NUM_PICTURES)
    return [made[int(index * step)] for index in range(min(NUM_PICTURES, len(made)))]


def _pictured(result: Result) -> Json:
    return {name: getattr(result, name) for name in ("line", "video", "prompt", "path", "similarity")}


def _hits(made: Sequence[Result]) -> Json:
    fast = [result for result in made if result.path == "fast"]
    with_donor = [result for result in fast if result.donor or result.matched]
    alike = [result.similarity for result in with_donor if result.similarity is not None]
    return {
        "fast": len(fast),
        "full": len(made) - len(fast),
        "hits": len(with_donor),
        "hit_share": round(len(with_donor) / len(made), 4) if made else None,
        "median_similarity": round(statistics.median(alike), 4) if alike else None,
        "saved_s": round(sum(result.saved_s or 0.0 for result in made), 3),
    }


def _seconds(made: Sequence[Result]) -> Json:
    found: Json = {"total": round(sum(result.seconds or 0.0 for result in made), 3)}
    for path in ("fast", "full"):
        seconds = [result.seconds for result in made if result.path == path and result.seconds is not None]
        found[f"median_{path}"] = round(statistics.median(seconds), 3) if seconds else None
    return found


def _stages(made: Sequence[Result]) -> Json:
    sums = {stage: sum(getattr(result, f"{stage}_s") or 0.0 for result in made) for stage in STAGES}
    return {stage: round(seconds, 3) for stage, seconds in sums.items() if seconds}


def _failures(own: Sequence[Result]) -> list[Json]:
    """Group failed lines by reason, the most frequent first."""
    by_reason: dict[str, list[Result]] = defaultdict(list)
    for result in own:
        if result.status in ("failed", "cancelled"):
            by_reason[result.error_code or result.status].append(result)
    return [
        {
            "reason": reason,
            "number": len(lines),
            "messages": [text for text, _ in Counter(str(line.error) for line in lines).most_common(3)],
            "way_out": WAYS_OUT.get(reason, OTHERWISE),
            "lines": [line.line or line.custom_id for line in lines[:NUM_LINES_SHOWN]],
        }
        for reason, lines in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]


def _slow(result: Result) -> Json:
    stages = {stage: getattr(result, f"{stage}_s") or 0.0 for stage in STAGES}
    longest = max(stages, key=lambda stage: stages[stage])
    return {
        "line": result.line,
        "video": result.video,
        "prompt": result.prompt,
        "path": result.path,
        "seconds": result.seconds,
        "longest_stage": longest if stages[longest] else None,
    }


def _tonight(batch: Mapping[str, Any], own: Sequence[Result], made: Sequence[Result]) -> Iterator[str]:
    """Return what to change, most urgent first; nothing if all is well."""
    counts, id_ = batch["request_counts"], batch["id"]
    if number := counts["failed"] + counts["cancelled"]:
        only = (
            ""
            if counts["cancelled"] and counts["failed"]
            else f" --only {'failed' if counts['failed'] else 'cancelled'}"
        )
        yield f"{number} lines have no video: see the reasons, then `chai bulk retry {id_}{only}`"
    if batch["status"] == "paused":
        yield f"the run is paused: `chai bulk resume {id_}`"
    elif counts["queued"] and batch.get("window"):
        yield f"{counts['queued']} lines wait for the next window; a longer one or another worker would end them sooner"
    if batch["num_bad_lines"]:
        yield f"{batch['num_bad_lines']} lines of the list cannot be used: correct them and run the list again"
    yield from _about_speed(own, made)


def _about_speed(own: Sequence[Result], made: Sequence[Result]) -> Iterator[str]:
    if len(made) < NUM_FOR_A_SHARE:
        return
    work, loading = sum(result.seconds or 0.0 for result in made), sum(result.load_s or 0.0 for result in made)
    if loading > MUCH_LOADING * work:
        yield f"{duration(loading)} of {duration(work)} went into loading models: sort the list by model"
    if asked_full := sum(result.mode == "full" for result in own):
        yield f"{asked_full} lines asked for full mode, which uses no donor; with auto, those with one run faster"
    free = [result for result in made if result.mode != "full"]
    hits = sum(1 for result in free if result.matched)
    if len(free) >= NUM_FOR_A_SHARE and hits < FEW_HITS * len(free):
        yield (
            f"only {hits} of {len(free)} lines met something known: name things alike (one word for one thing), "
            "or give the cache more room (`chai cache ls`)"
        )


def page(report: Json, pictures: Mapping[str, bytes] | None = None) -> str:
    """Return the report as one HTML file; `pictures` holds JPEGs by the video's id."""
    batch, lines, made = report["batch"], report["lines"], report["made"]
    parts = [
        f"<h1>{escape(batch['name'] or batch['id'])}</h1><p>{escape(batch['id'])}, {escape(batch['status'])}</p>",
        section("What ran", table(("", "lines"), [(name, number) for name, number in lines.items() if number])),
        section("Hits and savings", table(("", ""), _gains(made))),
        section("What to change tonight", listed(report["tonight"]) or "<p>Nothing: all lines have their videos.</p>"),
        section("What has no video", table(("reason", "lines", "message", "way out", "which"), _reasons(report))),
        section("Expected and come", table(("", "expected", "came"), _beside(report["forecast"], batch["status"]))),
        section("Contact sheet", _sheet(report["sheet"], pictures or {}, made["number"])),
        section("Where the time went", table(("stage", "seconds"), list(made["stages"].items()))),
        section("Slowest", table(("line", "prompt", "path", "seconds", "longest stage"), _slowest(report))),
    ]
    title = escape(batch["name"] or batch["id"])
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>{''.join(parts)}\n"


def _beside(forecast: Json | None, status: str) -> list[tuple[object, ...]]:
    if forecast is None:
        return []
    expected, came = forecast["expected"], forecast["came"]
    hours = [expected.get(name) for name in ("low_h", "high_h", "likely_h")]
    low, high, likely = ("" if number is None else duration(3600 * number) for number in hours)
    return [
        ("lines in the fast path", expected["num_fast"], came["num_fast"]),
        ("lines in full", expected["num_full"], came["num_full"]),
        ("time of work", f"{low} to {high}, likely {likely}" if likely else "", duration(3600 * came["work_h"])),
        ("ended", _moment(expected.get("ends_at")), _moment(came["ends_at"]) or status.replace("_", " ")),
        ("order of the lines", expected["order"], ""),
    ]


def _moment(unix: int | None) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M} UTC" if unix else ""


def _sheet(rows: Sequence[Json], pictures: Mapping[str, bytes], number: int) -> str:
    shown = [(row, pictures[row["video"]]) for row in rows if row["video"] in pictures]
    if not shown:
        return ""
    figures = "".join(_figure(row, picture) for row, picture in shown)
    note = f"<p>{len(shown)} of {number} videos, from all over the list.</p>" if len(shown) < number else ""
    return f"{note}<div class=sheet>{figures}</div>"


def _figure(row: Json, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    alike = "" if row["similarity"] is None or row["path"] != "fast" else f" {row['similarity']:.2f}"
    below = f"<b>{escape(str(row['line'] or ''))}</b> {escape(str(row['path']))}{alike}: {escape(row['prompt'])}"
    alt = escape(row["prompt"], quote=True)
    return f'<figure><img alt="{alt}" src="data:image/jpeg;base64,{data}"><figcaption>{below}</figcaption></figure>'


def _gains(made: Json) -> list[tuple[str, object]]:
    share = "" if made["hit_share"] is None else f" ({made['hit_share']:.0%})"
    seconds = made["seconds"]
    return [
        ("videos made", made["number"]),
        ("with a donor", f"{made['hits']}{share}"),
        ("in the fast path", made["fast"]),
        ("median similarity", made["median_similarity"]),
        ("saved by donors and fewer steps", duration(made["saved_s"])),
        ("work", duration(seconds["total"])),
        ("median fast / full", f"{duration(seconds['median_fast'])} / {duration(seconds['median_full'])}"),
    ]


def _reasons(report: Json) -> list[tuple[object, ...]]:
    return [
        (row["reason"], row["number"], "; ".join(row["messages"]), row["way_out"], ", ".join(row["lines"]))
        for row in report["failures"]
    ]


def _slowest(report: Json) -> list[tuple[object, ...]]:
    names = ("line", "prompt", "path", "seconds", "longest_stage")
    return [tuple(row[name] for name in names) for row in report["slowest"]]


def section(title: str, content: str) -> str:
    """Return a section of a page; nothing if it has no content."""
    return f"<h2>{title}</h2>{content}" if content else ""


def listed(texts: Sequence[str]) -> str:
    """Return an HTML list; nothing if it is empty."""
    return f"<ul>{''.join(f'<li>{_code(text)}</li>' for text in texts)}</ul>" if texts else ""


def _code(text: str) -> str:
    """Mark up text between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an HTML table; nothing if it has no rows."""
    if not rows:
        return ""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><tr>{names}</tr>{body}</table>"


def _cell(value: object) -> str:
    return "" if value is None else escape(f"{value:.2f}" if isinstance(value, float) else str(value))


def text(report: Json) -> str:
    """Return the report as JSON, indented."""
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid #ddd;"
    "vertical-align:top}h2{margin-top:2rem;font-size:1.1rem}"
    ".sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:1rem}figure{margin:0}"
    ".sheet img{width:100%;display:block;image-rendering:auto;background:#eee}"
    "figcaption{font-size:.8rem;line-height:1.3;margin-top:.25rem;max-height:3.9em;overflow:hidden}"
)

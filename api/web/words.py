"""Rows in plain words for the page: states, receipts and figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from api.estimates import Estimate
from api.ids import batch_id
from api.schemas.answers import Video
from api.schemas.requests import Forecast
from api.videos import show
from db.batches import Came, Ended
from db.models import Batch, Job, JobMetric
from db.states import BatchStatus, JobStatus
from shared.formats import duration, size
from shared.model_cards import ModelCard
from shared.reasons import HITS, Reason
from shared.results import STAGES
from shared.run_windows import RunWindow

_MARKS = {"queued": "○", "in_progress": "◐", "completed": "●", "failed": "✕", "cancelled": "⊘"}
_STATES = {"queued": "waiting", "in_progress": "running"}
_MADE = (("fast", "fast"), ("full", "full"), ("done", None))  # what a bar shows of completed lines, by path
_PARTS = (("failed", "failed"), ("cancelled", "cancelled"), ("in_progress", "going"))
_STAGES = {
    "load": "load the model",
    "fetch": "fetch the donor",
    "encode": "read the prompt",
    "turn": "wait for the device",
    "keep": "keep for the cache",
}
_NUM_EXAMPLES = 3  # that the page offers
_EXAMPLES = (
    "a corgi surfing a wave at sunset",
    "a red fox walks through fresh snow",
    "waves roll onto a black beach",
)
NUM_PARTS = 120  # parts in the picture of a run's time
LONGEST = timedelta(days=60)  # of a run, of which windows are shown
SHORTEST_S = 0.005  # that is not written as 0.00 s


def video(job: Job, *, estimate: Estimate | None = None, metric: JobMetric | None = None) -> dict[str, Any]:
    """Return what templates show of a job. Any: texts, times and flags."""
    shown = show(job, metric=metric)
    cache, given = shown.cache or {}, estimate or Estimate()
    return {
        "id": shown.id,
        "prompt": shown.prompt,
        "state": _state(shown),
        "mark": _MARKS[shown.status],
        "colour": _colour(shown),
        "is_there": shown.status == "completed",
        "has_poster": "thumbnail" in (job.output or {}).get("pictures", {}),
        "is_open": shown.status in ("queued", "in_progress"),
        "cancel_requested": shown.cancel_requested,
        "progress": shown.progress,
        "step": f"step {shown.step} of {shown.num_steps}" if shown.step is not None and shown.num_steps else "",
        "attempt": shown.attempt,
        "before": _before(given.position),
        "waits": (given.waiting_reason or "").replace("`", ""),
        "eta": duration(given.eta_seconds) if (given.eta_seconds or 0) >= 1 else "",
        "error": shown.error.message if shown.error else "",
        "receipt": receipt(shown),
        "matched": cache.get("matched") or [],
        "donors": cache.get("donors") or [],
        "path": shown.path,
        "is_wrong": bool(cache.get("wrong_match")),
        "stages": stages(shown.stage_durations or {}),
        "facts": _facts(shown),
        "batch": shown.batch_id,
        "model": shown.model,
        "mode": shown.mode,
        "width": job.width,
        "height": job.height,
        "created": job.created_at,
        "claimed": job.claimed_at,
        "finished": job.finished_at,
    }


def receipt(shown: Video) -> str:
    """Say in a sentence or two how a video was made, and what that saved."""
    if shown.status == "failed" and shown.error:
        return f"Failed: {shown.error.message}."
    if shown.status != "completed":
        return ""
    cache = shown.cache or {}
    made, left_out = cache.get("steps") or shown.num_steps, cache.get("steps_saved") or 0
    steps = "" if not made else f"{made} of {made + left_out} steps" if left_out else f"{made} steps"
    first = f"{(shown.path or 'made').capitalize()}: {steps}." if steps else f"{(shown.path or 'made').capitalize()}."
    return " ".join(part for part in (first, str(cache.get("explanation") or ""), _saved(shown)) if part)


def _saved(shown: Video) -> str:
    saved = shown.usage.seconds_saved if shown.usage and shown.path == "fast" else None
    if saved is None:
        return ""
    if saved < 0:
        return f"It took {duration(-saved)} more computing time than a full run, measured."
    return f"{duration(saved)} of computing saved, measured."


def stages(seconds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return stages as segments of a bar of 100, without those too short to label."""
    known = {name: float(value) for name, value in seconds.items() if isinstance(value, int | float)}
    known = {name: value for name, value in known.items() if value >= SHORTEST_S}
    known = {name: known[name] for name in sorted(known, key=lambda name: (*STAGES, name).index(name))}
    return [
        {**part, "name": _STAGES.get(part["name"], part["name"]), "seconds": duration(known[part["name"]])}
        for part in _stretches(known)
    ]


def run(
    batch: Batch,
    lines: Mapping[tuple[str, str | None], int],
    *,
    of_file: bool = False,
    changes_at: datetime | None = None,
) -> dict[str, Any]:
    """Return what templates show of a bulk run; only the lines of a run that is not from a file can be retried.

    `lines` are their numbers by status and path, None if unknown; `changes_at` is when its window opens or closes. Any:
    texts, times and numbers.
    """
    counts: Counter[str] = Counter()
    for (status, _), number in lines.items():
        counts[status] += number
    total, num_fast = counts.total(), lines.get(("completed", "fast"), 0)
    numbers = {kind: lines.get(("completed", path), 0) for kind, path in _MADE}
    numbers |= {kind: counts[status] for status, kind in _PARTS}
    starts = accumulate(numbers.values(), initial=0)
    words = [f"{counts['completed']:,} of {total:,} done" + (f" ({num_fast:,} fast)" if num_fast else "")]
    words += [f"{counts[status]:,} {_STATES.get(status, status)}" for status, _ in _PARTS if counts[status]]
    is_waiting = batch.is_held and batch.status != BatchStatus.PAUSED
    return {
        "id": batch_id(batch.id),
        "name": batch.name or batch.manifest_key,
        "status": "waits"
        if is_waiting
        else {"open": "takes lines", "in_progress": "runs"}.get(batch.status, batch.status),
        "is_open": batch.status in (BatchStatus.OPEN, BatchStatus.IN_PROGRESS, BatchStatus.PAUSED),
        "acts": _acts(batch, counts, of_file=of_file),
        "total": total,
        "num_open": counts["queued"] + counts["in_progress"],
        "parts": [(kind, start, number) for (kind, number), start in zip(numbers.items(), starts, strict=False)],
        "words": ", ".join(words),
        "created": batch.created_at,
        "ended": batch.finished_at,
        "opens": changes_at if is_waiting else None,
        "closes": changes_at if not batch.is_held else None,
    }


def night(
    batch: Batch, came: Mapping[str, Came], *, num_reused: int, num_open: int, num_workers: int
) -> dict[str, Any]:
    """Return what the page of one run shows beyond that: forecast and outcome, and its window.

    The remaining time is estimated from the lines so far, without hours in which the window is closed.

    Any: texts and times.
    """
    kept = Forecast.kept(batch.forecast)
    expected: Mapping[str, Any] = kept.model_dump() if kept else {}
    made = [came.get("fast", _NONE), came.get("full", _NONE)]
    work_s, num_made = sum(path.seconds for path in made), sum(path.number for path in made)
    left_s = num_open * work_s / num_made / num_workers if num_made and num_workers and num_open else None
    rows = [
        ("Fast lines", _number(expected.get("num_fast")), f"{made[0].number:,}"),
        ("Full lines", _number(expected.get("num_full")), f"{made[1].number:,}"),
        ("Time of work", _work(expected), duration(work_s)),
        ("Time left, about", "", duration(left_s)),
        *((f"A {name} line", "", duration(path.seconds / path.number)) for name, path in came.items() if path.number),
        ("Saved, measured", "", duration(made[0].seconds_saved) if made[0].number else ""),
        ("Files", "", size(sum(path.num_bytes for path in made)) if num_made else ""),
        ("From earlier runs", "", f"{num_reused:,} lines" if num_reused else ""),
    ]
    ends_at = expected.get("ends_at")
    return {
        "rows": [row for row in rows if row[1] or row[2]],
        "is_forecast": bool(expected),
        "ends": None if ends_at is None else datetime.fromtimestamp(ends_at, UTC),
        "window": batch.run_window,
    }


def span(batch: Batch, expected: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the period that the picture of a run shows: from its start to its end, or the expected end if later."""
    end = max(batch.finished_at or now, batch.created_at + timedelta(seconds=1))
    return batch.created_at, end if expected is None or expected - batch.created_at > LONGEST else max(end, expected)


def course(
    batch: Batch, ended: Sequence[Ended], since: datetime, until: datetime, expected: datetime | None
) -> dict[str, Any]:
    """Return a timeline of a run as a picture of 100 by 100: what ended when, and when its window was closed.

    Any: texts and places.
    """

    def place(time: datetime) -> float:
        return 100 * (time - since) / (until - since)

    heights: Counter[int] = Counter()
    for some in ended:
        heights[some.part] += some.number
    most, tops = max(heights.values(), default=1), Counter[int]()
    bars = []
    for some in sorted(ended, key=lambda some: (some.status, some.path or "")):
        tops[some.part] += some.number
        kind = some.path or "full" if some.status == JobStatus.COMPLETED else some.status
        left, top = 100 * some.part / NUM_PARTS, 100 - 100 * tops[some.part] / most
        bars.append((kind, f"{left:.2f}", f"{top:.2f}", f"{100 * some.number / most:.2f}"))
    is_short = batch.run_window is not None and until - since <= LONGEST
    closed = RunWindow.of(batch.run_window).closed(since, until) if batch.run_window and is_short else ()
    return {
        "bars": bars,
        "width": f"{100 / NUM_PARTS:.2f}",
        "closed": [(f"{place(begin):.2f}", f"{place(end) - place(begin):.2f}") for begin, end in closed],
        "expected": f"{place(expected):.2f}" if expected and since <= expected <= until else "",
        "since": since,
        "until": until,
    }


_NONE = Came(number=0, seconds=0.0, num_bytes=0, seconds_saved=0.0)


def _work(expected: Mapping[str, Any]) -> str:
    low, likely, high = (expected.get(f"{name}_h") for name in ("low", "likely", "high"))
    if likely is None:
        return ""
    between = f" ({duration(3600 * low)} to {duration(3600 * high)})" if low is not None and high is not None else ""
    return f"{duration(3600 * likely)}{between}"


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _acts(batch: Batch, counts: Mapping[str, int], *, of_file: bool) -> list[tuple[str, str, dict[str, str]]]:
    """Return the actions on a run: last part of the path, label, and fields."""
    acts: list[tuple[str, str, dict[str, str]]] = []
    if batch.status == BatchStatus.IN_PROGRESS:
        acts.append(("pause", "Pause", {}))
    if batch.status == BatchStatus.PAUSED:
        acts.append(("resume", "Go on", {}))
    if batch.status == BatchStatus.OPEN or of_file:
        return acts
    retried = [(status, number) for status in ("failed", "cancelled") if (number := counts.get(status, 0))]
    return [*acts, *(("retry", f"Retry {number:,} {status}", {"only": status}) for status, number in retried)]


def cache(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the view of the cache shows. Any: texts, numbers and stretches of bars of 100."""
    space, saved = found["space"], found["savings"]
    misses = [row for row in found["by_reason"] if row["name"] not in HITS]
    saved_on = {row["day"]: row["saved"] for row in found["savings_by_day"]}
    most = max([*saved_on.values(), 0.0]) or 1.0
    days = [
        {
            "day": row["name"],
            "rate": f"{100 * row['hit_rate']:.0f} %",
            "height": f"{100 * row['hit_rate']:.1f}",
            "decisions": f"{row['decisions']:,}",
            "saved": duration(saved_on.get(row["name"], 0.0)),
            "saved_height": f"{max(0.0, 100 * saved_on.get(row['name'], 0.0) / most):.1f}",
        }
        for row in found["by_day"]
    ]
    full = 100 * space["bytes_used"] / space["byte_budget"] if space["byte_budget"] else 0.0
    return {
        "decisions": f"{found['decisions']:,}",
        "hits": f"{found['hits']:,}",
        "rate": "" if found["hit_rate"] is None else f"{100 * found['hit_rate']:.0f} %",
        "saved": duration(saved["seconds_saved"]),
        "spent": duration(saved["gpu_seconds"]),
        "days": days,
        "misses": _stretches({_why_not(row["name"]): row["decisions"] for row in misses}),
        "entities": [(row["entity"], f"{row['hits']:,}") for row in found["entities"]],
        "bytes": f"{size(space['bytes_used'])} of {size(space['byte_budget'])}",
        "has_budget": bool(space["byte_budget"]),
        "full": f"{full:.1f}",
        "entries": f"{space['entries']:,} {'entry' if space['entries'] == 1 else 'entries'}",
        "evicted": f"{found['events'].get('evict', 0):,}",
        "refused": f"{found['events'].get('refuse', 0):,}",
        "broken": f"{found['events'].get('quarantine', 0):,}",
        "wrong": f"{found['wrong_matches']:,}",
    }


def _why_not(reason: str) -> str:
    return Reason(reason).short if reason in list(Reason) else reason  # from a release with other reasons


def _stretches(numbers: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return segments of a bar of 100, labelled with their share."""
    total, start, parts = sum(numbers.values()) or 1.0, 0.0, []
    for name, number in numbers.items():
        width = 100 * number / total
        parts.append({"name": name, "share": f"{width:.0f} %", "start": f"{start:.2f}", "width": f"{width:.2f}"})
        start += width
    return parts


def examples(card: ModelCard) -> Sequence[str]:
    """Return a few prompts to try, from the card, since a model may know only one world."""
    return card.examples[:_NUM_EXAMPLES] or _EXAMPLES


def _state(shown: Video) -> str:
    if shown.status == "completed" and shown.path:
        return shown.path
    return _STATES.get(shown.status, shown.status)


def _colour(shown: Video) -> str:
    if shown.status == "failed":
        return "bad"
    if shown.status in ("completed", "in_progress") and shown.path:
        return shown.path
    return "wait"


def _before(position: int | None) -> str:
    if position is None:
        return ""
    return "next" if position == 0 else f"{position:,} before it"


def _facts(shown: Video) -> list[tuple[str, str]]:
    usage = shown.usage
    told = {
        "id": shown.id,
        "model": shown.model,
        "mode": shown.mode,
        "seed": shown.seed,
        "size": f"{shown.size}, {shown.num_frames} frames at {shown.fps} a second",
        "must not show": shown.negative_prompt,
        "steps": shown.num_inference_steps,
        "guidance": shown.guidance_scale,
        "waited": duration(usage.queue_wait_s) if usage else None,
        "ran": duration(usage.run_s) if usage else None,
        "computed": duration(usage.gpu_seconds) if usage else None,
        "line": shown.custom_id,
    }
    told |= {f"metadata {name}": value for name, value in shown.metadata.items()}
    return [(name, str(value)) for name, value in told.items() if value not in (None, "")]

"""What the page says of rows: states, receipts and figures in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.estimates import Estimate
from api.ids import batch_id
from api.schemas import Video
from api.videos import show
from db.models import Batch, Job, JobMetric
from db.states import BatchStatus

_MARKS = {"queued": "○", "in_progress": "◐", "completed": "●", "failed": "✕", "cancelled": "⊘"}
_STATES = {"queued": "waiting", "in_progress": "running"}
_STAGES = ("wait", "plan", "look_up", "lookup", "fetch", "encode", "denoise", "decode", "video", "write", "publish")
_PARTS = (("completed", "done"), ("failed", "failed"), ("cancelled", "cancelled"), ("in_progress", "going"))


def duration(seconds: float | None) -> str:
    """Write seconds, two digits below ten; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


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
        "eta": duration(given.eta_seconds) if (given.eta_seconds or 0) >= 1 else "",
        "error": shown.error.message if shown.error else "",
        "receipt": receipt(shown),
        "matched": cache.get("matched") or [],
        "donors": cache.get("donors") or [],
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
    """Say in a sentence or two how a video came about, and what that saved."""
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
        return f"It took {duration(-saved)} of computing more than a full run, measured."
    return f"{duration(saved)} of computing saved, measured."


def stages(seconds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return stages as stretches of a bar of 100."""
    known = {name: float(value) for name, value in seconds.items() if isinstance(value, int | float)}
    known = {name: known[name] for name in sorted(known, key=lambda name: (*_STAGES, name).index(name))}
    total, start, stretches = sum(known.values()) or 1.0, 0.0, []
    for name, value in known.items():
        width = 100 * value / total
        stretches.append({"name": name, "seconds": duration(value), "start": f"{start:.2f}", "width": f"{width:.2f}"})
        start += width
    return stretches


def run(batch: Batch, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return what templates show of a bulk run. Any: texts, times and numbers."""
    total = sum(counts.values())
    parts, start = [], 0
    for status, kind in _PARTS:
        if number := counts.get(status, 0):
            parts.append((kind, start, number))
            start += number
    words = [f"{counts.get('completed', 0):,} of {total:,} done"]
    words += [f"{counts[status]:,} {kind}" for status, kind in _PARTS[1:] if counts.get(status)]
    return {
        "id": batch_id(batch.id),
        "name": batch.name or batch.manifest_key,
        "status": {"open": "takes lines", "in_progress": "runs"}.get(batch.status, batch.status),
        "is_open": batch.status in (BatchStatus.OPEN, BatchStatus.IN_PROGRESS),
        "total": total,
        "parts": parts,
        "words": ", ".join(words),
        "created": batch.created_at,
        "ended": batch.finished_at,
        "left": "",
        "paths": [],
    }


def examples(models: Sequence[str]) -> list[str]:
    """Return prompts to try: of coloured shapes for the small model that ships, which knows nothing else."""
    if "small" in models or "tiny" in models:
        return [
            "a large red circle drifts right over a blue striped field",
            "a small yellow square moves up over a green checkered wall",
            "a large green triangle drifts left over a purple dotted field",
        ]
    return ["a corgi surfing a wave at sunset", "a red fox walks through fresh snow", "waves roll onto a black beach"]


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

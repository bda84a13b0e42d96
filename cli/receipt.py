"""The state and result of a video, in words for people."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from shared.formats import duration
from shared.receipts import Receipt
from shared.results import STAGES

TOLD = {  # fields that `facts` rewords; the others follow under their own names
    "video": {"id", "object", "prompt", "status", "progress", "queue_position", "path", "error", "cache", "usage"}
    | {"size", "seconds", "fps", "num_frames", "num_steps", "num_inference_steps", "step", "mode", "metadata"}
    | {"created_at", "completed_at", "expires_at", "waiting_reason", "seed", "model"}
    | {"inference_time_s", "stage_durations", "peak_memory_mb"},
    "cache": {"path", "explanation", "matched", "donors", "similarity", "steps", "unread", "gpu_seconds_saved"},
    "usage": {"queue_wait_s", "run_s", "seconds_saved", "gpu_seconds", "bytes", "stage_s"},
}


def state(video: Mapping[str, Any]) -> str:
    """Return the state of a video in words, with its place in the queue or its step."""
    if video["status"] == "queued" and video.get("queue_position") is not None:
        reason = video.get("waiting_reason")
        return f"queued, {video['queue_position']} before it" + (f"; {reason}" if reason else "")
    if video["status"] == "in_progress" and video.get("step") is not None:
        return f"step {video['step']} of {video['num_steps']}"
    return str(video["status"])


def facts(video: Mapping[str, Any]) -> dict[str, str]:
    """Return all that the service says about a video, as names and texts for people; nulls are left out.

    Fields that this version does not know follow under their own names, so that nothing of a newer service is hidden.
    """
    receipt, cache, usage = Receipt.of(video), video.get("cache") or {}, video.get("usage") or {}
    told: dict[str, object] = {
        "id": video["id"],
        "model": video.get("model"),
        "prompt": " ".join(str(video["prompt"]).split()),
        "status": state(video),
        "mode": receipt.mode,
        "path": receipt.path,
        "why": cache.get("explanation"),
        "matched": "; ".join(matches(video)),
        "donors": ", ".join(cache.get("donors") or []),
        "similarity": cache.get("similarity"),
        "not read": " ".join(cache.get("unread") or []),
        "seed": video.get("seed"),
        "steps": _steps(video),
        "size": _size(video),
        "asked": _time(video.get("created_at")),
        "ended": _time(video.get("completed_at")),
        "expires": _time(video.get("expires_at")),
        "waited": duration(receipt.queue_wait_s),
        "ran": duration(receipt.run_s),
        "computed": duration(usage.get("gpu_seconds")),
        "stages": ", ".join(_stages(usage)),
        "saved": duration(receipt.saved_s),
        "memory": _mebibytes(video.get("peak_memory_mb")),
        "bytes": usage.get("bytes"),
        "error": _error(video),
        "metadata": _plain(video.get("metadata") or None),
    }
    told |= _rest(video, TOLD["video"]) | _rest(cache, TOLD["cache"]) | _rest(usage, TOLD["usage"])
    return {name: str(value) for name, value in told.items() if value not in (None, "") and value is not False}


def _rest(block: Mapping[str, Any], told: set[str]) -> dict[str, object]:
    return {name: _plain(value) for name, value in block.items() if name not in told}


def _plain(value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else None
    return value


def matches(video: Mapping[str, Any]) -> Iterator[str]:
    """Yield the matches of a prompt: `circle with 'red circle' at 0.97`; just `circle` for identical words."""
    cache = video.get("cache") or {}
    for match in cache.get("matched") or []:
        entity, donor, similarity = match["entity"], match.get("donor_entity"), match.get("similarity")
        with_donor = f" with {donor!r}" if donor else ""
        yield entity if donor == entity and similarity == 1 else f"{entity}{with_donor} at {similarity}"


def _steps(video: Mapping[str, Any]) -> str:
    asked, made = video.get("num_inference_steps"), video.get("num_steps")
    return f"{made} ({asked} asked for)" if asked and made and asked != made else str(made or asked or "")


def _size(video: Mapping[str, Any]) -> str:
    frames = f", {video['num_frames']} frames at {video.get('fps')} a second" if video.get("num_frames") else ""
    return f"{video['size']}{frames}" if video.get("size") else ""


def _stages(usage: Mapping[str, Any]) -> Iterator[str]:
    stages = usage.get("stage_s") or {}
    for name in sorted(stages, key=lambda name: (*STAGES, name).index(name)):
        value = stages[name]
        yield f"{name} {duration(value) if isinstance(value, int | float) else value}"


def _mebibytes(number: object) -> str:
    return f"{number:.0f} MiB at most" if isinstance(number, int | float) else ""


def _time(unix: object) -> str:
    return f"{datetime.fromtimestamp(unix).astimezone():%Y-%m-%d %H:%M:%S %Z}" if isinstance(unix, int | float) else ""


def _error(video: Mapping[str, Any]) -> str:
    error = video.get("error") or {}
    return f"{error.get('message')} ({error['code']})" if error.get("code") else str(error.get("message") or "")

"""What became of a video, read from the API's object: the same facts in the demo's table and in bulk results."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli import output

TOLD = {  # what `facts` tells in words of its own; the rest of the object follows by its own names
    "video": {"id", "object", "prompt", "status", "progress", "queue_position", "path", "error", "cache", "usage"}
    | {"size", "seconds", "fps", "num_frames", "num_steps", "num_inference_steps", "step", "mode", "metadata"}
    | {"created_at", "completed_at", "expires_at", "waiting_reason"},
    "cache": {"path", "explanation", "matched", "donors", "similarity", "steps", "unread"},
    "usage": {"queue_wait_s", "run_s", "seconds_saved", "gpu_seconds", "bytes", "stage_s"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How a video was made and what that took. None where the service does not say."""

    status: str
    mode: str | None  # asked for
    path: str | None  # taken: fast or full
    matched: str  # entities of the prompt that the cache knew
    similarity: float | None  # cosine, of the best match
    num_steps: int | None
    seed: int | None
    queue_wait_s: float | None
    run_s: float | None
    saved_s: float | None  # by a fast run, against measured full ones
    error: str | None

    @classmethod
    def of(cls, video: Mapping[str, Any]) -> "Receipt":
        """Read a video object."""
        cache, usage = video.get("cache") or {}, video.get("usage") or {}
        return cls(
            status=video["status"],
            mode=video.get("mode"),
            path=video.get("path"),
            matched=_matched(cache),
            similarity=cache.get("similarity"),
            num_steps=video.get("num_steps"),
            seed=video.get("seed"),
            queue_wait_s=usage.get("queue_wait_s"),
            run_s=usage.get("run_s"),
            saved_s=usage.get("seconds_saved") if video.get("path") == "fast" else None,
            error=(video.get("error") or {}).get("message"),
        )


def _matched(cache: Mapping[str, Any]) -> str:
    names = cache.get("matched") or []
    return ", ".join(str(name["entity"]) for name in names)


def state(video: Mapping[str, Any]) -> str:
    """Say where a video is, with its place in the queue or its step."""
    if video["status"] == "queued" and video.get("queue_position") is not None:
        reason = video.get("waiting_reason")
        return f"queued, {video['queue_position']} before it" + (f"; {reason}" if reason else "")
    if video["status"] == "in_progress" and video.get("step") is not None:
        return f"step {video['step']} of {video['num_steps']}"
    return str(video["status"])


def facts(video: Mapping[str, Any]) -> dict[str, str]:
    """Return all that the service says about a video, as names and texts for people; what it leaves open is left out.

    Fields that this version does not know follow under their own names: a newer service hides nothing.
    """
    receipt, cache, usage = Receipt.of(video), video.get("cache") or {}, video.get("usage") or {}
    told: dict[str, object] = {
        "id": video["id"],
        "prompt": " ".join(str(video["prompt"]).split()),
        "status": state(video),
        "mode": receipt.mode,
        "path": receipt.path,
        "why": cache.get("explanation"),
        "matched": "; ".join(matches(video)),
        "donors": ", ".join(cache.get("donors") or []),
        "similarity": cache.get("similarity"),
        "not read": " ".join(cache.get("unread") or []),
        "steps": _steps(video),
        "size": _size(video),
        "asked": _time(video.get("created_at")),
        "ended": _time(video.get("completed_at")),
        "expires": _time(video.get("expires_at")),
        "waited": output.seconds(receipt.queue_wait_s),
        "ran": output.seconds(receipt.run_s),
        "computed": output.seconds(usage.get("gpu_seconds")),
        "stages": ", ".join(_stages(usage)),
        "saved": output.seconds(receipt.saved_s),
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
    """Go through what the cache knew of a prompt: `circle with 'red circle' at 0.97`; `circle` for the same words."""
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
    for name, value in (usage.get("stage_s") or {}).items():
        yield f"{name} {output.seconds(value) if isinstance(value, int | float) else value}"


def _time(unix: object) -> str:
    return f"{datetime.fromtimestamp(unix).astimezone():%Y-%m-%d %H:%M:%S %Z}" if isinstance(unix, int | float) else ""


def _error(video: Mapping[str, Any]) -> str:
    error = video.get("error") or {}
    return f"{error.get('message')} ({error['code']})" if error.get("code") else str(error.get("message") or "")

"""The result of a video, from the API's object: the same facts in results, the demo's table and `chai status`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How a video was made and what that took. None for values that the service does not give."""

    status: str
    mode: str | None  # requested
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

"""Requests to job rows, checked against the model's card."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api.errors import BadRequest
from api.explain import shown
from api.schemas.requests import NO_OPS, BatchLine, CreateVideo
from db.models import Job
from db.states import Queue
from shared import captions, prompts, tracing
from shared.model_cards import ModelCard, sides
from shared.numerals import plain

CLEANED_CHARS = 200  # longest prompt that is cleaned while its sender waits: a few milliseconds at most

_SHAPING = (
    "prompt",
    "negative_prompt",
    "model",
    "width",
    "height",
    "num_frames",
    "fps",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "mode",
    "user_metadata",
)


def job(request: CreateVideo, cards: Mapping[str, ModelCard], *, tenant: str, default_model: str) -> Job:
    """Return the interactive job that a request asks for; raise `BadRequest`."""
    card = _card(default_model if request.model is None else request.model, cards)
    _check_prompts(request, card)
    size = _asked_size(request)
    width, height = _size(card.default_size if size is None else size, card)
    fps = request.fps or card.fps
    _check_steps(request.num_inference_steps, card)
    return Job(
        tenant=tenant,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        model=card.name,
        width=width,
        height=height,
        num_frames=_frames(request, fps, card),
        fps=fps,
        seed=request.seed,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        mode=request.mode,
        user_metadata=request.metadata,
        webhook_url=request.webhook_url,
        request=_as_written(request),
        queue=Queue.INTERACTIVE,
        request_hash=fingerprint(request),
        traceparent=tracing.traceparent(),
    )


def line(request: BatchLine, cards: Mapping[str, ModelCard], *, tenant: str, default_model: str, batch_id: UUID) -> Job:
    """Return the bulk job that a line of a batch asks for; raise `BadRequest`."""
    row = job(request, cards, tenant=tenant, default_model=default_model)
    row.queue, row.batch_id, row.custom_id = Queue.BULK, batch_id, request.custom_id
    row.line, row.line_key = request.line, _line_key(row)
    return row


def again(known: Job, cards: Mapping[str, ModelCard]) -> Job:
    """Return an interactive job, of no run, that asks for what an earlier one asked for; raise `BadRequest`.

    Its key is one that no header can carry, so that pressing a button twice makes one video.
    """
    _card(known.model, cards)
    key = f"\N{LEFTWARDS ARROW WITH HOOK} {known.id}"
    same = {name: getattr(known, name) for name in (*_SHAPING, "request", "webhook_url")}
    return Job(
        tenant=known.tenant,
        queue=Queue.INTERACTIVE,
        traceparent=tracing.traceparent(),
        idempotency_key=key,
        **same,
    )


def _line_key(row: Job) -> str:
    """Return a hash of all that shapes a video, with defaults filled in: equal for lines that ask for the same."""
    return hashlib.sha256(json.dumps([getattr(row, name) for name in _SHAPING], sort_keys=True).encode()).hexdigest()


def fingerprint(request: CreateVideo) -> str:
    """Return a hash that is equal for equal requests, whether they came as JSON or as a form."""
    return hashlib.sha256(json.dumps(_plain(request), sort_keys=True).encode()).hexdigest()


def _plain(request: CreateVideo) -> dict[str, Any]:  # Any: JSON values
    values = request.model_dump(exclude_none=True, exclude={*NO_OPS, "width", "height", "line"})
    return values | ({} if (size := _asked_size(request)) is None else {"size": size})


def _as_written(request: CreateVideo) -> dict[str, str]:
    written = {"size": _asked_size(request), "seconds": request.seconds and f"{float(request.seconds):g}"}
    return {name: value for name, value in written.items() if value is not None}


def _card(name: str, cards: Mapping[str, ModelCard]) -> ModelCard:
    if name not in cards:
        known = ", ".join(cards)
        raise BadRequest(f"model {shown(name)} is not here; use {known}", param="model", code="unknown_model")
    return cards[name]


def _check_prompts(request: CreateVideo, card: ModelCard) -> None:
    """Raise `BadRequest` for a prompt of which the model's cleaning leaves nothing, if that shows without the model.

    Long ones are left to the worker, which decides the same: cleaning takes quadratic time.
    """
    if card.family != "opensora":
        return
    for field, prompt in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
        if not prompt or len(prompt) > CLEANED_CHARS:
            continue
        if reason := prompts.refusal(field, prompt, left=captions.prepare_caption(prompt), model=card.name):
            raise BadRequest(reason, param=field, code="invalid_prompt")


def _size(size: str, card: ModelCard) -> tuple[int, int]:
    if size not in card.sizes:
        raise BadRequest(f"size {shown(size)} is none of {card.name}'s; use {', '.join(card.sizes)}", param="size")
    return sides(size)


def _asked_size(request: CreateVideo) -> str | None:
    """Return the size, given in either form; raise `BadRequest` if the two differ or one half is missing."""
    if request.width is None and request.height is None:
        return request.size
    if request.width is None or request.height is None:
        missing, given = ("width", "height") if request.width is None else ("height", "width")
        raise BadRequest(f"{missing} is missing beside {given}; send both, or size", param=missing)
    size = f"{request.width}x{request.height}"
    if request.size not in (None, size):
        raise BadRequest(f"size {shown(request.size)} is not width x height, {size}; send one of them", param="size")
    return size


def _frames(request: CreateVideo, fps: int, card: ModelCard) -> int:
    by_seconds = None if request.seconds is None else _frames_of(request.seconds, fps, card)
    frames = request.num_frames
    if frames is None:
        return card.default_frames if by_seconds is None else by_seconds
    if card.nearest_frames(frames) != frames:
        nearest = card.nearest_frames(frames)
        message = f"num_frames {frames} is not what {card.name} can make; the nearest is {nearest}"
        raise BadRequest(message, param="num_frames")
    if by_seconds not in (None, frames):
        message = f"num_frames {frames} is not seconds x fps, {by_seconds}; send one of them"
        raise BadRequest(message, param="num_frames")
    return frames


def _frames_of(seconds: str, fps: int, card: ModelCard) -> int:
    wanted = _number(seconds, card)
    frames = card.frames_for(wanted, fps)
    if frames is None:
        nearest = card.nearest_frames(wanted * fps) / fps
        raise BadRequest(
            f"seconds {shown(seconds)} is not what {card.name} can make at {fps} frames per second; "
            f"the nearest is {nearest:.3g}",
            param="seconds",
        )
    return frames


def _number(seconds: str, card: ModelCard) -> float:
    try:
        number = float(plain(seconds))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        example = card.default_frames / card.fps
        raise BadRequest(
            f"seconds {shown(seconds)} is not a positive number; try {example:.3g}",
            param="seconds",
        )
    return number


def _check_steps(steps: int | None, card: ModelCard) -> None:
    if steps is not None and steps > card.max_steps:
        raise BadRequest(
            f"num_inference_steps {steps} is more than {card.name} allows; use 1 to {card.max_steps}",
            param="num_inference_steps",
        )

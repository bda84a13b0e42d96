"""What a request becomes: checked against the model's card, then a job row."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api.errors import BadRequest
from api.explain import shown
from api.schemas import BatchLine, CreateVideo
from db.models import Job
from db.states import Queue
from shared.model_cards import ModelCard


def job(request: CreateVideo, cards: Mapping[str, ModelCard], *, tenant: str, default_model: str) -> Job:
    """Return the interactive job that a request asks for; raise `BadRequest`."""
    card = _card(default_model if request.model is None else request.model, cards)
    width, height = _size(card.default_size if request.size is None else request.size, card)
    fps = request.fps or card.fps
    _check_steps(request.num_inference_steps, card)
    return Job(
        tenant=tenant,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        model=card.name,
        width=width,
        height=height,
        num_frames=_frames(request.seconds, fps, card),
        fps=fps,
        seed=request.seed,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        mode=request.mode,
        user_metadata=request.metadata,
        request=_as_written(request),
        queue=Queue.INTERACTIVE,
        request_hash=fingerprint(request),
    )


def line(request: BatchLine, cards: Mapping[str, ModelCard], *, tenant: str, default_model: str, batch_id: UUID) -> Job:
    """Return the bulk job that a line of a batch asks for; raise `BadRequest`."""
    row = job(request, cards, tenant=tenant, default_model=default_model)
    row.queue, row.batch_id, row.custom_id = Queue.BULK, batch_id, request.custom_id
    return row


def fingerprint(request: CreateVideo) -> str:
    """Return a hash that is equal for equal requests, whether they came as JSON or as a form."""
    return hashlib.sha256(json.dumps(_plain(request), sort_keys=True).encode()).hexdigest()


def _plain(request: CreateVideo) -> dict[str, Any]:  # Any: JSON values
    return request.model_dump(exclude_none=True)


def _as_written(request: CreateVideo) -> dict[str, str]:
    written = {"size": request.size, "seconds": request.seconds and f"{float(request.seconds):g}"}
    return {name: value for name, value in written.items() if value is not None}


def _card(name: str, cards: Mapping[str, ModelCard]) -> ModelCard:
    if name not in cards:
        known = ", ".join(cards)
        raise BadRequest(f"model {shown(name)} is not here; use {known}", param="model", code="unknown_model")
    return cards[name]


def _size(size: str, card: ModelCard) -> tuple[int, int]:
    if size not in card.sizes:
        raise BadRequest(f"size {shown(size)} is none of {card.name}'s; use {', '.join(card.sizes)}", param="size")
    width, height = size.split("x")
    return int(width), int(height)


def _frames(seconds: str | None, fps: int, card: ModelCard) -> int:
    if seconds is None:
        return card.default_frames
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
        number = float(seconds)
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

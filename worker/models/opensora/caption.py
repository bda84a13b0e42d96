"""Prompts as Open-Sora 1.2 wants them: score suffixes, loop segments and frame masks written as text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from shared.captions import prepare_caption
from worker.models.base import RequestError

DEFAULT_AESTHETIC_SCORE = 6.5
ALIGN = 5  # frame-mask starts snap to whole chunks of five latent frames


class CaptionError(RequestError):
    """A prompt whose embedded instructions cannot be read; the message says how to write them."""


def append_scores(
    prompt: str, *, aesthetic: float | None = None, motion: float | None = None, camera_motion: str | None = None
) -> str:
    """The prompt with the scores that Open-Sora was trained to read, unless it already names them."""
    suffixes = (
        ("aesthetic score:", None if aesthetic is None else f"{aesthetic:.1f}"),
        ("motion score:", None if motion is None else f"{motion:.1f}"),
        ("camera motion:", camera_motion),
    )
    for label, value in suffixes:
        if value is not None and label not in prompt:
            prompt = f"{prompt} {label} {value}."
    return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a looped prompt."""

    loop: int  # the first loop it is used in
    text: str


def split_loops(prompt: str) -> list[Segment] | None:
    """The segments of "|0| day |3| night", or None for a prompt that does not start with "|0|"."""
    if not prompt.startswith("|0|"):
        return None
    parts = re.split(r"\|(\d+)\|", prompt)[1:]
    return [Segment(loop=int(loop), text=text.strip()) for loop, text in zip(parts[::2], parts[1::2], strict=True)]


def prepare_looped(prompt: str) -> str:
    """The prompt with each of its segments cleaned on its own, loop numbers kept."""
    segments = split_loops(prompt)
    if segments is None:
        return prepare_caption(prompt)
    return "".join(f"|{segment.loop}|{prepare_caption(segment.text)}" for segment in segments)


def prompt_of_loop(prompt: str, loop: int) -> str:
    """What loop number `loop` is to show: the segment that began last."""
    segments = split_loops(prompt)
    if segments is None:
        return prompt
    return [segment.text for segment in segments if segment.loop <= loop][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """A prompt and the options written behind it as JSON."""

    text: str
    reference_path: str = ""
    mask_strategy: str = ""


def split_options(prompt: str) -> PromptOptions:
    """Text and options of 'a cat {"reference_path": "a.png"}'. Raises CaptionError for JSON it cannot use."""
    text, brace, rest = prompt.partition("{")
    if not brace:
        return PromptOptions(text=prompt)
    try:
        options = json.loads(brace + rest)
    except json.JSONDecodeError as error:
        raise CaptionError(f"prompt options {brace + rest!r} are not JSON ({error.msg}); remove the braces") from error
    allowed = {"reference_path", "mask_strategy"}
    if unknown := sorted(set(options) - allowed):
        raise CaptionError(f"prompt options {', '.join(unknown)} are unknown; use {' and '.join(sorted(allowed))}")
    return PromptOptions(text=text, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGroup:
    """Latent frames taken from a reference. Negative starts count from the end."""

    loop: int = 0
    reference: int = 0
    reference_start: int = 0
    target_start: int = 0
    length: int = 1
    edit_ratio: float = 0.0  # noise level at which generation starts: 0 keeps the frames, 1 replaces them


def parse_frame_groups(text: str) -> list[FrameGroup]:
    """The groups of a frame-mask strategy such as "0,0,-3,0,8,0.25;1,0,0,0,5"."""
    return [_parse_group(group) for group in text.split(";")] if text else []


def _parse_group(text: str) -> FrameGroup:
    values = text.split(",")
    names = [field.name for field in fields(FrameGroup)]
    if len(values) > len(names):
        raise CaptionError(
            f"frame group {text!r} has {len(values)} numbers; use at most {len(names)}: {', '.join(names)}"
        )
    try:
        numbers = [
            float(value) if name == "edit_ratio" else int(value) for name, value in zip(names, values, strict=False)
        ]
    except ValueError as error:
        raise CaptionError(
            f"frame group {text!r} holds something that is not a number; use {', '.join(names)}"
        ) from error
    return FrameGroup(**dict(zip(names, numbers, strict=False)))  # type: ignore[arg-type]  # the loop above chose the types


def nearest_start(value: int, step: int, length: int) -> int:
    """The multiple of `step` nearest to `value`; near the end of `length` it is the one below."""
    whole, rest = divmod(value, step)
    if rest > step / 2 and whole < length // step - 1:
        whole += 1
    return whole * step


def apply_frame_groups(
    groups: Sequence[FrameGroup],
    latents: Tensor,
    references: Sequence[Tensor],
    *,
    loop: int = 0,
    align: int | None = ALIGN,
) -> tuple[Tensor, Tensor]:
    """Latents (C, T, h, w) with the frames of the references (C, T_ref, h, w) put in, and the frame mask (T,) float32.

    The mask is 1 where frames are generated and the group's edit ratio where they come from a reference.
    """
    latents = latents.clone()
    mask = latents.new_ones(latents.shape[1]).float()
    for group in (group for group in groups if group.loop == loop):
        reference = references[group.reference]
        source = _start(group.reference_start, reference.shape[1], align)
        target = _start(group.target_start, latents.shape[1], align)
        length = min(group.length, latents.shape[1] - target, reference.shape[1] - source)
        latents[:, target : target + length] = reference[:, source : source + length]
        mask[target : target + length] = group.edit_ratio
    return latents, mask


def _start(value: int, length: int, align: int | None) -> int:
    value = length + value if value < 0 else value
    return value if align is None else nearest_start(value, align, length)

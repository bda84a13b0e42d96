"""Prompts as Open-Sora 1.2 wants them: score suffixes, cleaning, loop segments and frame masks written as text.

The cleaning rules follow diffusers (Apache-2.0, `IFPipeline._clean_caption`) with one difference that the recorded
behaviour of Open-Sora shows: the text is stripped once more after HTML entities are resolved.
"""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias
from urllib.parse import unquote_plus

import ftfy
from bs4 import BeautifulSoup, ParserRejectedMarkup
from torch import Tensor

from worker.models.base import RequestError

Rules: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]

DEFAULT_AESTHETIC_SCORE = 6.5
ALIGN = 5  # frame-mask starts snap to whole chunks of five latent frames


class CaptionError(RequestError):
    """A prompt whose embedded instructions cannot be read; the message says how to write them."""


def _rules(*pairs: tuple[str, str]) -> Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@)"
_URLS = _rules(
    (rf"\b((?:https?:(?:\/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN}))", ""),
    (rf"\b((?:www:(?:\/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN}))", ""),
)
_FILE_ENDINGS = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_DASHES = (
    r"\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40"
    r"\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D"
)
_SYMBOLS = _rules(
    (r"@[\w\d]+\b", ""),  # @names
    (r"[\u31c0-\u31ef]+", ""),  # CJK strokes
    (r"[\u31f0-\u31ff]+", ""),  # katakana extensions
    (r"[\u3200-\u4dff]+", ""),  # enclosed letters, compatibility, ideographs A, hexagrams
    (r"[\u4e00-\u9fff]+", ""),  # ideographs
    (rf"[{_DASHES}]+", "-"),
    (r"[`´«»“”¨]", '"'),
    (r"[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # IP addresses
    (r"\d:\d\d\s+$", ""),  # a clock time at the end, only if blanks follow
    (r"\\n", " "),  # backslash and n, two characters
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.(?:{_FILE_ENDINGS})", ""),  # file names
    (r"[\"\']{2,}", '"'),
    (r"[\.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~\)\(\]\[\}\{\|\\/\*]{1,}", " "),
    (r"\s+\.\s+", " "),
)
_JOINER = re.compile(r"[-_]")
_MAX_JOINERS = 3  # a text with more is a file name or a slug
_JUNK = _rules(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILE_ENDINGS})(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),  # 1920x1080, also with a Cyrillic x
    (r"\b\s+\:\s+", ": "),
    (r"(\D[,\./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"\']([\w\W]+)[\"\']$", r"\1"),
    (r"^[\'\_,\-\:;]", ""),
    (r"[\'\_,\-\:\-\+]$", ""),
    (r"^\.\S+$", ""),
)


def prepare_caption(prompt: str) -> str:
    """The text that the tokenizer gets: cleaned twice, because one pass leaves what it uncovers itself."""
    return clean_caption(clean_caption(prompt))


def clean_caption(text: str) -> str:
    """One pass of cleaning: lower case, without links, markup, identifiers, shop phrases and odd punctuation."""
    text = unquote_plus(text).strip().lower().replace("<person>", "person")
    text = _apply(_SYMBOLS, _without_markup(_apply(_URLS, text)))
    if len(_JOINER.findall(text)) > _MAX_JOINERS:
        text = _JOINER.sub(" ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _apply(_JUNK, text).strip()


def _apply(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _without_markup(text: str) -> str:
    # The empty tag keeps Beautiful Soup from warning that a prompt looks like a file name, a link or XML.
    try:
        return BeautifulSoup(f"<i></i>{text}", features="html.parser").text
    except ParserRejectedMarkup:  # such as "<![if": not markup after all
        return text


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

"""The demo's picture: videos as filmstrips, one line per prompt, with gaps and arrows in the direction of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

FRAME = 96  # pixels, height of a frame on the sheet
NUM_FRAMES = 4  # of a strip: the first, the last, and two between
GAP = 18  # between two frames, with an arrow in it
BETWEEN = 36  # between two strips
MARGIN = 20
LINE = 17  # height of a line of text
INK, PALE, PAPER, RULE = (25, 25, 25), (110, 110, 110), (255, 255, 255), (215, 215, 215)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One video of a line."""

    file: Path | None  # None leaves the place empty
    caption: str  # below it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prompt: its text, its result, and as many strips as the sheet has columns."""

    title: str
    facts: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    frames: tuple[Image.Image, ...]
    at_s: tuple[float, ...]


def sheet(title: str, columns: Sequence[str], rows: Sequence[Row], file: Path) -> None:
    """Draw all rows into one PNG."""
    films = [[_film(strip.file) if strip.file else None for strip in row.strips] for row in rows]
    widths = [_width([line[column] for line in films]) for column in range(len(columns))]
    lefts = [MARGIN + sum(widths[:column]) + BETWEEN * column for column in range(len(columns))]
    top, height = MARGIN + 3 * LINE, 4 * LINE + FRAME + MARGIN
    width = lefts[-1] + widths[-1] + MARGIN
    picture = Image.new("RGB", (width, top + height * len(rows)), PAPER)
    pen = ImageDraw.Draw(picture)
    _write(pen, (MARGIN, MARGIN - 6), title, size=15)
    for left, name in zip(lefts, columns, strict=True):
        _write(pen, (left, MARGIN + LINE + 4), name, size=13)
    for number, (row, line) in enumerate(zip(rows, films, strict=True)):
        y = top + number * height
        pen.line((MARGIN, y, width - MARGIN, y), fill=RULE)
        _write(pen, (MARGIN, y + 5), row.title, size=14)
        _write(pen, (MARGIN, y + 5 + LINE), row.facts, colour=PALE)
        for left, room, strip, film in zip(lefts, widths, row.strips, line, strict=True):
            _draw(picture, pen, film, strip.caption, left=left, top=y + 8 + 2 * LINE, room=room)
    picture.save(file, optimize=True)


def _film(file: Path) -> _Film:
    """Read the frames that a strip shows, with their times."""
    with av.open(str(file)) as container:
        decoded = list(container.decode(video=0))
    frames = [(Image.fromarray(frame.to_ndarray(format="rgb24")), float(frame.time or 0.0)) for frame in decoded]
    last, number = len(frames) - 1, min(NUM_FRAMES, len(frames))
    chosen = [frames[round(place * last / max(number - 1, 1))] for place in range(number)]
    scaled = (image.resize((round(image.width * FRAME / image.height), FRAME), _filter(image)) for image, _ in chosen)
    return _Film(frames=tuple(scaled), at_s=tuple(at for _, at in chosen))


def _filter(image: Image.Image) -> Image.Resampling:
    """Small frames keep their pixels, large ones are smoothed."""
    return Image.Resampling.NEAREST if image.height < FRAME else Image.Resampling.LANCZOS


def _width(films: Sequence[_Film | None]) -> int:
    shown = [sum(frame.width + GAP for frame in film.frames) - GAP for film in films if film]
    return max(shown, default=NUM_FRAMES * (FRAME + GAP) - GAP)


def _draw(
    picture: Image.Image, pen: ImageDraw.ImageDraw, film: _Film | None, caption: str, *, left: int, top: int, room: int
) -> None:
    if film is None:
        pen.rectangle((left, top, left + room, top + FRAME), outline=RULE)
    x = left
    for number, (frame, at_s) in enumerate(zip(film.frames, film.at_s, strict=True) if film else ()):
        if number:
            middle = top + FRAME // 2
            pen.line((x - GAP + 3, middle, x - 6, middle), fill=PALE, width=2)
            pen.polygon(((x - 4, middle), (x - 10, middle - 4), (x - 10, middle + 4)), fill=PALE)
        picture.paste(frame, (x, top))
        _write(pen, (x, top + FRAME + 2), f"{at_s:.2f} s", size=11, colour=PALE)
        x += frame.width + GAP
    _write(pen, (left, top + FRAME + 2 + LINE - 2), _cut(pen, caption, room), colour=PALE)


def _cut(pen: ImageDraw.ImageDraw, text: str, room: int, size: int = 12) -> str:
    while text and pen.textlength(text, font=ImageFont.load_default(size)) > room:
        text = text[:-2] + "…"
    return text


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    size: int = 12,
    colour: tuple[int, int, int] = INK,
) -> None:
    pen.text(at, text, fill=colour, font=ImageFont.load_default(size))

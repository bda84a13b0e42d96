"""Clips side by side for viewing: as a PNG, and as a page with the videos themselves."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Frames = NDArray[np.uint8]  # (T, H, W, 3)

_LEAST, _MOST = 96, 160  # pixels of a tile's side: small clips are drawn larger, large ones smaller
_MARGIN = 4
_TEXT = 14


def sheet(names: Sequence[str], lines: Sequence[tuple[str, Sequence[Frames | None]]]) -> Image.Image:
    """Draw the first, middle and last frames of clips: a line per text, a column per name; None leaves a gap."""
    tiles = [(text, [None if clip is None else _tile(clip) for clip in clips]) for text, clips in lines]
    widest = max(tile.width for _, row in tiles for tile in row if tile)
    tallest = max(tile.height for _, row in tiles for tile in row if tile)
    height, width = tallest + _TEXT + _MARGIN, widest + 3 * _MARGIN
    drawn = Image.new("RGB", (width * len(names) + _MARGIN, height * len(lines) + _TEXT + 2), "white")
    pen = ImageDraw.Draw(drawn)
    for column, name in enumerate(names):
        pen.text((column * width + _MARGIN, 2), _fitting(pen, name, width - _MARGIN), fill="black")
    for line, (text, row) in enumerate(tiles):
        top = _TEXT + 2 + line * height
        pen.text((_MARGIN, top), text, fill="black")
        for column, tile in enumerate(row):
            if tile:
                drawn.paste(tile, (column * width + _MARGIN, top + _TEXT - 1))
    return drawn


def _fitting(pen: ImageDraw.ImageDraw, text: str, width: int) -> str:
    while text and pen.textlength(text) > width:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    return text


def _tile(clip: Frames) -> Image.Image:
    """Return three frames of a clip (T, H, W, 3) side by side."""
    frames = [Image.fromarray(clip[i]) for i in (0, len(clip) // 2, -1)]
    width, height = frames[0].size
    times = max(1, _LEAST // max(width, height))
    size = (width * times, height * times)
    if max(size) > _MOST:
        shrunk = _MOST / max(size)
        size = (max(1, round(size[0] * shrunk)), max(1, round(size[1] * shrunk)))
    drawn = Image.new("RGB", (size[0] * len(frames), size[1]))
    for i, frame in enumerate(frames):
        way = Image.Resampling.NEAREST if times > 1 else Image.Resampling.LANCZOS
        drawn.paste(frame.resize(size, way), (i * size[0], 0))
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A prompt on the page, and its videos by column, as paths relative to the page."""

    text: str
    videos: Mapping[str, str]


_STYLE = (
    "body{font:15px system-ui;margin:2em;color-scheme:light dark}table{border-collapse:collapse}"
    "td,th{padding:.25em .7em;text-align:left;vertical-align:top;border-bottom:1px solid #8884}"
    "video{width:220px}"
)


def page(
    title: str,
    said: Sequence[str],
    columns: Sequence[str],
    measured: Sequence[Sequence[str]],
    shown: Sequence[str],
    rows: Sequence[Row],
) -> str:
    """Return an HTML page: sentences, the table of what was measured, and a row of videos for each prompt."""
    body = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(text)}</p>" for text in said)]
    body += ["<table>", _cells("th", columns), *(_cells("td", line) for line in measured), "</table>"]
    body += ["<h2>Videos</h2><table>", _cells("th", ["prompt", *shown])]
    for row in rows:
        videos = (_player(row.videos.get(name)) for name in shown)
        body.append(f"<tr><td>{html.escape(row.text)}</td>{''.join(videos)}</tr>")
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return "\n".join([head, *body, "</table>"])


def _cells(kind: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(text)}</{kind}>" for text in texts) + "</tr>"


def _player(file: str | None) -> str:
    if file is None:
        return "<td></td>"
    return f'<td><video src="{html.escape(file)}" controls loop muted preload="metadata"></video></td>'


def write_sheets(
    folder: Path, names: Sequence[str], lines: Sequence[tuple[str, Sequence[Frames | None]]], *, a_sheet: int = 8
) -> list[Path]:
    """Write sheets of a few lines each; return the files."""
    files = []
    for start in range(0, len(lines), a_sheet):
        files.append(folder / f"sheet-{start // a_sheet + 1:02}.png")
        sheet(names, lines[start : start + a_sheet]).save(files[-1], optimize=True)
    return files

"""Plots as inline SVG: self-contained bars and lines, light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 230, 44, 34, 22
COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#64748b")


def bars(values: Sequence[tuple[str, float]], *, unit: str, mark: tuple[float, str] | None = None) -> str:
    """Return vertical bars by name, none for values below 0; nothing if no value is above 0.

    `mark` is a line between bars: the number of bars before it, and its name.
    """
    top = max((value for _, value in values), default=0.0)
    if top <= 0:
        return ""
    step = (WIDTH - LEFT) / len(values)
    parts = [_axis(top, unit)]
    every = _every(values[0][0], step)
    for place, (name, value) in enumerate(values):
        height = (HEIGHT - BOTTOM - TOP) * max(0.0, value) / top
        x = LEFT + place * step
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" width="{step * 0.8:.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[0]}"><title>{escape(name)}: {value:g} {escape(unit)}</title></rect>'
        )
        if place % every == 0:
            parts.append(_word(x + step / 2, HEIGHT - BOTTOM + 14, name))
    if mark is not None:
        x = LEFT + mark[0] * step
        parts.append(f'<path d="M{x:.1f} 4V{HEIGHT - BOTTOM}" stroke="{COLOURS[4]}" stroke-dasharray="4 3"/>')
        parts.append(_word(x, HEIGHT - 4, mark[1]))
    return _svg(parts)


def lines(series: Mapping[str, Sequence[float]], names: Sequence[str], *, unit: str) -> str:
    """Return one line for each series over named places, with a legend."""
    if not names or not series:
        return ""
    top = max(*(value for values in series.values() for value in values), 1e-9)
    step = (WIDTH - LEFT - 120) / max(1, len(names) - 1)
    parts = [_axis(top, unit)]
    every = _every(max(names, key=len), step)
    parts += [
        _word(LEFT + place * step, HEIGHT - BOTTOM + 14, name) for place, name in enumerate(names) if place % every == 0
    ]
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(LEFT + k * step, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * v / top) for k, v in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{escape(name)}, {escape(names[k])}: '
            f"{values[k]:.4g} {escape(unit)}</title></circle>"
            for k, (x, y) in enumerate(points)
        ]
        y = 16 + 16 * number
        parts.append(f'<rect x="{WIDTH - 108}" y="{y - 8}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - 94}" y="{y}">{escape(name)}</text>')
    return _svg(parts)


def _every(name: str, step: float) -> int:
    """Return n so that labelling every n-th place keeps labels from touching."""
    return max(1, math.ceil((7 * len(name) + 8) / step))


def _axis(top: float, unit: str) -> str:
    base = HEIGHT - BOTTOM
    return (
        f'<path d="M{LEFT} 4V{base}H{WIDTH}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">{top:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{LEFT + 6}" y="12" opacity=".7">{escape(unit)}</text>'
    )


def _word(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="11" fill="currentColor" '
        f'style="max-width:{WIDTH}px;width:100%">{"".join(parts)}</svg>'
    )

"""Learning curves as an SVG picture: loss and validation score over epochs, phases marked.

Drawn by hand, since none of the package's dependencies writes a picture file without a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from recbole_cadmr.files import write_aside

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 240, 64, 16, 28, 34
_COLOURS = {"pretrain": "#7a7a7a", "finetune": "#1f6fb4", "weight": "#b4531f"}


def learning_curves(history: Sequence[Mapping[str, Any]], metric: str, path: Path) -> None:
    """Draw the history of a run (see ``RunTrainer.history``) to ``path``."""
    panels = [(f"validation {metric}", [(e["phase"], e["epoch"], e["valid_score"]) for e in history])]
    losses = [(e["phase"], e["epoch"], sum(e["losses"].values())) for e in history if e["losses"]]
    panels.append(("training loss", losses))
    drawn = [_panel(title, points, index * _HEIGHT) for index, (title, points) in enumerate(panels) if points]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {max(len(drawn), 1) * _HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(drawn)}</svg>\n"
    )
    with write_aside(path) as temporary:
        temporary.write_text(svg, encoding="utf-8")


def _panel(title: str, points: Sequence[tuple[str, int, float]], top: int) -> str:
    epochs, values = [p[1] for p in points], [p[2] for p in points]
    low, high, first, last = min(values), max(values), min(epochs), max(epochs)
    if high == low:
        low, high = low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9

    def x(epoch: float) -> float:
        return _LEFT + (epoch - first) / max(last - first, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return top + _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    bottom = top + _HEIGHT - _BOTTOM
    parts = [f'<text x="{_LEFT}" y="{top + 18}" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        value = low + (high - low) * step / 4
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for epoch in sorted({round(first + (last - first) * step / 5) for step in range(6)}):
        parts.append(f'<text x="{x(epoch):.1f}" y="{bottom + 16}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{bottom + 30}" text-anchor="end">epoch</text>')
    for index, phase in enumerate(dict.fromkeys(p[0] for p in points)):
        line = " ".join(f"{x(e):.1f},{y(v):.1f}" for p, e, v in points if p == phase)
        colour = _COLOURS.get(phase, "#1f6fb4")
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        legend = _WIDTH - _RIGHT - 90 * index
        parts.append(f'<text x="{legend}" y="{top + 18}" text-anchor="end" fill="{colour}">{escape(phase)}</text>')
    return "".join(parts)

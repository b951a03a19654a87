"""Learning curves as an SVG picture: loss and validation score over epochs, each kind of phase in a column of its own.

Drawn by hand, since none of the package's dependencies writes a picture file without a browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from recbole_cadmr.files import write_text
from recbole_cadmr.formatting import short
from recbole_cadmr.runs.result import RunResult, headline
from recbole_cadmr.training.contents import Validation

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 230, 64, 16, 28, 34
_HEAD, _FEWEST_POINTS = 30, 2
_LETTER = 6.3  # width of a letter of a label, on average
_LEAST_SHARE = 0.35  # of the width, for a phase of few epochs beside a long one, or 1 / (phases + 1) if that is less
_COLOURS = {"pretrain": "#7a7a7a", "finetune": "#1f6fb4", "weight": "#b4531f"}

_Points = Sequence[tuple[str, int, float]]  # of a phase, at an epoch, a value


def learning_curves(result: RunResult, path: Path) -> bool:
    """Draw the history of a run to ``path``; returns whether there is anything to draw: not of a single fit."""
    history = [entry for entry in result["history"] if entry["valid_score"] is not None]
    if len(history) < _FEWEST_POINTS:
        return False
    kinds = dict.fromkeys(_kind(entry) for entry in history)
    phases = {name: [entry for entry in history if _kind(entry) == name] for name in kinds}
    has_losses = any(entry["losses"] for entry in history)
    scores = [_score(entry) for entry in history]
    limits = min(scores), max(scores)
    best = result["best_epoch"], result["best_valid_score"]
    parts, left = [], 0.0
    for name, entries in phases.items():
        width = _WIDTH * _share(len(entries), len(history), len(phases))
        panel = _Panel(left, width, _COLOURS.get(name, "#1f6fb4"))
        metric = result["protocol"]["valid_metric"].lower()
        title = f"{name}: validation {metric}"
        measured = [(e["phase"], e["epoch"], _score(e)) for e in entries]
        parts.append(panel.drawn(title, measured, _place(best, entries), _HEAD, limits))
        if lost := [entry for entry in entries if entry["losses"]]:
            losses = [(e["phase"], e["epoch"], _loss(e)) for e in lost]
            parts.append(panel.drawn(f"{name}: training loss", losses, _place(best, lost), _HEAD + _HEIGHT))
        left += width
    title = escape(short(headline(result), 80))
    height = _HEAD + _HEIGHT * (1 + has_losses)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="{_LEFT}" y="22" font-size="15">{title}</text>{"".join(parts)}</svg>\n'
    )
    write_text(path, svg)
    return True


def _place(best: tuple[Any, Any], entries: Sequence[Validation]) -> int | None:
    """Which of these is the best epoch with its score: of several, the latest, which was kept."""
    places = (n for n, entry in enumerate(entries) if (entry["epoch"], entry["valid_score"]) == best)
    return max(places, default=None)


def _score(entry: Validation) -> float:
    return float(entry["valid_score"] or 0.0)


def _loss(entry: Validation) -> float:
    return sum(float(part or 0.0) for part in entry["losses"].values())


def _kind(entry: Validation) -> str:
    """The phase of a validation, without the number of one of several trainings."""
    return entry["phase"].rstrip("0123456789 ") or entry["phase"]


def _share(part: int, whole: int, n_phases: int) -> float:
    """Share of the width that a phase of ``part`` of ``whole`` validations gets, no phase next to nothing."""
    least = min(_LEAST_SHARE, 1 / (n_phases + 1))
    return least + (1 - n_phases * least) * part / whole


def round_ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, at steps of 1, 2 or 5 times a power of ten.

    Args:
        whole: steps of whole numbers alone.
    """
    least = max((high - low) / most, 1 if whole else 1e-12)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


@dataclass(frozen=True)
class _Panel:
    """A column of the picture: where it begins, how wide it is, and its colour."""

    begin: float
    width: float
    colour: str

    def drawn(
        self, title: str, points: _Points, mark: int | None, top: int, limits: tuple[float, float] | None = None
    ) -> str:
        """A curve over its epochs, or points of one, the ``mark``-th of which is marked.

        Args:
            limits: between which values lie, if not those of the curve.
        """
        epochs, values = [epoch for _, epoch, _ in points], [value for *_, value in points]
        (low, high), first, last = limits or (min(values), max(values)), min(epochs), max(epochs)
        if high == low:
            low, high = low - 0.05 * abs(low) - 1e-9, high + 0.05 * abs(high) + 1e-9
        left, right = self.begin + _LEFT, self.begin + self.width - _RIGHT
        bottom = top + _HEIGHT - _BOTTOM

        def x(epoch: float) -> float:
            return (left + right) / 2 if last == first else left + (epoch - first) / (last - first) * (right - left)

        def y(value: float) -> float:
            return top + _TOP + (high - value) / (high - low) * (bottom - top - _TOP)

        parts = [f'<text x="{left}" y="{top + 18}" font-weight="bold">{escape(title)}</text>']
        for value in round_ticks(low, high, 5):
            parts.append(f'<path d="M{left} {y(value):.1f}H{right:.1f}" stroke="#e4e4e4"/>')
            parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.6g}</text>')
        for epoch in round_ticks(first, last, max(int((right - left) / 60), 1), whole=True):
            parts.append(f'<text x="{x(epoch):.1f}" y="{bottom + 16}" text-anchor="middle">{epoch:.0f}</text>')
        parts.append(f'<text x="{right:.1f}" y="{bottom + 30}" text-anchor="end">epoch</text>')
        for phase in dict.fromkeys(name for name, *_ in points):
            line = [f"{x(epoch):.1f},{y(value):.1f}" for name, epoch, value in points if name == phase]
            # A point alone is a line to itself, which its round ends make visible.
            for ends in [line] if first < last and len(line) > 1 else ([point, point] for point in line):
                stroke = f'stroke="{self.colour}" stroke-width="{1.8 if ends is line else 4}" stroke-linecap="round"'
                parts.append(f'<polyline points="{" ".join(ends)}" fill="none" {stroke}/>')
        if mark is not None:
            epoch, value = epochs[mark], values[mark]
            at = x(epoch)
            parts.append(f'<path d="M{at:.1f} {top + _TOP}V{bottom}" stroke="#b03030" stroke-dasharray="3 3"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(value):.1f}" r="4" fill="none" stroke="#b03030"/>')
            if limits:
                label = f"best: {value:.4f} in epoch {epoch}"
                wide, edge = _LETTER * len(label), right + _RIGHT
                begin = at + 8 if at + 8 + wide <= edge else max(min(at - 8, edge) - wide, self.begin)
                parts.append(f'<text x="{begin:.1f}" y="{bottom - 8}" fill="#b03030">{label}</text>')
        return "".join(parts)

"""Learning curves as an SVG picture: loss and validation score over epochs, each kind of phase in a column of its own.

Drawn by hand, since none of the package's dependencies writes a picture file without a browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from recbole_cadmr.files import write_aside
from recbole_cadmr.formatting import short
from recbole_cadmr.runs.result import RunResult, headline
from recbole_cadmr.training.contents import Validation

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 230, 64, 16, 28, 34
_HEAD, _FEWEST_POINTS = 30, 2
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
        mark = next((e["epoch"] for e in entries if (e["epoch"], e["valid_score"]) == best), None)
        panel = _Panel(left, width, mark, _COLOURS.get(name, "#1f6fb4"))
        metric = result["protocol"]["valid_metric"].lower()
        title = f"{name}: validation {metric}"
        measured = [(e["phase"], e["epoch"], _score(e)) for e in entries]
        parts.append(panel.drawn(title, measured, _HEAD, limits))
        if losses := [(e["phase"], e["epoch"], _loss(e)) for e in entries if e["losses"]]:
            parts.append(panel.drawn(f"{name}: training loss", losses, _HEAD + _HEIGHT))
        left += width
    title = escape(short(headline(result), 80))
    height = _HEAD + _HEIGHT * (1 + has_losses)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="{_LEFT}" y="22" font-size="15">{title}</text>{"".join(parts)}</svg>\n'
    )
    with write_aside(path) as temporary:
        temporary.write_text(svg, encoding="utf-8")
    return True


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
    """A column of the picture: where it begins, how wide it is, the epoch that is marked in it, and its colour."""

    begin: float
    width: float
    mark: int | None
    colour: str

    def drawn(self, title: str, points: _Points, top: int, limits: tuple[float, float] | None = None) -> str:
        """A curve over its epochs; its values lie between ``limits``, those of others if given."""
        epochs, values = [epoch for _, epoch, _ in points], [value for *_, value in points]
        (low, high), first, last = limits or (min(values), max(values)), min(epochs), max(epochs)
        if high == low:
            low, high = low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9
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
            ends = " ".join(line if len(line) > 1 else 2 * line)
            stroke = f'stroke="{self.colour}" stroke-width="1.8" stroke-linecap="round"'
            parts.append(f'<polyline points="{ends}" fill="none" {stroke}/>')
        if self.mark in epochs:
            value = values[epochs.index(self.mark)]
            at = x(self.mark)
            parts.append(f'<path d="M{at:.1f} {top + _TOP}V{bottom}" stroke="#b03030" stroke-dasharray="3 3"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(value):.1f}" r="4" fill="none" stroke="#b03030"/>')
            if limits:
                end = "end" if at > (left + right) / 2 else "start"
                shift = -8 if end == "end" else 8
                label = f"best: {value:.4f} in epoch {self.mark}"
                parts.append(
                    f'<text x="{at + shift:.1f}" y="{bottom - 8}" fill="#b03030" text-anchor="{end}">{label}</text>'
                )
        return "".join(parts)

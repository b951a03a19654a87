"""The README's picture, drawn from the tables of Baby in results.md: python -m tools.accuracy_against_time

What is in no table is not in the picture: no figure stands here.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import NamedTuple

from tools.docs_site.result_tables import rows_of

DOCS = Path(__file__).parents[1] / "docs"
PICTURE = DOCS / "accuracy_against_time.svg"
METRIC, DATA_SET = "recall@20", "baby"

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 460, 52, 24, 58, 62
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_TICKS = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}
_OURS, _OTHERS, _GRID, _TEXT = "#1f6fb4", "#6b6b6b", "#e4e4e4", "#222222"
_RADIUS, _LINE, _CAPITAL, _SMALL = 5, 14, 8.8, 6.4  # of a point; of a label's line and letters


class Result(NamedTuple):
    """A row of a table."""

    model: str
    value: float  # of METRIC on the test part, the mean over seeds
    seconds: float  # of training

    @property
    def is_ours(self) -> bool:
        """Whether it is of the CADMR family."""
        return "CADMR" in self.model


def results(markdown: str) -> list[Result]:
    """The rows of all tables of the data set that have both columns."""
    found = []
    for row in rows_of(markdown):
        if next(iter(row)) == DATA_SET and {METRIC, "training"} <= row.keys():
            amount, unit = row["training"].split()
            found.append(Result(_name(row), float(row[METRIC].split()[0]), float(amount) * _SECONDS[unit]))
    return found


def _name(row: dict[str, str]) -> str:
    name, _, settings = row[DATA_SET].partition(" ")
    if preset := row.get("preset"):
        return f"{name} ({preset})"
    return f"{name} (searched)" if "=" in settings else row[DATA_SET]


def _x(seconds: float, first: float, last: float) -> float:
    share = math.log(seconds / first) / math.log(last / first)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _places(points: list[tuple[float, float]], labels: list[str]) -> list[tuple[str, float, float]]:
    """Where each label stands (anchor, x, base line): close to its point, on no other label or point if that can be."""
    taken = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in points]
    places = []
    for (x, y), label in zip(points, labels, strict=True):
        width = sum(_CAPITAL if letter.isupper() else _SMALL for letter in label)
        gap = _RADIUS + 3
        sides = [("start", x + gap), ("end", x - gap)]
        tried = [(anchor, at, y + 4 + down) for down in (0, 7, -7, 14, -14) for anchor, at in sides]
        tried += [("middle", x, y - gap - 2), ("middle", x, y + gap + 11)]
        boxes = []
        for anchor, at, base in tried:
            left = at - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            boxes.append((left, base - _LINE + 4, left + width, base + 3))
        met = [sum(_meet(box, one) for one in taken) + (box[0] < _LEFT or box[2] > _WIDTH) for box in boxes]
        best = met.index(min(met))
        taken.append(boxes[best])
        places.append(tried[best])
    return places


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def drawn(rows: list[Result]) -> str:
    """The picture as SVG: the same rows give the same text."""
    rows = sorted(rows, key=lambda row: -row.value)
    first, last = min(row.seconds for row in rows) / 1.8, max(row.seconds for row in rows) * 2.2
    top = math.ceil(max(row.value for row in rows) * 50) / 50
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for tenth in range(int(top * 50) + 1):
        y = bottom - tenth / 50 / top * (bottom - _TOP)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 50:.2f}</text>')
    for seconds, name in _TICKS.items():
        if first <= seconds <= last:
            x = _x(seconds, first, last)
            parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{_GRID}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{name}</text>')
    points = [(_x(row.seconds, first, last), bottom - row.value / top * (bottom - _TOP)) for row in rows]
    labels = _places(points, [row.model for row in rows])
    for row, (x, y), (anchor, left, base) in zip(rows, points, labels, strict=True):
        colour, weight = (_OURS, "bold") if row.is_ours else (_OTHERS, "normal")
        place = f'x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
        shown = escape(f"{row.model}: {row.value:.4f}, {row.seconds:g} s")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" fill="{colour}"><title>{shown}</title></circle>')
        parts.append(f"<text {place}>{escape(row.model)}</text>")
    title = f"Amazon Baby: {METRIC} on test against training time"
    note = f"{METRIC}, higher is better; of the CADMR family in blue"
    x_name = "training time (logarithmic); every point was measured with this package, none is copied from a paper"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="{_TEXT}"><title>{title}</title>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{_LEFT}" y="22" font-size="15">{title}</text>\n<text x="{_LEFT}" y="42">{note}</text>\n'
        + "\n".join(parts)
        + f'\n<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{x_name}</text>'
        + "\n</svg>\n"
    )


def main() -> None:
    """Draw the picture anew."""
    PICTURE.write_text(drawn(results((DOCS / "results.md").read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()

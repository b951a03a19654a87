"""The values that a setting took, as places on a line: for charts, and for what reckons with numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WIDE = 20  # times the least value; what spans more is looked at by its logarithm


@dataclass(frozen=True)
class Axis:
    """Where values lie.

    Attributes:
        places: one a value: the number, its logarithm (base 10), or the index among the choices.
        kind: ``linear``, ``log`` or ``choice``.
        distinct: the values, each once, in the order of their places.
    """

    places: list[float]
    kind: str
    distinct: list[Any]


def axis_of(values: Sequence[Any]) -> Axis:
    """An axis for values of any kind; the same values in another order give the same places."""
    by_key = {key_of(value): value for value in values}
    distinct = sorted(by_key.values(), key=_order)
    if not all(is_number(value) for value in distinct):
        index = {key_of(value): float(place) for place, value in enumerate(distinct)}
        return Axis([index[key_of(value)] for value in values], "choice", distinct)
    if distinct and distinct[0] > 0 and distinct[-1] > _WIDE * distinct[0]:
        return Axis([math.log10(value) for value in values], "log", distinct)
    return Axis([float(value) for value in values], "linear", distinct)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; a bool is a choice."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def key_of(value: Any) -> str:
    """The same text for the same value; lists and mappings have no hash."""
    return json.dumps(float(value) if is_number(value) else value, sort_keys=True, default=str)


def text_of(value: Any) -> str:
    """A value as a person reads it; numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _order(value: Any) -> tuple[int, float, str]:
    if is_number(value):
        return 1, float(value), ""
    return (0 if value is None else 2 if isinstance(value, str) else 3), 0.0, key_of(value)

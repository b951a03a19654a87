"""Settings to try: random search over a space of choices, chosen by validation."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from recbole_cadmr.config.declarations import read_yaml
from recbole_cadmr.errors import UserError


def read_space(model: str, preset: str | None = None) -> dict[str, list[Any]]:
    """The choices of each setting that is worth searching, from ``properties/space/``; {} if there is no file.

    Args:
        preset: a preset may have a space of its own, ``MODEL.PRESET.yaml``, in place of ``MODEL.yaml``.

    Raises:
        UserError: if an entry is not a list of choices.
    """
    folder = files("recbole_cadmr.properties") / "space"
    own = folder / f"{model}.{preset}.yaml"
    file = own if own.is_file() else folder / f"{model}.yaml"
    space = read_yaml(file) if file.is_file() else {}
    for name, choices in space.items():
        if not isinstance(choices, list) or not choices:
            raise UserError(f"{file}: {name} must be a list of choices, not {choices!r}")
    return space


def random_settings(
    space: Mapping[str, Sequence[Any]], n: int, key: str, defaults: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """``n`` different settings to try: first the defaults ({}), then points of the space, drawn without repetition.

    Args:
        defaults: the point of the space, if any, that the defaults are, which is not tried twice.
        key: what the draw depends on; the same key gives the same settings, and the first of more.

    Fewer than ``n`` if the space has no more points.
    """
    names = list(space)
    size = math.prod(len(choices) for choices in space.values()) if names else 0
    drawn = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
    if size <= 10_000:
        points = list(itertools.product(*space.values())) if names else []
        drawn.shuffle(points)
        points = [point for point in points if not _is_default(dict(zip(names, point)), defaults)]
        points = points[: n - 1]
    else:
        found: dict[tuple[int, ...], tuple[Any, ...]] = {}
        while len(found) < n - 1:
            place = tuple(drawn.randrange(len(choices)) for choices in space.values())
            point = tuple(choices[i] for i, choices in zip(place, space.values()))
            if not _is_default(dict(zip(names, point)), defaults):
                found[place] = point
        points = list(found.values())
    return [{}, *(dict(zip(names, point)) for point in points)][:n]


def _is_default(point: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> bool:
    return defaults is not None and all(defaults[name] == value for name, value in point.items())


def best_of(trials: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The settings of the trial with the best validation score; the earlier one of equals.

    Args:
        trials: settings and the content of ``result.json`` of each.
    """
    scores = [result["best_valid_score"] for _, result in trials]
    best = max(range(len(trials)), key=lambda i: (-math.inf if scores[i] is None else scores[i], -i))
    return trials[best][0]

"""What is searched: for each setting choices, or a range; and points drawn from it."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_names, nearest_settings
from recbole_cadmr.config.model_yaml import search_space
from recbole_cadmr.config.rules import OF_MACHINE, without_effect
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.tuning.hyper_file import ENDING, read_hyper_file

_WHOLE, _RANGES = ("randint", "lograndint"), ("uniform", "loguniform", "randint", "lograndint")
_MOST = 1e15  # of an end of a range; greater whole numbers are no exact floats
_MOST_POINTS = 10_000  # of a space that is listed whole to draw from
_MOST_GRID = 100_000
# What a search may not choose, and why.
_PROTOCOL = "it says how results are measured, so that scores could not be compared"
_MACHINE = "it belongs to the machine, not to the model"
_OF_PROTOCOL = (
    "metrics topk valid_metric eval_args benchmark_filename mask_valid_at_test split_seed evaluate_test data_note"
)
_NOT_SEARCHED = {
    **dict.fromkeys(_OF_PROTOCOL.split(), _PROTOCOL),
    **dict.fromkeys(("config_files", *OF_MACHINE), _MACHINE),
    "seed": "a seed picked by its score is luck",
    "model": "search each model by itself, and compare them with benchmark --tune",
    "dataset": "search each data set by itself",
    "preset": "name it with --preset, and search each by itself",
    "settings_schedule": "--scheduler pbt finds one",
}

_GROUPS = ("General", "Evaluation", "Dataset")  # RecBole's, of settings that are not a model's

Point = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """The values of one setting: ``choices``, or all from ``low`` to ``high`` (both may be drawn)."""

    name: str
    choices: tuple[Any, ...] = ()
    kind: str = "choice"
    low: float = 0.0
    high: float = 0.0

    @property
    def values(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return self.kind in _WHOLE

    @property
    def is_logarithmic(self) -> bool:
        """Whether it is a range whose logarithms are drawn evenly."""
        return self.kind.startswith("log")

    @property
    def countable(self) -> Sequence[Any] | None:
        """All values; None if there is no end of them."""
        return range(int(self.low), int(self.high) + 1) if self.is_whole else self.choices or None

    @property
    def size(self) -> float:
        """How many values there are."""
        return math.inf if self.countable is None else len(self.countable)

    @property
    def plain(self) -> Any:
        """As it stands in a yaml file."""
        return list(self.choices) if self.kind == "choice" else {self.kind: [self.low, self.high]}

    def draw(self, source: random.Random) -> Any:
        """One of the values."""
        if self.kind == "choice":
            return self.choices[source.randrange(len(self.choices))]
        if self.kind == "randint":
            return source.randint(int(self.low), int(self.high))
        if self.kind == "uniform":
            return source.uniform(self.low, self.high)
        drawn = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        return round(drawn) if self.kind == "lograndint" else min(max(drawn, self.low), self.high)

    def including(self, default: Any) -> Dimension:
        """The same with the default among its values; choices that are numbers by size, so that neighbours are near.

        Raises:
            UserError: if the default is not of the kind that a range holds.
        """
        if self.kind == "choice":
            choices = [*self.choices, *([] if default in self.choices else [default])]
            return replace(self, choices=tuple(sorted(choices) if all(map(_is_number, choices)) else choices))
        if not _is_number(default):
            raise UserError(f"the default of {self.name} is {default}, which no range holds; list its values instead")
        if self.is_logarithmic and default <= 0:
            raise UserError(f"the default of {self.name} is {default}, which no {self.kind} holds; list its values")
        return replace(self, low=min(self.low, default), high=max(self.high, default))

    def __str__(self) -> str:
        if self.kind == "choice":
            return ", ".join(map(str, self.choices))
        return f"{self.low:g} to {self.high:g} ({self.kind})"


Space = dict[str, Dimension]


def space_left(config: Config, given: str | Path | Mapping[str, Any] | None, fixed: Collection[str]) -> Space:
    """What a search has to choose: the space of the user's, or the package's own, without the settings ``fixed``.

    What has no effect beside the settings that are decided is refused in the user's, and left out of the package's.

    Args:
        given: a yaml file, or its content; the package's own for the model if not given.

    Raises:
        UserError: if it cannot be read, no search should choose some of it, or nothing is left.
    """
    model, origin = config["model"], "the space"
    if isinstance(given, Mapping):
        space = parse_space(current_names(model, given, origin), origin)
    else:
        space = read_space(model, config["preset"], given)
        origin = f"the space of {model}" if given is None else str(given)
    check_space(space, config, origin)
    left = {name: dimension for name, dimension in space.items() if name not in fixed}
    decided = {name: value for name, value in config.final_config_dict.items() if name not in left}
    for name in list(left):
        for sentence in without_effect([name], [decided], config.declarations):
            if given is not None:
                raise UserError(f"{origin}: {sentence}; leave it out of the space")
            logging.getLogger("recbole_cadmr").warning(f"not searched: {sentence}")
            del left[name]
    if not left:
        raise UserError(f"{origin} has nothing left to search: all of its settings are given")
    return left


def read_space(model: str, preset: str | None = None, file: str | Path | None = None) -> Space:
    """The space in a file of the user's, or the package's own beside the model's settings.

    A file ``NAME.hyper`` is read as RecBole's (:mod:`recbole_cadmr.tuning.hyper_file`), any other as yaml: a line a
    setting, ``name: [choices]``, or a range as ``name: {uniform: [low, high]}``; likewise ``loguniform``,
    ``randint`` and ``lograndint`` (whole numbers). Both ends are included.

    Args:
        preset: a preset may have a space of its own in place of the model's.

    Raises:
        UserError: if there is no file, or an entry cannot be read.
    """
    if file is not None:
        if Path(file).is_dir():
            raise UserError(f"{file} is a folder; --space takes a yaml file of settings and their choices")
        content = read_hyper_file(Path(file)) if Path(file).suffix == ENDING else read_yaml(Path(file))
        return parse_space(current_names(model, content, str(file)), str(file))
    if not search_space(model, preset):
        raise UserError(f"there is no space of {model}; write one (name: [choices], a line a setting), give --space")
    return parse_space(search_space(model, preset), f"the space of {model}")


def parse_space(content: Mapping[str, Any], origin: str) -> Space:
    """The space in the content of a yaml file.

    Raises:
        UserError: if it names nothing, or an entry cannot be read.
    """
    if not content:
        raise UserError(f"{origin} names no setting to search; write a line such as learning_rate: [0.001, 0.01]")
    return {name: _dimension(name, entry, origin) for name, entry in content.items()}


def _dimension(name: str, entry: Any, origin: str) -> Dimension:
    kind, ends = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else ("choice", entry)
    if kind == "choice" and isinstance(ends, list) and ends:
        return Dimension(name, tuple({repr(value): value for value in ends}.values()))
    if kind == "choice":
        raise UserError(
            f"{origin}: {name} must be a list of choices, or a range such as {{loguniform: [0.0001, 0.01]}}, "
            f"not {ends!r}"
        )
    if kind not in _RANGES:
        raise UserError(f"{origin}: {name} has an unknown kind of range {kind!r}{did_you_mean(str(kind), _RANGES)}")
    numbers = isinstance(ends, list) and len(ends) == 2 and all(_is_number(end) and abs(end) <= _MOST for end in ends)
    is_positive, is_whole = kind.startswith("log"), kind in _WHOLE
    fits = numbers and ends[0] < ends[1] and (ends[0] > 0 or not is_positive)
    if fits and (not is_whole or all(float(end).is_integer() for end in ends)):
        return Dimension(name, kind=kind, low=ends[0], high=ends[1])
    what = ("whole numbers" if is_whole else "numbers") + (" above 0" if is_positive else "")
    raise UserError(
        f"{origin}: {name} needs two {what}, the lower one first, as {kind}: [1, 8], none beyond {_MOST:g}, "
        f"not {ends!r}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_space(space: Space, config: Config, origin: str) -> None:
    """Refuse a space that names what is no setting, values that are not allowed, or what no search should choose.

    Raises:
        UserError: naming the setting, the nearest known one or what is allowed.
    """
    for dimension in space.values():
        name = dimension.name
        if name in _NOT_SEARCHED:
            raise UserError(f"{origin}: {name} cannot be searched: {_NOT_SEARCHED[name]}")
        if name == "eval_step" or any(name in config.parameters[group] for group in _GROUPS):
            raise UserError(f"{origin}: {name} cannot be searched: {_PROTOCOL}")
        if name not in config.declarations:
            raise UserError(
                f"{origin}: {config['model']} has no setting '{name}'{nearest_settings(name, config.declarations)}"
            )
        for value in dimension.values:
            config.declarations[name].check(value, origin)
        if dimension.kind in ("uniform", "loguniform") and config.declarations[name].types == ("int",):
            raise UserError(f"{origin}: {name} must be a whole number; use randint or lograndint")


def random_points(space: Space, n: int, key: str, defaults: Point) -> list[Point]:
    """``n`` different points: first the defaults, then others drawn without repetition; fewer if there are no more.

    Args:
        key: what the draw depends on; the same key gives the same points, and the first of more.
    """
    source = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
    size = _size(space)
    if size <= _MOST_POINTS:
        listed = list(_all_points(space))
        source.shuffle(listed)
        return [defaults, *(point for point in listed if point != defaults)][:n]
    points = {repr(defaults): defaults}
    while len(points) < min(n, size):
        point = {name: dimension.draw(source) for name, dimension in space.items()}
        points.setdefault(repr(point), point)
    return list(points.values())[:n]


def grid_points(space: Space, defaults: Point) -> list[Point]:
    """The defaults, and all other points.

    Raises:
        UserError: if there is a range, which has no end of points.
    """
    for dimension in space.values():
        if dimension.kind != "choice":
            raise UserError(
                f"a grid needs choices, and {dimension.name} is a range; list its values or use another sampler"
            )
    if _size(space) > _MOST_GRID:
        raise UserError(f"the grid has {_size(space):.3g} points; name fewer choices, or take the random sampler")
    return [defaults, *(point for point in _all_points(space) if point != defaults)]


def _size(space: Space) -> float:
    return math.prod(float(dimension.size) for dimension in space.values())


def _all_points(space: Space) -> Iterator[Point]:
    for values in itertools.product(*(dimension.countable or () for dimension in space.values())):
        yield dict(zip(space, values))

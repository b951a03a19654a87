"""Settings files of the MMRec toolbox, read as settings of this package.

What its settings are called here is listed in ``properties/mmrec.yaml``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Struct, convert, field

from recbole_cadmr.config.yaml_text import read_yaml, shown
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.models.registry import get_model, model_names

_ALL = "every model"
_SEARCHED = "hyper_parameters"  # MMRec's list of the settings whose lists are tried, value by value


class Counterpart(Struct, frozen=True, forbid_unknown_fields=True):
    """What a setting of MMRec's is here.

    Attributes:
        name: of the setting here; None if there is none.
        how: what becomes of its value.
        goes_with: settings that go with it where the files name none of that name. In yaml ``with``.
        none: why it has no counterpart.
        fits: values for which nothing is lost without one; or the setting that it must be equal to.
    """

    name: str | None = None
    how: str = "same"
    goes_with: dict[str, Any] = field(default_factory=dict, name="with")
    none: str = ""
    fits: list[Any] | str = field(default_factory=list)


@dataclass(frozen=True)
class Translation:
    """Settings of MMRec's by the names they have here.

    Attributes:
        settings: with one value each.
        space: choices by setting, where the files list several to be tried.
        notes: what became of the settings, and what has no counterpart, each named once; a sentence each.
    """

    model: str
    settings: dict[str, Any]
    space: dict[str, list[Any]]
    notes: list[str]


def translated(files: Sequence[str | os.PathLike[str]], model: str | None = None) -> Translation:
    """Yaml files of MMRec's (``overall.yaml``, that of a data set, that of a model), in rising priority.

    Args:
        model: by name; if not given, the files' own: MMRec calls the file of a model ``NAME.yaml``.

    Raises:
        UserError: if a file cannot be read, nothing names a model that both have, or a setting is none of MMRec's.
    """
    values: dict[str, Any] = {}
    searched: dict[str, None] = {}
    origin = ", ".join(map(str, files))
    for file in files:
        content = read_yaml(Path(file))
        names = content.pop(_SEARCHED, None) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{file}: {_SEARCHED} must be a list of names, not {shown(names)}")
        values |= content
        searched |= dict.fromkeys([*names, "seed"])
    model = model or next((Path(file).stem for file in reversed(files) if Path(file).stem in model_names()), None)
    if model is None:
        raise UserError(
            f"{origin}: no file is named after a model that MMRec has, too, such as FREEDOM.yaml; give `model` one of "
            f"{', '.join(models_of_both())}"
        )
    table = counterparts(model)
    for name in [*values, *(name for name in searched if name != "seed")]:
        if name not in table:
            near = did_you_mean(name, table) or "; leave it out"
            raise UserError(f"{origin}: MMRec's {model} has no setting {shown(name)}{near}")
    return _translated(model, values, [name for name in searched if name in values], table, origin)


def counterparts(model: str) -> dict[str, Counterpart]:
    """What each of MMRec's settings of a model is here.

    Raises:
        UserError: if there is no such model, or MMRec has none of this name.
    """
    get_model(model)
    table = _table()
    if model not in table:
        both = ", ".join(models_of_both())
        raise UserError(f"{model} is not a model that MMRec has, too; the models of both are {both}")
    return table[_ALL] | table[model]


def models_of_both() -> list[str]:
    """The models that MMRec has, too."""
    return [name for name in _table() if name != _ALL]


@cache
def _table() -> dict[str, dict[str, Counterpart]]:
    content = read_yaml(files("recbole_cadmr.properties") / "mmrec.yaml")
    return {
        model: {
            name: convert({"name": entry} if isinstance(entry, str) else entry, Counterpart)
            for name, entry in entries.items()
        }
        for model, entries in content.items()
    }


def _translated(
    model: str, values: Mapping[str, Any], searched: Sequence[str], table: Mapping[str, Counterpart], origin: str
) -> Translation:
    settings: dict[str, Any] = {}
    space: dict[str, list[Any]] = {}
    lost: dict[str, list[str]] = {}
    renamed: list[str] = []
    for name, value in values.items():
        counterpart, several = table[name], _several(name, value, searched, origin)
        if counterpart.name is None:
            if not all(_fits(one, counterpart, values) for one in several):
                lost.setdefault(counterpart.none, []).append(name)
            continue
        choices = [_converted(one, counterpart.how, f"{origin}: {name}") for one in several]
        before = space.get(counterpart.name, [settings[counterpart.name]] if counterpart.name in settings else None)
        if before is not None:  # two of MMRec's say what is one setting here
            choices = [{**one, **other} for one, other in itertools.product(before, choices)]
        settings.pop(counterpart.name, None)
        if len(choices) > 1:
            space[counterpart.name] = choices
        else:
            settings[counterpart.name] = choices[0]
        if counterpart.name != name:
            renamed.append(f"{name} is {counterpart.name}")
        for other, of_other in counterpart.goes_with.items():
            if other not in values:
                settings[other] = of_other
                renamed.append(f"{name} goes with {other}={of_other}, MMRec's default")
    notes = [f"of {origin}: {'; '.join(renamed)}"] if renamed else []
    notes += [f"{', '.join(names)}: without a counterpart, since {why}" for why, names in lost.items()]
    return Translation(model, settings, space, notes)


def _several(name: str, value: Any, searched: Sequence[str], origin: str) -> list[Any]:
    """The values of a setting that are tried; one if none are listed."""
    if name not in searched or not isinstance(value, list):
        return [value]
    if not value:
        raise UserError(f"{origin}: {name} lists no value to try")
    return value


def _fits(value: Any, counterpart: Counterpart, values: Mapping[str, Any]) -> bool:
    if isinstance(counterpart.fits, str):
        return counterpart.fits in values and value == values[counterpart.fits]
    return value in counterpart.fits


def _converted(value: Any, how: str, origin: str) -> Any:
    try:
        return _HOW[how](value)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise UserError(f"{origin} cannot be {shown(value)}") from error


def _schedule(value: Any) -> str:
    """Of MMRec's [factor, epochs], by which the rate falls, those that there are here."""
    factor, epochs = value
    if factor == 1:
        return "constant"
    if (factor, epochs) == (0.96, 50):
        return "exponential"
    raise ValueError(value)


_HOW: dict[str, Callable[[Any], Any]] = {
    "same": lambda value: value,
    "one minus": lambda value: round(1 - value, 12),
    "image and text": lambda weight: {"image": weight, "text": round(1 - weight, 12)},
    "of image": lambda value: {"image": value},
    "of text": lambda value: {"text": value},
    "length": len,
    "schedule": _schedule,
}


def single_values(
    translation: Translation, given: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Translation:
    """The same for one training, which has one value of each setting.

    Args:
        given: settings that the user gives beside; they decide.
        defaults: of the model; one that is listed is taken.
        prefix: of names of settings, where several models have some.

    Raises:
        UserError: if several values of a setting are listed and nothing says which.
    """
    settings, notes = dict(translation.settings), list(translation.notes)
    for name, choices in translation.space.items():
        listed = ", ".join(map(str, choices))
        if name in given:
            continue
        if defaults.get(name) not in choices:
            others = "take benchmark --seeds for several" if name == "seed" else "search them with tune"
            raise UserError(f"{name} lists {listed}; give one as --{prefix}{name}=VALUE, or {others}")
        settings[name] = defaults[name]
        notes.append(f"{name}={defaults[name]}, the default, is taken of {listed}; tune searches them")
    return Translation(translation.model, settings, {}, notes)

"""A setting is declared once: default, meaning and allowed values in one place.

The yaml files in ``properties/`` hold declarations (``name: {default: ..., meaning: ..., minimum: ...}``).
RecBole's own settings are declared by RecBole's yaml as plain ``name: default``; what a default's type tells
is checked for them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from recbole_cadmr.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from importlib.abc import Traversable

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list": (list, tuple),
    "dict": (dict,),
}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "a word",
    "list": "a list",
    "dict": "a mapping",
}


class SettingsLoader(yaml.SafeLoader):
    """Safe yaml that reads ``1e-3`` as a number, as RecBole's loader does."""


SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
        |\.[0-9_]+(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class Setting:
    """One setting: its default, what it may be, and what it means.

    Attributes:
        types: names out of ``int, float, bool, str, list, dict``; empty if any value will do.
        of: the type of a list's elements, to which the bounds and choices then apply.
        settings_of: name of the model whose settings a mapping holds.
    """

    name: str
    default: Any = None
    types: tuple[str, ...] = ()
    of: str | None = None
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    meaning: str = ""
    has_default: bool = True
    settings_of: str | None = None

    def check(self, value: Any, origin: str) -> None:
        """Raise :class:`UserError` unless ``value`` (given in ``origin``) is allowed."""
        if value is None and (self.default is None or not self.has_default or self.types == ("dict",)):
            return
        if self.types and not any(_is(value, name) for name in self.types):
            wanted = " or ".join(_WORDS[name] for name in self.types)
            raise UserError(f"{origin}: {self.name} must be {wanted}, not {value!r}")
        scalars = list(value) if isinstance(value, (list, tuple)) else [value]
        for scalar in scalars:
            if self.of and isinstance(value, (list, tuple)) and not _is(scalar, self.of):
                raise UserError(f"{origin}: {self.name} must be a list of {_WORDS[self.of]} each, not {value!r}")
            if self.choices and scalar not in self.choices:
                allowed = ", ".join(map(str, self.choices))
                raise UserError(f"{origin}: {self.name} must be one of {allowed}, not {scalar!r}")
            self._check_bounds(scalar, origin)

    def _check_bounds(self, value: Any, origin: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        for bound, word, holds in (
            (self.minimum, "at least", lambda b: value >= b),
            (self.above, "above", lambda b: value > b),
            (self.maximum, "at most", lambda b: value <= b),
            (self.below, "below", lambda b: value < b),
        ):
            if bound is not None and not holds(bound):
                raise UserError(f"{origin}: {self.name} must be {word} {bound:g}, not {value!r}")


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool))


def declared(file: Traversable | Path) -> dict[str, Setting]:
    """The declarations of one of the package's yaml files, by name."""
    return {name: _setting(name, entry) for name, entry in read_yaml(file).items()}


def _setting(name: str, entry: Mapping[str, Any]) -> Setting:
    kinds = entry.get("type", _type_of(entry.get("default")))
    types = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    names = ("of", "minimum", "above", "maximum", "below", "meaning", "settings_of")
    rest = {key: entry[key] for key in names if key in entry}
    return Setting(
        name,
        default=entry.get("default"),
        types=types,
        choices=tuple(entry.get("choices", ())),
        has_default="default" in entry,
        **rest,
    )


def inferred(defaults: Mapping[str, Any]) -> dict[str, Setting]:
    """Declarations of RecBole's settings, as far as the type of a default tells them.

    RecBole writes whole numbers where it means real ones (``dropout_prob: 0``) and single values where it takes
    lists, so a number may be any number, and a list or a word may also be the other.
    """
    settings = {}
    for name, default in defaults.items():
        types = _type_of(default)
        if types in (("int",), ("float",)):
            types = ("float",)
        elif types in (("list",), ("str",)):
            types = ("list", "str", "float")
        settings[name] = Setting(name, default, types)
    return settings


def _type_of(default: Any) -> tuple[str, ...]:
    for name in ("bool", "int", "float", "str", "list", "dict"):
        if _is(default, name):
            return (name,)
    return ()


def read_yaml(file: Traversable | Path) -> dict[str, Any]:
    """The mapping in a yaml file ({} if it is empty).

    Raises:
        UserError: if the file is missing, is not yaml, or holds something other than a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=SettingsLoader)
    except FileNotFoundError as error:
        raise UserError(f"there is no settings file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the settings file {file}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not valid yaml: {_yaml_problem(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{file} must hold settings as lines of 'name: value'")
    return content


def parse_value(text: str) -> Any:
    """A setting's value as typed on a command line: yaml, with Python's ``None``."""
    if text == "None":
        return None
    try:
        return yaml.load(text, Loader=SettingsLoader)
    except yaml.YAMLError as error:
        raise UserError(f"cannot read the value {text!r}: {_yaml_problem(error)}") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or 'unreadable'}{where}"


def check_all(values: Mapping[str, Any], settings: Mapping[str, Setting], origin: str) -> None:
    """Check every value; an unknown name is an error that names the nearest known one."""
    for name, value in values.items():
        if name not in settings:
            raise UserError(f"{origin}: there is no setting '{name}'{did_you_mean(name, settings)}")
        settings[name].check(value, origin)

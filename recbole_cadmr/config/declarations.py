"""A setting is declared once: default, help and allowed values in one place.

The yaml files in ``properties/`` hold declarations (``name: {default: ..., help: ..., minimum: ...}``).
RecBole's own settings are declared by RecBole's yaml as plain ``name: default``; what a default's type tells
is checked for them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, convert, field
from msgspec.structs import force_setattr, replace

from recbole_cadmr.config.deprecated import nearest_settings
from recbole_cadmr.config.yaml_text import check_text, is_plain, read_yaml, shown
from recbole_cadmr.data.exact import parse_intervals
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
    "name": (str,),
}
# What a value of each type is called.
TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "a word",
    "list": "a list",
    "dict": "a mapping",
    "interval": "an interval such as '[3,5]' or '[3,inf)'",
    "name": "a name that may be part of a file's",
}


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    """One setting: its default, what it may be, and what it means. The package's yaml declares it by the same names.

    Attributes:
        default: unset if that is for RecBole to say.
        types: names out of ``int, float, bool, str, list, dict, interval, name``, or one of them; the default's if not
            given; empty if any value will do. In yaml ``type``.
        items: the type of a list's elements, to which the bounds and choices then apply.
        nullable: whether it may be none whatever its default.
        shortest, longest: bounds of the number of letters.
        fields: what a mapping may hold, by name.
        required: whether the mapping that it belongs to must hold it.
        values: what the values of a mapping with names of any kind must be.
        settings_of: name of the model whose settings a mapping holds.
        refused: why a value other than the default is refused.
        ladder: values in order that a model tries by itself on validation while the setting has its default.
        inert_where: other settings by name, and the value or values of each beside which this one has no effect.
    """

    name: str = ""
    default: Any = UNSET
    types: str | tuple[str, ...] = field(default=(), name="type")
    items: str | None = None
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    exclusive_maximum: float | None = None
    shortest: int = 0
    longest: float = math.inf
    help: str = ""
    fields: dict[str, Setting] | None = None
    required: bool = False
    values: Setting | None = None
    settings_of: str | None = None
    refused: str | None = None
    ladder: tuple[Any, ...] | None = None
    inert_where: dict[str, Any] = {}

    def __post_init__(self) -> None:
        types = (self.types,) if isinstance(self.types, str) else self.types
        force_setattr(self, "types", types or _type_of(self.default))

    def check(self, value: Any, origin: str) -> None:
        """Raise :class:`UserError` unless ``value`` (given in ``origin``) is allowed."""
        if value is None and (self.nullable or self.default is None):
            return
        if self.refused:
            if is_plain(value) and value == self.default:  # what a checkpoint holds may be a tensor
                return
            raise UserError(f"{origin}: {self.name} is not for use here: {self.refused}")
        if self.types and not any(_is(value, name) for name in self.types):
            wanted = " or ".join(TYPE_WORDS[name] for name in self.types)
            commas = isinstance(value, str) and "," in value and "list" in self.types
            hint = f"; a list stands in brackets: [{value}]" if commas else ""
            raise UserError(f"{origin}: {self.name} must be {wanted}, not {shown(value)}{hint}")
        if isinstance(value, Mapping):
            self._check_fields(value, origin)
            return
        scalars = list(value) if isinstance(value, (list, tuple)) else [value]
        for scalar in scalars:
            if self.items and isinstance(value, (list, tuple)) and not _is(scalar, self.items):
                raise UserError(
                    f"{origin}: {self.name} must be a list, each {TYPE_WORDS[self.items]}, not {shown(value)}"
                )
            if self.choices and scalar not in self.choices:
                allowed = ", ".join(map(str, self.choices))
                raise UserError(f"{origin}: {self.name} must be one of {allowed}, not {shown(scalar)}")
            self._check_bounds(scalar, origin)

    def _check_fields(self, value: Mapping[Any, Any], origin: str) -> None:
        fields = self.fields if self.fields is not None else dict.fromkeys(value, self.values)
        for name, entry in value.items():
            if not isinstance(name, str) and (self.fields is not None or self.values is not None):
                raise UserError(f"{origin}: {self.name} must name its entries by words, not by {shown(name)}")
            if name not in fields:
                near = did_you_mean(name, fields) or f"; there are {', '.join(fields)}"
                raise UserError(f"{origin}: {self.name} has no entry {shown(name)}{near}")
            setting = fields[name]
            if setting is not None:
                replace(setting, name=f"{self.name}.{name}").check(entry, origin)
        missing = [name for name, field in fields.items() if field is not None and field.required and name not in value]
        if missing:
            raise UserError(f"{origin}: {self.name} must hold {missing[0]}")

    def _check_bounds(self, value: Any, origin: str) -> None:
        if isinstance(value, str):
            check_text(value, f"{origin}: {self.name}")
            if not self.shortest <= len(value) <= self.longest:
                most = "" if self.longest == math.inf else f" and at most {self.longest:.0f}"
                raise UserError(
                    f"{origin}: {self.name} must be of at least {self.shortest}{most} letters, not {shown(value)}"
                )
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if (isinstance(value, int) and not -(2**63) <= value < 2**63) or not math.isfinite(value):
            raise UserError(f"{origin}: {self.name} must be a finite number, of at most 63 bits, not {shown(value)}")
        for bound, word, holds in (
            (self.minimum, "at least", lambda b: value >= b),
            (self.exclusive_minimum, "above", lambda b: value > b),
            (self.maximum, "at most", lambda b: value <= b),
            (self.exclusive_maximum, "below", lambda b: value < b),
        ):
            if bound is not None and not holds(bound):
                raise UserError(f"{origin}: {self.name} must be {word} {bound:.10g}, not {shown(value)}")


def _is(value: Any, name: str) -> bool:
    if name == "interval":
        return _is_interval(value)
    if name == "name" and not (isinstance(value, str) and is_name(value)):
        return False
    return isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool))


def is_name(text: str) -> bool:
    """Whether a text may be part of a file's name: what leads into another folder may not."""
    check_text(text, "a name")
    short = 0 < len(text.encode()) < 200  # as of a file, with endings
    return short and Path(text).name == text and "\\" not in text and not text.startswith(".")


def _is_interval(value: Any) -> bool:
    try:
        parse_intervals(interval_text(value))
    except UserError:
        return False
    return True


def interval_text(value: Any) -> str:
    """An interval as RecBole writes it; ``[3, 5]`` is a list of two numbers in yaml."""
    return f"[{value[0]},{value[1]}]" if isinstance(value, list) and len(value) == 2 else str(value)


def declared(file: Traversable | Path) -> dict[str, Setting]:
    """The declarations of one of the package's yaml files, by name."""
    return {name: setting_of(name, entry) for name, entry in read_yaml(file).items()}


def setting_of(name: str, entry: Mapping[str, Any]) -> Setting:
    """The setting that an entry of a yaml file declares; what a search tries is not part of it."""
    return convert({"name": name} | {key: value for key, value in entry.items() if key != "search"}, Setting)


def inferred(defaults: Mapping[str, Any]) -> dict[str, Setting]:
    """Declarations of RecBole's settings, as far as the type of a default tells them.

    RecBole writes whole numbers where it means real ones (``dropout_prob: 0``) and single values where it takes
    lists, so a number may be any number, and a list or a word may also be the other.
    """
    wider = {"int": ("float",), "list": ("list", "str", "float"), "str": ("list", "str", "float")}
    return {name: Setting(name, value, wider.get(type(value).__name__, ())) for name, value in defaults.items()}


def _type_of(default: Any) -> tuple[str, ...]:
    name = type(default).__name__
    return (name,) if name in _TYPES else ()


def judged(own: Mapping[str, Setting], recboles: Mapping[str, Setting]) -> dict[str, Setting]:
    """Declarations without a default, completed by the default that RecBole declares."""
    return {
        name: replace(setting, default=recboles[name].default)
        if setting.default is UNSET and name in recboles
        else setting
        for name, setting in own.items()
    }


def check_all(values: Mapping[str, Any], settings: Mapping[str, Setting], origin: str) -> None:
    """Check every value; an unknown name is an error that names the nearest known one."""
    for name, value in values.items():
        if not isinstance(name, str) or name not in settings:
            raise UserError(f"{origin}: there is no setting {shown(name)}{nearest_settings(str(name), settings)}")
        settings[name].check(value, origin)

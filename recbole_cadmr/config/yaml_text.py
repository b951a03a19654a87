"""Yaml of settings, read to plain values of bounded size, and values shown in messages."""

from __future__ import annotations

import copy
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import refuse_device

if TYPE_CHECKING:
    from importlib.abc import Traversable
    from pathlib import Path

_MOST_VALUES = 1_000_000  # of one file, every use of an alias counted
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
# An interval that is open on one side at least, which is no yaml unless it stands in quotes.
_END = r"\s*[-+]?(?:inf|\.?\d[\d.eE+-]*)\s*"
_OPEN = rf"(?:\({_END},{_END}[\])]|\[{_END},{_END}\))"
_INTERVALS = (
    rf"{_OPEN}(?:\s*;\s*(?:{_OPEN}|\[{_END},{_END}\]))*|\[{_END},{_END}\](?:\s*;\s*(?:{_OPEN}|\[{_END},{_END}\]))+"
)
_BARE_INTERVALS = re.compile(rf"(^\s*|[{{,:]\s*)({_INTERVALS})(?=\s*(?:$|[,}}]))")


class SettingsLoader(yaml.SafeLoader):
    """Safe yaml that reads ``1e-3`` as a number, as RecBole's loader does, and nothing but decimals as numbers:
    a date, a time and ``010`` are words, since an id may look like them.
    """


SettingsLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+[eE][-+]?[0-9]+
        |[-+]?\.[0-9]+(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


def load_yaml(text: str, origin: str) -> Any:
    """The values that a yaml text holds.

    Raises:
        UserError: if it is not yaml, is nested without end, holds more values than a person writes, names something
            twice, or holds what no setting can be.
    """
    try:
        loader = SettingsLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, origin)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not valid yaml: {_problem(error)}") from error
    except RecursionError as error:
        raise UserError(f"{origin} is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        # What yaml's constructors raise on a scalar that is not what its tag says, or has thousands of digits.
        raise UserError(f"{origin} holds a value that cannot be read: {str(error)[:100]}") from error


def _check(node: yaml.Node, sizes: dict[int, int], origin: str) -> int:
    """How many values there are in ``node``, every use of an alias counted; :class:`UserError` on what is refused."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UserError(f"{origin} holds a value that contains itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    if node.tag not in _PLAIN:
        raise UserError(f"{origin} is not valid yaml: no setting is of the type {shown(node.tag)}")
    children: list[yaml.Node] = []
    if isinstance(node, yaml.ScalarNode):
        check_text(node.value, origin)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise UserError(f"{origin} names {shown(max(keys, key=keys.count))} twice")
        children = [child for pair in node.value for child in pair]
    size = 1 + sum(_check(child, sizes, origin) for child in children)
    if size > _MOST_VALUES:
        raise UserError(f"{origin} holds more than {_MOST_VALUES:,} values, repeated ones included")
    sizes[id(node)] = size
    return size


def check_text(text: str, origin: str) -> None:
    """Raise :class:`UserError` on characters that no file and no name can hold."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{origin} holds a character that is not allowed in a text, in {shown(text)}")


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    return f"{shorten(getattr(error, 'problem', None) or getattr(error, 'reason', None) or 'unreadable')}{where}"


def read_yaml(file: Traversable | Path) -> dict[str, Any]:
    """The mapping in a yaml file ({} if it is empty).

    Raises:
        UserError: if the file is missing, is not yaml, or holds something other than a mapping.
    """
    refuse_device(str(file))
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no settings file {file}") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path that no system takes
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the settings file {file}: {reason}") from error
    content = load_yaml(text, str(file))
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{file} must hold settings as lines of 'name: value'")
    return content


_read_once = cache(read_yaml)


def installed_yaml(file: Path) -> dict[str, Any]:
    """As :func:`read_yaml`, of a file that is installed and does not change: parsing all of them takes 0.1 s."""
    return copy.deepcopy(_read_once(file))


def parse_value(text: str) -> Any:
    """A setting's value as typed on a command line: yaml, with Python's ``None``, and intervals without quotes."""
    if text == "None":
        return None
    try:
        return load_yaml(_BARE_INTERVALS.sub(r"\1'\2'", text), "it")
    except UserError as error:
        raise UserError(f"cannot read the value {shown(text)}: {error}") from error


class _Short(reprlib.Repr):
    """``repr`` of a bounded length, whatever the value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple, self.maxstring, self.maxother = 3, 6, 8, 8, 60, 60

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if abs(value) < 10**40 else "a number of more than 40 digits"


_short = _Short()


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    return shorten(_short.repr(value))


def shorten(text: str, most: int = 200) -> str:
    """A text of at most ``most`` letters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_plain(value: Any) -> bool:
    """Whether ``value`` is made of what yaml holds: numbers, words, lists and mappings."""
    if isinstance(value, Mapping):
        return all(isinstance(name, (str, int)) and is_plain(entry) for name, entry in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)

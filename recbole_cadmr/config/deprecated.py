"""Deprecated names of settings, listed in ``properties/deprecated.yaml``: they are read as the names of now."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import UserError, did_you_mean

_ALL = "every model"  # of settings whose default is what they stand for in older checkpoints


@cache
def _table() -> dict[str, dict[str, Any]]:
    return read_yaml(files("recbole_cadmr.properties") / "deprecated.yaml")


def current_name(model: str, name: str) -> str:
    """What a setting of a model is called now."""
    entry = _table().get(model, {}).get(name)
    return entry if isinstance(entry, str) else name


def current_names(model: Any, values: Mapping[str, Any], origin: str, warn: bool = True) -> dict[str, Any]:
    """The settings ``values`` of a model with every deprecated name replaced by the one it has now.

    Args:
        origin: where they are given, for messages.
        warn: whether a deprecated name is warned of, once in a process.

    Raises:
        UserError: if a setting is given by both names.
    """
    return _renamed(values, _table().get(model, {}) if isinstance(model, str) else {}, origin, warn)


def nearest_settings(name: str, settings: Collection[str]) -> str:
    """:func:`did_you_mean` for a mistyped setting, which may be near to what one of ``settings`` was called before."""
    before = {
        old: new
        for table in _table().values()
        for old, new in table.items()
        if isinstance(new, str) and new in settings
    }
    return did_you_mean(name, settings, before)


def _renamed(values: Any, table: Mapping[str, Any], origin: str, warn: bool) -> Any:
    if not isinstance(values, Mapping):
        return values
    current = {}
    for name, value in values.items():
        entry = table.get(name)
        if isinstance(entry, str):
            if entry in values:
                raise UserError(f"{origin}: {name} is an old name of {entry}; give one of them")
            if warn:
                _warn(f"{name} is deprecated; it is called {entry} now")
            name = entry
        elif name == "settings_schedule" and isinstance(value, Mapping):
            value = {epoch: _renamed(changes, table, f"{origin}: {name}", warn) for epoch, changes in value.items()}
        elif isinstance(entry, Mapping):
            value = _renamed(value, entry, f"{origin}: {name}", warn)
        current[name] = value
    return current


def with_former_values(model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a checkpoint, with the former behaviour for each setting that it was written before."""
    return _completed(settings, _table().get(model, {}) if isinstance(model, str) else {})


def _completed(settings: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    former = {name: entry for name, entry in table.items() if _is_former(entry)}
    inner = {
        name: _completed(settings[name], entry)
        for name, entry in table.items()
        if isinstance(entry, Mapping) and isinstance(settings.get(name), Mapping)
    }
    return {**former, **settings, **inner}


@cache
def _warn(message: str) -> None:
    logging.getLogger(__name__).warning(message)


def first_names(model: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings ``values`` of a model as the first version had them: hashes of settings outlive a renaming.

    What a setting that came later stands for in older checkpoints is left out.
    """
    table = _table().get(model, {})
    return _renamed(_without_former(values, table), _inverse(table), "the settings", warn=False)


def _without_former(values: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    table = {**_table()[_ALL], **table}
    return {
        name: _without_former(value, table[name]) if isinstance(table.get(name), Mapping) and value else value
        for name, value in values.items()
        if not (name in table and _is_former(table[name]) and value == table[name])
    }


def _is_former(entry: Any) -> bool:
    """Whether an entry of the table is the value that a setting stands for where there was none yet."""
    return entry is None or isinstance(entry, int)


def _inverse(table: Mapping[str, Any]) -> dict[str, Any]:
    """From the names of now to the first ones that a table has of each."""
    return {
        **{new: old for old, new in reversed(list(table.items())) if isinstance(new, str)},
        **{name: _inverse(entry) for name, entry in table.items() if isinstance(entry, Mapping)},
    }

"""Settings that a class of the user's own declares: in its attribute ``settings``, or in ``NAME.yaml`` beside it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from recbole_cadmr.config.declarations import Setting, setting_of
from recbole_cadmr.config.yaml_text import is_plain, read_yaml, shown
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.own_source import settings_file
from recbole_cadmr.models.registry import is_own

_ATTRIBUTE = "settings"


def declared_by(model: type) -> list[dict[str, dict[str, Any]]]:
    """What a class and those of the user's own that it derives from declare, in rising priority.

    The format is that of ``properties/model/NAME.yaml``; a plain value stands for ``{default: value}``.

    Raises:
        UserError: if an entry cannot be read.
    """
    return [_declared(one) for one in reversed(model.__mro__) if is_own(one)]


def check_declared(model: type, general: Container[str], known: Mapping[str, Setting]) -> None:
    """Check what a class declares against the settings of every model, and against all that the model has.

    Raises:
        UserError: if it gives a general setting another default, where it may say what a search tries alone; if it says
            that of a setting that nobody declares; if it names none as what decides on the effect of one.
    """
    for name, entry in ((name, entry) for declared in declared_by(model) for name, entry in declared.items()):
        if name in general and entry.keys() != {"search"}:
            raise UserError(
                f"{name} of {model.__name__} is a setting of every model already; call yours otherwise, or give "
                f"{name} where the model is trained (what a search tries, {{search: [...]}}, may be declared)"
            )
        if name not in known or known[name].default is UNSET:
            raise UserError(f"{name} of {model.__name__} has values to search and no default; give it one")
        if unknown := next((other for other in known[name].inert_where if other not in known), None):
            raise UserError(f"{name} of {model.__name__} is inert_where {unknown}, which is no setting")


def _declared(model: type) -> dict[str, dict[str, Any]]:
    attribute, file = vars(model).get(_ATTRIBUTE), settings_file(model)
    has_file = file is not None and file.is_file()
    if has_file and attribute is not None:
        raise UserError(f"{model.__name__} declares settings in its class and in {file}; leave one of them out")
    content = read_yaml(file) if has_file and file is not None else {} if attribute is None else attribute
    origin = str(file) if has_file else f"{_ATTRIBUTE} of {model.__name__}"
    if not isinstance(content, Mapping):
        raise UserError(f"{origin} must map names to declarations or default values, not be {shown(content)}")
    return {name: _entry(name, entry, origin) for name, entry in content.items()}


def _entry(name: Any, entry: Any, origin: str) -> dict[str, Any]:
    if not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"{origin}: the name of a setting must be a word such as embedding_size, not {shown(name)}")
    declared = dict(entry) if isinstance(entry, Mapping) else {"default": entry}
    if not declared.keys() & {"default", "search"}:
        raise UserError(f"{origin}: {name} has no default; write it as {{default: VALUE, ...}}, or VALUE alone")
    if not is_plain(declared):
        raise UserError(f"{origin}: {name} must be made of numbers, words, lists and mappings, not {shown(entry)}")
    try:
        setting = setting_of(name, declared)
    except msgspec.ValidationError as error:
        raise UserError(f"{origin}: {name} cannot be read: {str(error).replace('`', chr(39))}") from error
    if "default" in declared:
        setting.check(declared["default"], origin)
    return declared

"""All settings, as the package declares them: with their defaults, what they may be, and what a search tries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.declarations import TYPE_WORDS, Setting
from recbole_cadmr.config.model_yaml import find_preset, preset_names, preset_note, search_space
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.models.registry import MODELS, model_names
from tools.docs_site.markdown import code, table

GENERAL, OF_MODELS = "reference/settings.md", "reference/model_settings.md"
_PLAIN = "Pop"  # a model without settings of its own
NOT_SETTINGS = {"MODEL_TYPE", "MODEL_INPUT_TYPE", "model", "dataset", "config_files"}  # what a run is given otherwise
_HEADING = re.compile(r"# ([A-Z][^.:{]*)")
_NAME = re.compile(r"(\w+):")


class _Declared(Struct):
    """A model's settings: all, and those that it does not have as every model has them."""

    model: str
    own: dict[str, Setting]


def pages(root: Path) -> dict[str, str]:
    """The page of settings that every model has, and that of each model's own."""
    plain = _declarations(_PLAIN)
    models = [_Declared(name, _differing(_declarations(name), plain)) for name in model_names()]
    return {GENERAL: _general_page(root / "properties", plain), OF_MODELS: _models_page(models)}


def _declarations(model: str) -> dict[str, Setting]:
    found = Config(model, "synthetic").declarations
    return {name: setting for name, setting in found.items() if name not in NOT_SETTINGS}


def _differing(settings: Mapping[str, Setting], plain: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: setting for name, setting in settings.items() if plain.get(name) != setting}


def _general_page(properties: Path, settings: Mapping[str, Setting]) -> str:
    parts = [
        "# All settings\n\nOf every model; each has [others of its own](model_settings.md). How they are given, and\n"
        "which goes first: [settings and presets](../settings.md). So the package reads and checks them.\n"
    ]
    left = dict(settings)
    for file, title in (("overall.yaml", "Of this package"), ("recbole.yaml", "RecBole's")):
        parts.append(f"## {title}\n")
        for heading, names in sections(properties / file).items():
            parts.append(f"### {heading}\n\n{_table({name: left.pop(name) for name in names if name in left})}")
    if left:
        parts.append(f"### Others\n\n{_table(left)}")
    return "\n".join(parts)


def sections(file: Path) -> dict[str, list[str]]:
    """The names that a yaml file declares, by the comment that stands above each group of them."""
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        heading, name = _HEADING.fullmatch(line), _NAME.match(line)
        if heading:
            found[heading[1]] = []
        elif name:
            next(reversed(found.values())).append(name[1])
    declared = [name for names in found.values() for name in names]
    assert declared == list(read_yaml(file)), f"{file} has settings above its first heading"
    return found


def _models_page(models: Iterable[_Declared]) -> str:
    parts = [
        "# Settings of each model\n\nBeside [those of every model](settings.md), or with another default or range.\n"
        "*Searched* are the values that `tune` tries unless told otherwise.\n"
    ]
    recboles = False
    for declared in models:
        if declared.model not in MODELS and not recboles:
            recboles = True
            parts.append("## RecBole's models\n\nTheir meanings are RecBole's own.\n")
        searched = search_space(declared.model, None)
        parts.append(f"{'###' if recboles else '##'} {declared.model}\n")
        parts.append(_table(declared.own, searched) if declared.own or searched else "None of its own.\n")
        parts += [_preset(declared.model, preset) for preset in preset_names(declared.model)]
    return "\n".join(parts)


def _preset(model: str, name: str) -> str:
    preset = find_preset(model, name)
    assert preset is not None
    changes = ", ".join(f"`{setting}` {code(value)}" for setting, value in preset.settings.items())
    return f"Preset **`{name}`**: {preset_note(preset)} It sets {changes or 'nothing'}.\n"


def _table(settings: Mapping[str, Setting], searched: Mapping[str, Any] | None = None) -> str:
    names = [*settings, *(name for name in searched or {} if name not in settings)]
    rows = []
    for name in names:
        setting = settings.get(name, Setting(name))
        row = [f"`{name}`", "" if setting.default is UNSET else _default(setting), allowed(setting), _meaning(setting)]
        rows.append(row if searched is None else [*row, _values(searched.get(name))])
    return table(["setting", "default", "may be", "meaning", *([] if searched is None else ["searched"])], rows)


def _default(setting: Setting) -> str:
    return "none" if setting.default is None else code(setting.default)


def _meaning(setting: Setting) -> str:
    inert = "; ".join(f"`{other}` {_values(values)}" for other, values in setting.inert_where.items())
    return f"Refused: {setting.refused}" if setting.refused else setting.help + (inert and f" No effect with {inert}.")


def _values(values: Any) -> str:
    return "" if values is None else ", ".join(map(code, values)) if isinstance(values, list) else code(values)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def allowed(setting: Setting) -> str:
    """What a setting may be, in words; "" where anything goes or nothing but the default does."""
    if setting.refused:
        return ""
    types = list(setting.types)
    if setting.items in types:  # one of them or several
        types.sort(key="list".__eq__)
    words = " or ".join(TYPE_WORDS[name] for name in types)
    if setting.items in types:
        words = words.replace(TYPE_WORDS["list"], "a list of such")
    elif setting.items:
        words = words.replace(TYPE_WORDS["list"], f"a list, each {TYPE_WORDS[setting.items]}")
    if setting.settings_of:
        words = f"settings of {setting.settings_of}"
    if setting.choices and types in ([], ["str"], ["name"]):
        words = ""
    conditions = [words] if words else []
    if setting.choices:
        conditions.append(" or ".join(code(choice) for choice in setting.choices))
    bounds = {
        "at least": setting.minimum,
        "above": setting.exclusive_minimum,
        "at most": setting.maximum,
        "below": setting.exclusive_maximum,
    }
    conditions += [f"{word} {_number(bound)}" for word, bound in bounds.items() if bound is not None]
    if setting.fields:
        inner = "; ".join(f"`{name}`: {allowed(field) or 'anything'}" for name, field in setting.fields.items())
        conditions.append(f"of {inner}")
    if setting.values is not None:
        conditions.append(f"its values {allowed(setting.values)}")
    if conditions and (setting.nullable or setting.default is None):
        conditions.append("or none")
    return ", ".join(conditions)

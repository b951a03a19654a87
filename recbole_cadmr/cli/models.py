"""``models`` and ``presets``: what can be named by ``--model`` and ``--preset``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbole_cadmr.formatting import folded

if TYPE_CHECKING:
    from recbole_cadmr.config.model_list import ListedModel


def add_models(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``models``."""
    _add_json(parser)
    parser.set_defaults(run=show_models)


def add_presets(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``presets``."""
    parser.add_argument("--model", help="show only those of this model")
    _add_json(parser)
    parser.set_defaults(run=show_presets)


def show_models(arguments: argparse.Namespace) -> int:
    """Print the models."""
    from recbole_cadmr.config.model_list import listed_forms, listed_models

    found = listed_models()
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    own = [model for model in found if model["package"] == "recbole_cadmr"]
    forms = [form for model in own for form in (model, *listed_forms(model["name"]))]
    for head, models in (("", forms), ("\nRecBole's", [model for model in found if model not in own])):
        if head:
            print(head)
        _print_table(("model", "reads", "cold items", "paper, or what it is"), [_row(model) for model in models])
    print("\n" + folded("cold items: whether items without a train interaction are scored, by their content"))
    print(folded("presets: python -m recbole_cadmr presets; your own classes: --model FILE.py:CLASS"))
    return 0


def show_presets(arguments: argparse.Namespace) -> int:
    """Print the presets."""
    from recbole_cadmr.config.model_list import listed_presets

    found = listed_presets(arguments.model)
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    if not found:
        print(f"{arguments.model} has no preset")
    for preset in found:
        default = " (default)" if preset["default"] else ""
        print(f"{preset['model']} --preset={preset['preset']}{default}")
        if preset["about"]:
            print(folded(f"  {preset['about']}"))
        values = ", ".join(f"{name}={value}" for name, value in preset["settings"].items())
        print(folded(f"  settings: {values or 'the defaults'}", "    "))
    return 0


def _row(model: ListedModel) -> tuple[str, str, str, str]:
    reads = model["reads"].removeprefix("interactions, ")  # which all read that do not read sequences
    return model["name"], reads, "yes" if model["scores_cold_items"] else "no", model["about"]


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for a program")


def _print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table that folds its last column to the terminal."""
    widths = [max(len(str(row[place])) for row in [head, *rows]) for place in range(len(head) - 1)]
    indent = " " * (sum(widths) + 2 * len(widths))
    for row in [head, *rows]:
        begin = "".join(f"{cell:<{width + 2}}" for cell, width in zip(row, widths))
        print(folded(f"{begin}{row[-1]}".rstrip(), indent))

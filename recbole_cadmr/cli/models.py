"""``models`` and ``presets``: what can be named by ``--model`` and ``--preset``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from recbole_cadmr.formatting import folded


def add_models(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``models``."""
    _add_json(parser)
    parser.set_defaults(run=show_models)


def add_presets(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``presets``."""
    parser.add_argument("--model", help="of this model alone")
    _add_json(parser)
    parser.set_defaults(run=show_presets)


def show_models(arguments: argparse.Namespace) -> int:
    """Print the models."""
    from recbole_cadmr.config.model_list import listed_models

    found = listed_models()
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    rows = [(m["name"], m["reads"], "yes" if m["scores_cold_items"] else "no", m["about"] or "") for m in found]
    own = [row for row, model in zip(rows, found) if model["package"] == "recbole_cadmr"]
    _print_table(("model", "reads", "cold items", "paper, or what it is"), own)
    print("\nRecBole's")
    _print_table(("model", "reads", "cold items", "paper, or what it is"), [row for row in rows if row not in own])
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


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for a program")


def _print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table that folds its last column to the terminal."""
    widths = [max(len(str(row[place])) for row in [head, *rows]) for place in range(len(head) - 1)]
    indent = " " * (sum(widths) + 2 * len(widths))
    for row in [head, *rows]:
        begin = "".join(f"{cell:<{width + 2}}" for cell, width in zip(row, widths))
        print(folded(f"{begin}{row[-1]}".rstrip(), indent))

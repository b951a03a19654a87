"""``export``: a checkpoint as a folder that recommends by itself."""

from __future__ import annotations

import argparse

from recbole_cadmr.arguments import whole_number
from recbole_cadmr.cli.evaluate import add_checkpoint
from recbole_cadmr.cli.options import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``export``."""
    add_checkpoint(parser)
    parser.add_argument(
        "--neighbours",
        type=whole_number(1),
        default=200,
        help="entries that each item keeps of weights of items by items (default 200)",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what it costs."""
    from pathlib import Path

    from recbole_cadmr.recommender.load import load

    refuse_existing(arguments.output)
    recommender = load(arguments.checkpoint, arguments.data_path, model=arguments.model)
    card = recommender.export(arguments.output, arguments.neighbours)
    for name, value in card["measured"].items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value:.4f}")
    size = sum(file.stat().st_size for file in Path(arguments.output).iterdir())
    print(f"{card['model']} of {card['dataset']} in {arguments.output}, {size / 1e6:.1f} MB")
    return 0

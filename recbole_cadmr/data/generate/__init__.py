"""A generated data set whose latent tastes are known: the embedded one, and others by seed and size."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.arguments import seed, whole_number
from recbole_cadmr.data.generate.draw import ITEMS, SEED, USERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``python -m recbole_cadmr generate``; the defaults make the embedded set."""
    output = "new folder; its name is the data set's, as in dataset/NAME"
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help=output)
    add, count = parser.add_argument, whole_number(1)
    add("--seed", type=seed, default=SEED, help="of every random draw (default: %(default)s)")
    add("--users", type=count, default=USERS, help="how many people (default: %(default)s)")
    add("--items", type=count, default=ITEMS, help="how many items at most (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    from recbole_cadmr.data.generate.world import generate

    return generate(arguments.output, arguments.seed, arguments.users, arguments.items)

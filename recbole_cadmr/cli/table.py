"""``table``: finished runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from recbole_cadmr.cli.settings import nothing_left


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``table``."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of finished runs on one data set")
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Print the table."""
    from recbole_cadmr.reports.results_table import results_table

    nothing_left(rest, parser)
    print(results_table(known.folders))
    return 0

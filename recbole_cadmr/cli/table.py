"""``table``: finished runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``table``."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of finished runs on one data set")
    parser.set_defaults(run=run)


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Print the table."""
    from recbole_cadmr.reports.results_table import results_table

    print(results_table(known.folders))
    return 0

"""``table``: finished runs side by side."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``table``."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of finished runs on one data set")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from recbole_cadmr.on_screen import laid_out
    from recbole_cadmr.reports.results_table import results_table

    print(laid_out(results_table(arguments.folders)))
    return 0

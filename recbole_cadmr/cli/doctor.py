"""``doctor``: a look at the installation."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``doctor``."""
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; exit status 1 if something does not fit."""
    from recbole_cadmr.doctor import doctor

    report, sound = doctor(arguments.data_path)
    print(report)
    return 0 if sound else 1

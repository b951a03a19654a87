"""``doctor``: a look at the installation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from recbole_cadmr.cli.settings import nothing_left


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``doctor``."""
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Print the report; exit status 1 if something does not fit."""
    from recbole_cadmr.doctor import doctor

    nothing_left(rest, parser)
    report, sound = doctor(known.data_path)
    print(report)
    return 0 if sound else 1

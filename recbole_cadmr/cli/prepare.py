"""``prepare`` and ``generate``: what writes a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from types import ModuleType

from recbole_cadmr.cli.settings import nothing_left
from recbole_cadmr.locking import terminated_as_interrupted


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Declare the sources of ``prepare``, each a command of its own."""
    from recbole_cadmr.data.prepare import SOURCES

    sources = parser.add_subparsers(dest="source_kind", required=True, metavar="SOURCE")
    for name, source in SOURCES.items():
        summary = (source.__doc__ or "").strip().splitlines()[0]
        child = sources.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        source.add_arguments(child)
        child.set_defaults(run=partial(run, source, child))


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``generate``."""
    from recbole_cadmr.data import generate

    generate.add_arguments(parser)
    parser.set_defaults(run=partial(run, generate, parser))


def run(source: ModuleType, parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run a module that makes a data set: ``source.run(arguments)`` returns the folder it wrote."""
    nothing_left(rest, parser)
    try:
        with terminated_as_interrupted():
            folder = source.run(known)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("stopped; the same command goes on with what has been fetched and computed") from error
    print(f"wrote {folder}")
    return 0

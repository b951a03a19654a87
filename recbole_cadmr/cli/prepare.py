"""``prepare`` and ``generate``: what writes a data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import ModuleType

from recbole_cadmr.cli.options import add_command, add_ray_address
from recbole_cadmr.locking import terminated_as_interrupted


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Declare the sources of ``prepare``, and the changes of a data set that is there, each a command of its own."""
    from recbole_cadmr.data.change import CHANGES, change
    from recbole_cadmr.data.prepare import SOURCES, source

    sources = parser.add_subparsers(dest="source_kind", required=True, metavar="SOURCE")
    for known, load in ((SOURCES, source), (CHANGES, change)):
        for name, summary in known.items():
            add_command(sources, name, summary, partial(_declare, partial(load, name)))


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``generate``."""
    from recbole_cadmr.data import generate

    _declare(lambda: generate, parser)


def _declare(load: Callable[[], ModuleType], parser: argparse.ArgumentParser) -> None:
    module = load()
    module.add_arguments(parser)
    if parser.get_default("encodes"):
        add_ray_address(parser, "encode there, in shards")
    parser.set_defaults(run=partial(run, module))


def run(source: ModuleType, arguments: argparse.Namespace) -> int:
    """Run a module that makes a data set: ``source.run(arguments)`` returns the folder it wrote."""
    try:
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())
            if address := getattr(arguments, "ray_address", None):
                from recbole_cadmr.execution.ray_blocks import over_cluster

                arguments.over = stack.enter_context(over_cluster(address))
            folder = source.run(arguments)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("stopped; the same command resumes with what has been fetched and computed") from error
    print(f"wrote {folder}")
    return 0

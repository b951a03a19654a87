"""``prepare`` and ``generate``: what writes a data set, for a command line and for a program."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any

from recbole_cadmr.cli.options import ArgumentParser, add_command, add_ray_address
from recbole_cadmr.errors import Stopped, UserError, did_you_mean
from recbole_cadmr.formatting import listed
from recbole_cadmr.locking import terminated_as_interrupted

_SEE_HELP = re.compile("; see '[^']*'$")


def prepare(source: str, **options: Any) -> Path:
    """Make a data set from raw data, or change one, as ``python -m recbole_cadmr prepare`` does.

    Args:
        source: ``amazon``, ``movielens``, ``microlens``, ``mmrec``, ``cross-domain``, ``files`` or ``sql``; or
            ``add-modality``, ``remove-modality``.
        options: of the command, without their dashes: ``inter="sales.csv"``, ``k_core=3``. What takes several values
            takes a list, what takes names with files (``vectors``) a mapping, and what takes no value ``True``.

    Returns:
        The folder of the data set, as :func:`recbole_cadmr.train` takes it in place of a name.

    Raises:
        UserError: on anything wrong with the options or the data.
    """
    modules = dict(_modules())
    if source not in modules:
        raise UserError(f"there is no source '{source}'{did_you_mean(source, modules)}; there are {', '.join(modules)}")
    parser = ArgumentParser(prog=f"prepare {source}", allow_abbrev=False)
    _declare(modules[source][1], parser)
    known = {action.dest: action for action in parser._actions if action.dest != "help"}
    try:
        if unknown := next((name for name in options if name not in known), None):
            raise UserError(f"there is no option '{unknown}'{did_you_mean(unknown, known)}")
        typed = [text for name, value in options.items() for text in _as_typed(known[name], value)]
        return _made(modules[source][1](), parser.parse_args(typed))
    except UserError as error:  # whose options are arguments here
        raise UserError(re.sub(r"--(\w+)", r"`\1`", _SEE_HELP.sub("", str(error)))) from error


def _as_typed(option: argparse.Action, value: Any) -> list[str]:
    """An option as on the command line; nothing of one that is not given.

    Raises:
        UserError: if the value is empty.
    """
    name = option.option_strings[0]
    if value is None or value is False:
        return []
    if option.nargs == 0:
        return [name]
    if isinstance(value, Mapping):
        value = [f"{key}={os.fspath(one)}" for key, one in value.items()]
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    texts = [
        os.fsdecode(one) if isinstance(one, (bytes, os.PathLike)) else str(one)
        for one in (value if several else [value])
    ]
    if not all(texts) or not texts:
        raise UserError(f"{name} is empty; give it a value, or leave it out")
    return [name, *texts] if option.nargs == "+" else [f"{name}={','.join(texts)}"]


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Declare the sources of ``prepare``, and the changes of a data set that is there, each a command of its own."""
    sources = parser.add_subparsers(dest="source_kind", required=True, metavar="SOURCE")
    for name, (summary, load) in _modules():
        add_command(sources, name, summary, partial(_declare, load))


def _modules() -> Iterator[tuple[str, tuple[str, Callable[[], ModuleType]]]]:
    """What makes or changes a data set: by name, with its help and how it is imported."""
    from recbole_cadmr.data.change import CHANGES, change
    from recbole_cadmr.data.prepare import SOURCES, source

    for known, load in ((SOURCES, source), (CHANGES, change)):
        for name, summary in known.items():
            yield name, (summary, partial(load, name))


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
    """Run a module that makes a data set."""
    folder = _made(source, arguments)
    print(f"wrote {folder}")
    if files := [file for file in (folder / "dataset_card.md", folder / f"{folder.name}.html") if file.is_file()]:
        print(listed(files))
    at = "" if folder.parent == Path("dataset") else f" --data_path {quote(str(folder.parent))}"
    print(f"train on it with:\n  python -m recbole_cadmr train --dataset {quote(folder.name)}{at}")
    return 0


def _made(source: ModuleType, arguments: argparse.Namespace) -> Path:
    """The folder of the data set that ``source.run(arguments)`` writes."""
    try:
        with ExitStack() as stack:
            stack.enter_context(terminated_as_interrupted())
            if address := getattr(arguments, "ray_address", None):
                from recbole_cadmr.execution.ray_blocks import over_cluster

                arguments.over = stack.enter_context(over_cluster(address))
            folder: Path = source.run(arguments)
            return folder
    except KeyboardInterrupt as error:
        raise Stopped("stopped; the same command resumes with what has been fetched and computed") from error

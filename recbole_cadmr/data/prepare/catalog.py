"""Data sets known by name: the ``prepare`` command that gets each of them, from ``properties/datasets.yaml``."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from recbole_cadmr.errors import UserError, did_you_mean


def catalog() -> dict[str, dict[str, Any]]:
    """``prepare`` (a list of arguments) and ``download`` (whether they suffice) by name of the data set."""
    return yaml.safe_load((files("recbole_cadmr.properties") / "datasets.yaml").read_text(encoding="utf-8"))


def how_to_get(name: str) -> str:
    """A clause that names the command which gets the data set ``name``."""
    entry = catalog().get(name)
    if entry is None:
        return (
            f"prepare it with 'python -m recbole_cadmr prepare files --inter FILE --name {name}' or another source "
            f"(see 'prepare --help')"
        )
    command, more = f"python -m recbole_cadmr prepare {' '.join(entry['prepare'])}", ""
    if entry["download"]:
        command, more = f"{command} --download", ", or give --download"
    return f"get it with '{command}'{more}"


def get(name: str, data_path: Path) -> Path:
    """Download and prepare the data set ``name`` under ``data_path`` unless it is there; returns its folder.

    Raises:
        UserError: if it is unknown, or cannot be downloaded.
    """
    from recbole_cadmr.data.prepare import source

    folder, sets = data_path / name, catalog()
    if folder.is_dir():
        return folder
    if name not in sets:
        names = [known for known, entry in sets.items() if entry["download"]]
        raise UserError(
            f"--download does not know the data set '{name}'{did_you_mean(name, names)}; it knows {', '.join(names)}"
        )
    if not sets[name]["download"]:
        raise UserError(f"{name} cannot be downloaded here; {how_to_get(name)}")
    kind, *arguments = sets[name]["prepare"]
    parser = argparse.ArgumentParser()
    source(kind).add_arguments(parser)
    options = [*arguments, "--download", "--name", name, "--data_path", str(data_path)]
    return source(kind).run(parser.parse_args(options))

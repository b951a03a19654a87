"""Published raw data: the address of each file, from ``properties/downloads.yaml``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from recbole_cadmr.data.download import RemoteFile, download
from recbole_cadmr.errors import UserError


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare where the raw files are: ``--source DIR``, or ``--download`` into it."""
    add = parser.add_argument
    add("--source", type=Path, metavar="DIR", help="the folder that holds the raw files, or that --download fills")
    add("--download", action="store_true", help="fetch the raw files that are missing; an interrupted download resumes")
    add("--base_address", metavar="URL", help="fetch from a mirror instead of the publisher")


def raw_folder(arguments: argparse.Namespace, release: str, name: str) -> Path:
    """The folder of the raw files; with ``--download`` its default is beside the data sets.

    Raises:
        UserError: if neither ``--source`` nor ``--download`` is given.
    """
    if arguments.source is None and not arguments.download:
        raise UserError("give --source DIR with the raw files, or --download to fetch them")
    return arguments.source or Path(arguments.data_path) / ".raw" / f"{release}-{name}"


def fetch(release: str, kinds: Iterable[str], folder: Path, base: str | None = None, **fill: str) -> dict[str, Path]:
    """Download the files ``kinds`` of a release into ``folder``, unless they are there.

    Args:
        base: address of a mirror.
        fill: values for the braces in the paths, such as ``category``.
    """
    entry = release_info(release)
    paths = {}
    for kind in kinds:
        file = entry["files"][kind]
        path = file["path"].format(**fill)
        address = f"{(base or entry['base']).rstrip('/')}/{path}"
        remote = RemoteFile(Path(path).name, address, file.get("size"), file.get("hash"))
        paths[kind] = download(remote, folder)
    return paths


def release_info(release: str) -> dict[str, Any]:
    """The entry of a release: ``base``, ``files`` and ``licence``."""
    return yaml.safe_load((files("recbole_cadmr.properties") / "downloads.yaml").read_text(encoding="utf-8"))[release]

"""A user's own files: interactions and items as csv, tsv, JSON lines or parquet, and a folder of pictures."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.prepare.options import NONE, add_options, read_options
from recbole_cadmr.data.prepare.pictures import need_folder
from recbole_cadmr.data.prepare.shop_tables import add_columns, assemble_tables, check_columns
from recbole_cadmr.data.prepare.tables import TableFile, is_separated, separator
from recbole_cadmr.data.prepare.vectors import check_vectors, named_files
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare files``."""
    add = parser.add_argument
    add("--inter", required=True, nargs="+", type=Path, metavar="FILE", help="interactions: csv, tsv, jsonl or parquet")
    add("--items", type=Path, metavar="FILE", help="items with their texts, in one of these formats")
    add_columns(parser)
    add(
        "--vectors",
        nargs="+",
        metavar="MODALITY=FILE",
        help="ready-made vectors, as in text=MiniLM.npy, a row for each of --items in its order",
    )
    add("--encoding", help="of csv, tsv and jsonl (default: utf-8, or as a byte order mark says)")
    add(
        "--separator",
        type=separator,
        help="of csv and tsv (default: a tab in tsv; in csv the one of , ; | tab in the header)",
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    inter, items = arguments.inter, [arguments.items] if arguments.items else []
    options = read_options(arguments, inter[0].name.partition(".")[0])
    _check(arguments)
    need_folder(arguments.images, "--images")
    files = [*inter, *items, *named_files(arguments.vectors or (), "--vectors").values()]
    about = ("Made from a user's own files.", "Its licence is that of these files.", files)
    orders, products = (
        [TableFile(path, arguments.encoding, arguments.separator) for path in paths] for paths in (inter, items)
    )
    return assemble_tables(arguments, options, orders, products[0] if products else None, *about)


def _check(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for options that contradict each other, or would do nothing."""
    check_columns(arguments)
    if len(set(map(os.path.realpath, arguments.inter))) < len(arguments.inter):
        raise UserError("--inter names a file twice")
    files = [*arguments.inter, *([arguments.items] if arguments.items else [])]
    for name, file in named_files(arguments.vectors or (), "--vectors").items():
        check_vectors(name, file)
        if name in ("text", "image") and getattr(arguments, f"{name}_model") != NONE:
            raise UserError(f"--vectors {name} is in place of a model that computes them; give --{name}_model {NONE}")
        map_rows(file)  # before anything long
    if arguments.separator is not None and not any(map(is_separated, files)):
        raise UserError("--separator is for csv and tsv files")
    if arguments.encoding is not None and all(path.name.lower().endswith(".parquet") for path in files):
        raise UserError("--encoding is for csv, tsv and jsonl files")

"""A user's own files: interactions and items as csv, tsv, JSON lines or parquet, and a folder of pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recbole_cadmr.arguments import names
from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content, Features
from recbole_cadmr.data.prepare.options import NONE, add_options, read_options
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import is_separated, read_rows, separator
from recbole_cadmr.data.prepare.texts import one_line, without_empty
from recbole_cadmr.data.prepare.vectors import check_vectors, named_files, rows_of_zeros
from recbole_cadmr.data.text_columns import stacked
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare files``."""
    add = parser.add_argument
    add("--inter", required=True, nargs="+", type=Path, metavar="FILE", help="interactions: csv, tsv, jsonl or parquet")
    add("--items", type=Path, metavar="FILE", help="items with their texts, in one of these formats")
    add("--images", type=Path, metavar="DIR", help="pictures ITEM.jpg, or as --image_column names them")
    add("--user_column", default="user_id", help="of --inter (default: %(default)s)")
    add("--item_column", default="item_id", help="of --inter and --items (default: %(default)s)")
    add("--rating_column", help="of --inter (default: none)")
    add("--quantity_column", help="of --inter; what is not positive, such as a return, is left out (default: none)")
    add("--time_column", help="of --inter, numbers or dates (default: none)")
    add("--title_column", default="title", help="of --items (default: %(default)s)")
    add("--text_columns", type=names, metavar="A,B", help="of --items, read by the text model (default: the title)")
    add("--image_column", help="of --items, names of files in --images (default: ITEM.jpg)")
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
    inter, items_file = arguments.inter, arguments.items
    options = read_options(arguments, inter[0].name.partition(".")[0])
    skipped = SkippedRows(options.strict)
    _check(arguments)
    need_folder(arguments.images, "--images")

    def read_content(items: Sequence[str], work: Path) -> Content:
        return read_items(arguments, items, skipped)

    def catalogue() -> list[str]:
        options_of = (arguments.encoding, arguments.separator)
        return list(
            read_rows(items_file, SkippedRows(), [arguments.item_column], (), *options_of)[arguments.item_column]
        )

    files = [*inter, *([items_file] if items_file else [])]
    files += named_files(arguments.vectors or (), "--vectors").values()
    about = ("Made from a user's own files.", "Its licence is that of these files.", files)
    return assemble(read_interactions(arguments, skipped), read_content, options, skipped, *about, catalogue)


def _check(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for options that contradict each other, or would do nothing."""
    if arguments.user_column == arguments.item_column:
        raise UserError(f"--user_column and --item_column are both '{arguments.user_column}'")
    if len(set(map(os.path.realpath, arguments.inter))) < len(arguments.inter):
        raise UserError("--inter names a file twice")
    for option, needed in (
        ("min_rating", "rating_column"),
        ("time_format", "time_column"),
        ("text_columns", "items"),
        ("image_column", "items"),
        ("vectors", "items"),
        ("keep_new_items", "items"),
    ):
        if getattr(arguments, option) not in (None, False) and getattr(arguments, needed) is None:
            raise UserError(f"--{option} needs --{needed}")
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


def read_interactions(arguments: argparse.Namespace, skipped: SkippedRows) -> pd.DataFrame:
    """``user_id, item_id`` and, if their columns are named, ``rating``, ``quantity`` and ``timestamp``, as text.

    Of several files also ``file``, the name of the one that a row is in.
    """
    named = {
        "user_id": arguments.user_column,
        "item_id": arguments.item_column,
        "rating": arguments.rating_column,
        "quantity": arguments.quantity_column,
        "timestamp": arguments.time_column,
    }
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    tables, several = [], len(arguments.inter) > 1
    for path in arguments.inter:
        needed = list(dict.fromkeys(columns.values()))
        rows = read_rows(path, skipped, needed, (), arguments.encoding, arguments.separator, ids=needed[:2])
        table = pd.DataFrame({ours: rows[theirs] for ours, theirs in columns.items()})
        tables.append(table.assign(file=pd.Categorical([path.name]).repeat(len(table))) if several else table)
    return stacked(tables)


def read_items(arguments: argparse.Namespace, items: Sequence[str], skipped: SkippedRows) -> Content:
    """Titles, texts and pictures of ``items``; an item's first row counts.

    Raises:
        UserError: if none of them is among ``--items``, or the columns of texts hold none.
    """
    if not arguments.items:
        return Content(pictures=_pictures(arguments, items, skipped, None))
    path, item, title = arguments.items, arguments.item_column, arguments.title_column
    # Beside --text_columns or --vectors a title is read if there is one.
    needed = arguments.text_columns or ([] if arguments.vectors else [title])
    columns = dict.fromkeys([item, *needed, *([arguments.image_column] if arguments.image_column else [])])
    rows = read_rows(path, skipped, list(columns), [title], arguments.encoding, arguments.separator)
    text_columns = arguments.text_columns or [column for column in [title] if column in rows]
    kept = rows[rows[item].isin(items)]
    if kept.empty:
        there, here = (", ".join(map(repr, ids[:3])) or "none" for ids in (rows[item].unique(), items))
        raise UserError(
            f"no item of {path} is among the interactions that are kept: the ids are such as {there} there and {here} "
            f"here, and must match"
        )
    skipped.note("items without interactions that are kept", n=len(rows) - len(kept))
    first = kept.drop_duplicates(item)
    features = [
        _vectors(name, file, len(rows), first[item].sort_values(), skipped)
        for name, file in named_files(arguments.vectors or (), "--vectors").items()
    ]
    rows = first.set_index(item, drop=False)
    skipped.note("repeated items", n=len(kept) - len(rows))
    skipped.note("items that are not among --items", n=len(set(items) - set(rows.index)))
    titles = _texts(rows, [title]) if title in rows else {}
    texts = _texts(rows, text_columns)
    if text_columns and not texts:
        message = f"no item that is kept has a text in {', '.join(dict.fromkeys(text_columns))} of {path.name}"
        if arguments.text_model != NONE:
            raise UserError(f"{message}; name other --text_columns, or give --text_model none")
        skipped.remark(message)
    pictures = dict(rows[arguments.image_column]) if arguments.image_column else None
    return Content(titles, texts, _pictures(arguments, items, skipped, pictures), features)


def _vectors(name: str, file: Path, n: int, items: pd.Series, skipped: SkippedRows) -> Features:
    """The vectors of ``items``, whose index says which of the ``n`` rows of the file each has."""
    vectors = map_rows(file)
    if len(vectors) != n:
        raise UserError(
            f"{file} has {len(vectors):,} rows, but {n:,} items can be read of --items; it needs one for each"
        )
    there = items[~rows_of_zeros(file, vectors)[items.index]]
    skipped.note(f"items whose {name} vector is zeros, so that they lack {name}", n=len(items) - len(there))
    return Features(name, list(there), file, there.index.to_numpy(), made_by=f"the user: {file.name}")


def _pictures(
    arguments: argparse.Namespace, items: Sequence[str], skipped: SkippedRows, names: dict[str, str] | None
) -> dict[str, Path]:
    return find_pictures(arguments.images, items, skipped, "--images", names) if arguments.images else {}


def _texts(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    values = zip(rows.index, rows[list(columns)].to_numpy())
    return without_empty({item: one_line(*texts) for item, texts in values})

"""A shop's own tables, in files or in a database: interactions, items with their texts, and a folder of pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recbole_cadmr.arguments import names
from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content, Features, Source
from recbole_cadmr.data.prepare.options import NONE, Options
from recbole_cadmr.data.prepare.pictures import find_pictures
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import Table
from recbole_cadmr.data.prepare.texts import as_field, as_it_stands, one_line, without_empty
from recbole_cadmr.data.prepare.vectors import named_files, rows_of_zeros
from recbole_cadmr.data.text_columns import stacked
from recbole_cadmr.errors import UserError

_TAKEN = ("user_id", "item_id", "rating", "timestamp", "order", "label", "title", "domain")  # columns of data sets


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which columns are what, and where the pictures are."""
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="pictures ITEM.jpg, or as --image_column names them")
    add("--user_column", default="user_id", help="of --inter (default: %(default)s)")
    add("--item_column", default="item_id", help="of --inter and --items (default: %(default)s)")
    add("--rating_column", help="of --inter (default: none)")
    add("--quantity_column", help="of --inter; what is not positive, such as a return, is left out (default: none)")
    add("--time_column", help="of --inter, numbers or dates (default: none)")
    add("--title_column", default="title", help="of --items (default: %(default)s)")
    add("--text_columns", type=names, metavar="A,B", help="of --items, read by the text model (default: the title)")
    add("--image_column", help="of --items, names of files in --images (default: ITEM.jpg)")
    add("--keep_columns", type=names, metavar="A,B", help="of --items, kept as texts, as for recommend --with")


def check_columns(arguments: argparse.Namespace) -> None:
    """Raise :class:`UserError` for options that contradict each other, or would do nothing."""
    if arguments.user_column == arguments.item_column:
        raise UserError(f"--user_column and --item_column are both '{arguments.user_column}'")
    for option, needed in (
        ("min_rating", "rating_column"),
        ("time_format", "time_column"),
        ("text_columns", "items"),
        ("image_column", "items"),
        ("keep_columns", "items"),
        ("vectors", "items"),
        ("keep_new_items", "items"),
    ):
        if getattr(arguments, option) not in (None, False) and getattr(arguments, needed) is None:
            raise UserError(f"--{option} needs --{needed}")
    for column in arguments.keep_columns or ():
        if column in _TAKEN or ":" in column:
            why = "that name has a meaning in a data set" if column in _TAKEN else "a data set's names hold no colon"
            raise UserError(f"--keep_columns cannot keep '{column}': {why}; give the column another name in --items")


def assemble_tables(
    arguments: argparse.Namespace,
    options: Options,
    inter: Sequence[Table],
    items: Table | None,
    origin: str,
    licence: str,
    sources: Sequence[Source],
) -> Path:
    """Write the data set of these tables and return its folder; the last arguments are as of :func:`assemble`."""
    skipped = SkippedRows(options.strict)

    def read_content(remaining: Sequence[str], work: Path) -> Content:
        return read_items(arguments, items, remaining, skipped)

    def catalogue() -> list[str]:
        column = arguments.item_column
        return list(items.read(SkippedRows(), [column])[column]) if items else []

    interactions = read_interactions(arguments, inter, skipped)
    return assemble(interactions, read_content, options, skipped, origin, licence, sources, catalogue)


def read_interactions(arguments: argparse.Namespace, inter: Sequence[Table], skipped: SkippedRows) -> pd.DataFrame:
    """``user_id, item_id`` and, if their columns are named, ``rating``, ``quantity`` and ``timestamp``, as text.

    Of several tables also ``file``, the name of the one that a row is in.
    """
    named = {
        "user_id": arguments.user_column,
        "item_id": arguments.item_column,
        "rating": arguments.rating_column,
        "quantity": arguments.quantity_column,
        "timestamp": arguments.time_column,
    }
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    tables, several = [], len(inter) > 1
    for source in inter:
        needed = list(dict.fromkeys(columns.values()))
        rows = source.read(skipped, needed, ids=needed[:2])
        table = pd.DataFrame({ours: rows[theirs] for ours, theirs in columns.items()})
        tables.append(table.assign(file=pd.Categorical([source.name]).repeat(len(table))) if several else table)
    return stacked(tables)


def read_items(
    arguments: argparse.Namespace, table: Table | None, items: Sequence[str], skipped: SkippedRows
) -> Content:
    """Titles, texts, pictures and the columns to keep of ``items``; an item's first row counts.

    Raises:
        UserError: if none of them is among ``--items``, or the columns of texts hold none.
    """
    if table is None:
        return Content(pictures=_pictures(arguments, items, skipped, None))
    item, title = arguments.item_column, arguments.title_column
    rows = table.read(skipped, needed_of_items(arguments), [title])
    text_columns = arguments.text_columns or [column for column in [title] if column in rows]
    kept = rows[rows[item].isin(items)]
    if kept.empty:
        there, here = (", ".join(map(repr, ids[:3])) or "none" for ids in (rows[item].unique(), items))
        raise UserError(
            f"no item of {table} is among the interactions that are kept: the ids are such as {there} there and {here} "
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
    titles = _titles(rows, title) if title in rows else {}
    texts = _texts(rows, text_columns)
    if text_columns and not texts:
        message = f"no item that is kept has a text in {', '.join(dict.fromkeys(text_columns))} of {table.name}"
        if arguments.text_model != NONE:
            raise UserError(f"{message}; name other --text_columns, or give --text_model none")
        skipped.remark(message)
    pictures = dict(rows[arguments.image_column]) if arguments.image_column else None
    columns = {"text": text_columns, "image": [arguments.image_column] if arguments.image_column else []}
    kept = {column: without_empty(dict(zip(rows.index, map(as_field, rows[column])))) for column in _kept(arguments)}
    return Content(titles, texts, _pictures(arguments, items, skipped, pictures), features, columns, kept)


def needed_of_items(arguments: argparse.Namespace) -> list[str]:
    """The columns that a table of items must have; beside texts or vectors a title is read if there is one."""
    texts = arguments.text_columns or ([] if arguments.vectors else [arguments.title_column])
    pictures = [arguments.image_column] if arguments.image_column else []
    return list(dict.fromkeys([arguments.item_column, *texts, *pictures, *(arguments.keep_columns or ())]))


def _kept(arguments: argparse.Namespace) -> list[str]:
    """The columns that the data set keeps: those that are named, and the one of pictures, as ``serve`` shows these."""
    pictures = [arguments.image_column] if arguments.image_column else []
    own = [column for column in pictures if column not in _TAKEN and ":" not in column]
    return list(dict.fromkeys([*own, *(arguments.keep_columns or ())]))


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


def _titles(rows: pd.DataFrame, column: str) -> dict[str, str]:
    return without_empty({item: as_it_stands(title) for item, title in zip(rows.index, rows[column])})


def _texts(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    values = zip(rows.index, rows[list(columns)].to_numpy())
    return without_empty({item: one_line(*texts) for item, texts in values})

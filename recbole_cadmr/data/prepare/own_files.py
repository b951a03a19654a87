"""Your own files: interactions and items as csv, tsv, JSON lines or parquet, and a folder of pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recbole_cadmr.arguments import real
from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content, one_line
from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.origin import Origin
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.tables import read_rows, with_numbers
from recbole_cadmr.data.prepare.tally import Tally
from recbole_cadmr.errors import UserError

_LICENCE = "Its licence is that of these files."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare files``."""
    add = parser.add_argument
    add("--inter", required=True, type=Path, metavar="FILE", help="interactions: csv, tsv, jsonl or parquet")
    add("--items", type=Path, metavar="FILE", help="items with their texts, in one of these formats")
    add("--images", type=Path, metavar="DIR", help="pictures ITEM.jpg, or as --image_column names them")
    add("--user_column", default="user_id", help="of --inter (default: %(default)s)")
    add("--item_column", default="item_id", help="of --inter and --items (default: %(default)s)")
    add("--rating_column", help="of --inter (default: none)")
    add("--time_column", help="of --inter, numbers or dates (default: none)")
    add("--min_rating", type=real, help="leave out interactions rated lower (default: keep all)")
    add("--title_column", default="title", help="of --items (default: %(default)s)")
    add("--text_columns", metavar="A,B", help="of --items, read by the text model (default: the title)")
    add("--image_column", help="of --items, names of files in --images (default: ITEM.jpg)")
    add("--encoding", default="utf-8", help="of csv and tsv (default: %(default)s)")
    add_options(parser)


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    options = read_options(arguments, arguments.inter.name.partition(".")[0])
    tally = Tally(options.strict)
    need_folder(arguments.images, "--images")

    def read_content(items: Sequence[str], work: Path) -> Content:
        return read_items(arguments, items, tally)

    sources = [path for path in (arguments.inter, arguments.items) if path]
    origin = Origin("Made from a user's own files.", _LICENCE, sources)
    return assemble(read_interactions(arguments, tally), read_content, origin, options, tally)


def read_interactions(arguments: argparse.Namespace, tally: Tally) -> pd.DataFrame:
    """``user_id, item_id`` and, if their columns are named, ``rating`` and ``timestamp`` (seconds)."""
    named = {
        "user_id": arguments.user_column,
        "item_id": arguments.item_column,
        "rating": arguments.rating_column,
        "timestamp": arguments.time_column,
    }
    columns = {ours: theirs for ours, theirs in named.items() if theirs}
    rows = read_rows(arguments.inter, tally, list(dict.fromkeys(columns.values())), arguments.encoding)
    table = pd.DataFrame({ours: rows[theirs] for ours, theirs in columns.items()})
    for name, read in (("rating", _numbers), ("timestamp", _seconds)):
        if name in table:
            table[name] = read(table[name])
            table = with_numbers(table, name, arguments.inter, tally)
    if arguments.min_rating is not None:
        if "rating" not in table:
            raise UserError("--min_rating needs --rating_column")
        low = table["rating"] < arguments.min_rating
        tally.note(f"interactions rated below {arguments.min_rating:g}", n=int(low.sum()))
        table = table[~low]
    return table.reset_index(drop=True)


def read_items(arguments: argparse.Namespace, items: Sequence[str], tally: Tally) -> Content:
    """Titles, texts and pictures of ``items``; an item's first row counts."""
    if not arguments.items:
        return Content(pictures=_pictures(arguments, items, tally, None))
    text_columns = arguments.text_columns.split(",") if arguments.text_columns else [arguments.title_column]
    picture = [arguments.image_column] if arguments.image_column else []
    columns = list(dict.fromkeys([arguments.item_column, arguments.title_column, *text_columns, *picture]))
    if arguments.text_columns:  # then a title is welcome, not needed
        rows = read_rows(arguments.items, tally, None, arguments.encoding)
        columns = [column for column in columns if column != arguments.title_column or column in rows]
    rows = read_rows(arguments.items, tally, columns, arguments.encoding)
    tally.note("items without interactions that are kept", n=int((~rows[arguments.item_column].isin(items)).sum()))
    rows = rows[rows[arguments.item_column].isin(items)]
    repeated = rows.duplicated(arguments.item_column)
    tally.note("repeated items", n=int(repeated.sum()))
    rows = rows[~repeated].set_index(arguments.item_column)
    tally.note("items that are not among --items", n=len(set(items) - set(rows.index)))
    titles = _texts(rows, [arguments.title_column]) if arguments.title_column in rows else {}
    names = dict(rows[arguments.image_column]) if arguments.image_column else None
    pictures = _pictures(arguments, items, tally, names)
    return Content(titles, _texts(rows, text_columns), pictures)


def _pictures(
    arguments: argparse.Namespace, items: Sequence[str], tally: Tally, names: dict[str, str] | None
) -> dict[str, Path]:
    return find_pictures(arguments.images, items, tally, "--images", names) if arguments.images else {}


def _texts(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    texts = {item: one_line(*values) for item, values in zip(rows.index, rows[list(columns)].itertuples(index=False))}
    return {item: text for item, text in texts.items() if text}


def _numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce").replace([float("inf"), float("-inf")], float("nan"))


def _seconds(values: pd.Series) -> pd.Series:
    """Numbers as they are, dates as seconds since 1970."""
    numbers = _numbers(values)
    if numbers.notna().any():
        return numbers
    dates = pd.to_datetime(values, errors="coerce", utc=True, format="mixed")
    return (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)

"""MicroLens: pairs of users and videos, with the videos' titles and covers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from recbole_cadmr.data.prepare.assemble import assemble
from recbole_cadmr.data.prepare.content import Content
from recbole_cadmr.data.prepare.lines import lines_of, the_file
from recbole_cadmr.data.prepare.options import add_options, read_options
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.prepare.texts import one_line
from recbole_cadmr.data.text_columns import text_table

_LICENCE = "Published for research by its authors (Ni et al., 2023); see the MicroLens repository for its terms."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare microlens``."""
    add = parser.add_argument
    add("--source", required=True, type=Path, metavar="DIR", help="holds *_pairs.tsv (or .csv) and *_titles.csv")
    add("--images", type=Path, metavar="DIR", help="covers ITEM.jpg (default: *_covers in --source, if there)")
    add_options(parser, split="leave-last", k_core=1)  # the release is already filtered


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    source = arguments.source
    pairs = the_file(source, "*_pairs.tsv", "*_pairs.csv")
    titles = the_file(source, "*_titles.csv", "*_title.csv")
    name = pairs.name.removesuffix(pairs.suffix).removesuffix("_pairs").replace("-", "").lower()
    options = read_options(arguments, name)
    need_folder(arguments.images, "--images")
    images = arguments.images or next(iter(sorted(source.glob("*_covers"))), source / "covers")
    skipped = SkippedRows(options.strict)

    def read_content(items: Sequence[str], work: Path) -> Content:
        by_item = read_titles(titles, set(items), skipped)
        return Content(by_item, by_item, find_pictures(images, items, skipped, "--images" if arguments.images else ""))

    def catalogue() -> Iterable[str]:
        return list(read_rows(titles, SkippedRows(), ("item", "title"))["item"])

    origin = f"Pairs and titles of {pairs.name.rpartition('_')[0]}."
    about = (origin, _LICENCE, [pairs, titles])
    return assemble(read_pairs(pairs, skipped), read_content, options, skipped, *about, catalogue)


def read_pairs(path: Path, skipped: SkippedRows) -> pd.DataFrame:
    """Interactions as text, in time order.

    A ``.tsv`` has one line per user: the user, a tab, and the items in time order separated by spaces. A ``.csv`` has
    the columns ``user``, ``item`` and ``timestamp``.
    """
    if path.suffix == ".csv":
        rows = read_rows(path, skipped, ("user", "item", "timestamp"), ids=("user", "item"))
        return rows.set_axis(["user_id", "item_id", "timestamp"], axis="columns")

    def pairs() -> Iterator[tuple[str, str]]:
        for number, line in lines_of(path, skipped):
            user, _, chosen = line.partition("\t")
            if user.strip() and chosen.split():
                yield from ((user.strip(), item) for item in chosen.split())
            else:
                skipped.malformed(path, number, "it must hold a user, a tab and items")

    return text_table(("user_id", "item_id"), pairs(), ids=("user_id", "item_id"))


def read_titles(path: Path, items: set[str], skipped: SkippedRows) -> dict[str, str]:
    """Titles of ``items`` from a table with the columns ``item`` and ``title``."""
    rows = read_rows(path, skipped, ("item", "title"))
    return {item: title for item, title in zip(rows["item"], map(one_line, rows["title"])) if item in items and title}

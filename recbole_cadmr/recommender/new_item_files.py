"""Files of products that came after training, as ``Recommender.add_items`` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.prepare.interactions import is_usable
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.prepare.texts import one_line
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.new_item_vectors import ARGUMENTS


@dataclass(frozen=True)
class Columns:
    """How the columns of a file of products are called.

    Attributes:
        texts: those that make an item's text, all of which must be there.
        texts_of_set: those that made the texts of the data set, if that says so, which are read if none are named;
            where none of them is there, ``text`` is. Of a data set that does not say so it is the title after that.
        picture: the one that names pictures, if none is given the one of the data set, or ``picture``.
        sound: the same of sounds.
    """

    item: str = "item_id"
    title: str = "title"
    texts: Sequence[str] = ()
    texts_of_set: Sequence[str] = ()
    picture: str = "picture"
    sound: str = "sound"

    @classmethod
    def of(
        cls,
        encoders: Mapping[str, Encoder],
        item: str,
        title: str,
        texts: Sequence[str],
        picture: str | None,
        sound: str | None = None,
    ) -> Columns:
        """Those that are given, and those of the data set in place of others."""
        own = {encoder.kind: encoder.columns for encoder in encoders.values()}
        picture = picture or next(iter(own.get("image", ())), cls.picture)
        return cls(
            item, title, texts, own.get("text", ()), picture, sound or next(iter(own.get("audio", ())), cls.sound)
        )

    def of_texts(self, path: Path, there: Iterable[str]) -> Sequence[str]:
        """Those of ``there`` that make an item's text.

        Raises:
            UserError: if these are some of the data set's and others are not there.
        """
        if self.texts:
            return self.texts
        present = set(there)
        missing = [name for name in self.texts_of_set if name not in present]
        if not missing and self.texts_of_set:
            return self.texts_of_set
        if "text" in present:
            return ["text"]
        if not self.texts_of_set:
            return [name for name in (self.title,) if name in present]
        if len(missing) < len(self.texts_of_set):
            raise UserError(
                f"{path} has no column {' or '.join(missing)}, and the texts of the data set were made of "
                f"{', '.join(self.texts_of_set)}; add it, or say by --text_columns which ones make a text"
            )
        return []


def read_new_items(
    path: Path,
    modalities: Iterable[str],
    columns: Columns | None = None,
    images: Path | None = None,
    skipped: SkippedRows | None = None,
) -> dict[str, Any]:
    """What ``Recommender.add_items`` takes, of a csv, tsv, jsonl or parquet file: a row an item.

    Read are, as far as they are there, titles, texts, pictures, sounds and of each modality ``MODALITY_vector``
    (numbers).

    Args:
        images: where the pictures are, as of :func:`find_pictures`; if not given, and of sounds, paths from the folder
            of the file.
        skipped: counts what is left out, as ``prepare`` does: lines that cannot be read, rows without a usable id, all
            but the first of an item; and items without a picture.

    Raises:
        UserError: if the file cannot be read, lacks a column, has no row that can be used, or a vector is none.
    """
    columns, skipped = columns or Columns(), skipped or SkippedRows()
    named = {f"{name}_vector": name for name in modalities}
    optional = [columns.title, *columns.texts_of_set, "text", columns.picture, columns.sound, *named]
    rows = read_rows(path, skipped, [columns.item, *columns.texts], optional)
    usable = rows[rows[columns.item].map(is_usable).astype(bool)]
    if usable.empty:
        raise UserError(f"{path} holds no items" if rows.empty else f"{path} holds no item with a usable id")
    skipped.note("items without a usable id", n=len(rows) - len(usable))
    rows = usable.drop_duplicates(columns.item)
    skipped.note("repeated items", n=len(usable) - len(rows))
    products: dict[str, Any] = {"ids": rows[columns.item].tolist()}
    if columns.title in rows:
        products["titles"] = rows[columns.title].tolist()
    vectors = {named[name]: _numbers(path, name, rows[name]) for name in named if name in rows}
    if vectors:
        products["vectors"] = vectors
    if columns.texts or "text" in rows or "text" not in vectors:
        own = list(columns.of_texts(path, rows))
        if own:
            products["texts"] = [one_line(*texts) or None for texts in rows[own].to_numpy()]
    names = rows[columns.picture].tolist() if columns.picture in rows else None
    if images is not None:
        need_folder(images, "--images")  # that may have none yet of what is new today
        by_item = None if names is None else dict(zip(products["ids"], names))
        found = find_pictures(images, products["ids"], skipped, names=by_item)
        products["pictures"] = [found.get(item) for item in products["ids"]]
    elif names is not None:
        products["pictures"] = [path.parent / name if name else None for name in names]
    if columns.sound in rows:
        products["sounds"] = [path.parent / name if name else None for name in rows[columns.sound]]
    return products


def with_content(products: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Those of ``read_new_items`` of which there is some content, and how many others there were."""
    has_content = np.zeros(len(products["ids"]), dtype=bool)
    for name in ARGUMENTS.values():
        has_content |= np.array(
            [value is not None for value in products.get(name, [None] * len(has_content))], dtype=bool
        )
    for rows in products.get("vectors", {}).values():
        has_content |= np.array([any(row) for row in rows], dtype=bool)
    return _only(products, has_content)


def not_in(catalogue: Catalogue, products: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Those of ``read_new_items`` that a catalogue does not have yet, and how many others there were."""
    return _only(products, np.array([name not in catalogue.item_numbers for name in products["ids"]], dtype=bool))


def _only(products: Mapping[str, Any], chosen: np.ndarray) -> tuple[dict[str, Any], int]:
    kept: dict[str, Any] = {
        name: list(compress(values, chosen)) for name, values in products.items() if name != "vectors"
    }
    if vectors := products.get("vectors", {}):
        kept["vectors"] = {name: list(compress(rows, chosen)) for name, rows in vectors.items()}
    return kept, int((~chosen).sum())


def _numbers(path: Path, column: str, cells: pd.Series) -> list[list[float]]:
    """A vector a row, of numbers between blanks or commas; zeros of a row that has none."""
    vectors: list[list[float]] = []
    for row, cell in zip(cells.index + 1, cells):
        try:
            vectors.append([float(number) for number in cell.strip("[] ").replace(",", " ").split()])
        except ValueError as error:
            raise UserError(f"the {column} of {path} in row {row} holds something other than numbers") from error
    width = max(map(len, vectors))
    lengths = {len(vector) for vector in vectors if vector}
    if len(lengths) > 1:
        raise UserError(f"the {column} of {path} has vectors of {min(lengths)} and of {max(lengths)} numbers")
    return [vector or [0.0] * width for vector in vectors]

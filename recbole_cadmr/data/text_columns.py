"""Columns of text for tables of many rows: ids as categories, other texts in Arrow's arrays, not an object a row."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import count, islice

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import union_categoricals

TEXT = pa.large_string()
_BLOCK = 2**16  # rows
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # which Arrow cannot hold, nor any number or date


class Ids:
    """Texts that stand many times: a category each, in the order of their first row."""

    def __init__(self) -> None:
        self._number: defaultdict[str, int] = defaultdict(count().__next__)
        self._codes = [np.empty(0, dtype=np.int32)]

    def add(self, texts: Sequence[str]) -> None:
        """Append rows."""
        self._codes.append(np.fromiter(map(self._number.__getitem__, texts), np.int32, len(texts)))

    def add_array(self, texts: pa.Array) -> None:
        """Append rows that Arrow holds."""
        found = texts.dictionary_encode()
        distinct = found.dictionary.to_pylist()
        places = np.fromiter(map(self._number.__getitem__, distinct), np.int32, len(distinct))
        self._codes.append(places[found.indices.to_numpy()])

    def values(self) -> pd.Categorical:
        """All rows."""
        return _category(np.concatenate(self._codes), self._number)


class Texts:
    """Texts that differ from row to row, such as times."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []

    def add(self, texts: Sequence[str]) -> None:
        """Append rows."""
        self._chunks += arrow_text(texts).chunks

    def add_array(self, texts: pa.Array) -> None:
        """Append rows that Arrow holds."""
        self._chunks.append(texts)

    def values(self) -> pd.api.extensions.ExtensionArray:
        """All rows."""
        return pd.arrays.ArrowExtensionArray(pa.chunked_array(self._chunks, TEXT))


class Objects:
    """Texts of a table that fits in memory as Python's; equal ones are stored once."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, texts: Sequence[str]) -> None:
        """Append rows."""
        self._texts.extend(map(sys.intern, texts))

    def add_array(self, texts: pa.Array) -> None:
        """Append rows that Arrow holds."""
        self._texts.extend(texts.to_pylist())

    def values(self) -> np.ndarray:
        """All rows."""
        return np.array(self._texts, dtype=object)


Column = Ids | Texts | Objects


def empty_columns(names: Sequence[str], ids: Collection[str]) -> dict[str, Column]:
    """Columns to be filled: if some hold ``ids``, for many rows; else of Python's texts."""
    return {name: Ids() if name in ids else Texts() if ids else Objects() for name in names}


def text_table(names: Sequence[str], rows: Iterable[Sequence[str]], ids: Collection[str] = ()) -> pd.DataFrame:
    """Rows of text as a table with columns of these names.

    Args:
        ids: columns of ids, in a table of many rows; they become categories, and the others texts in Arrow's arrays.
    """
    columns, rows = empty_columns(names, ids), iter(rows)
    while True:
        block: list[list[str]] = [[] for _ in names]  # by column: rows that are kept would keep the collector busy
        for row in islice(rows, _BLOCK):
            for texts, text in zip(block, row):
                texts.append(text)
        if not any(block):
            break
        for column, texts in zip(columns.values(), block):
            column.add(texts)
    return pd.DataFrame({name: column.values() for name, column in columns.items()})


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of the same columns below one another, numbered anew; categories stay such."""
    if len(tables) == 1:
        return tables[0]
    if any(list(table) != list(tables[0]) for table in tables):
        return pd.concat(tables, ignore_index=True)
    return pd.DataFrame({name: _joined([table[name] for table in tables]) for name in tables[0]})


def _joined(columns: Sequence[pd.Series]) -> pd.Series | pd.Categorical:
    if all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        return union_categoricals(columns)
    return pd.concat(columns, ignore_index=True)


def as_category(column: pd.Series) -> pd.Categorical:
    """A column of ids as categories, which it may be already."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.array
    codes, ids = pd.factorize(column)
    return _category(codes, ids)


def _category(codes: np.ndarray, ids: Iterable[str]) -> pd.Categorical:
    """Rows of ids by their numbers; what has lone surrogates, which pandas refuses, becomes a text no id may be."""
    texts = [
        f"{text.encode('utf-8', 'backslashreplace').decode()}\r" if _LONE_SURROGATE.search(text) else text
        for text in ids
    ]
    return pd.Categorical.from_codes(codes, pd.Index(texts, dtype=object))


def arrow_text(texts: Iterable[str | None]) -> pa.ChunkedArray:
    """Texts as Arrow's; what is missing is ``""``, and U+FFFD stands for lone surrogates."""
    if isinstance(texts, pd.Series) and isinstance(texts.dtype, pd.CategoricalDtype):
        texts = texts.astype(object)
    try:
        array = pa.array(texts, TEXT, from_pandas=True).fill_null("")
    except UnicodeEncodeError:
        array = pa.array([_LONE_SURROGATE.sub("\ufffd", text or "") for text in texts], TEXT)
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def distinct_text(texts: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Of each row the place of its text among the distinct ones, and these in the order of their first row."""
    if not len(texts):
        return np.empty(0, dtype=np.int32), pa.array([], TEXT)
    found = pc.dictionary_encode(texts).combine_chunks()
    return found.indices.to_numpy(), found.dictionary

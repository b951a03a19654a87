"""Parquet columns as text, each cast from its declared type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.data.prepare.separated import Choice
from recbole_cadmr.data.prepare.texts import as_text
from recbole_cadmr.errors import UserError
from recbole_cadmr.memory import free_bytes


def read_parquet(path: Path, choose: Choice) -> pd.DataFrame:
    """The columns that ``choose`` picks, as text.

    Raises:
        UserError: if the file is damaged, encrypted or does not fit in memory, or a column cannot be text.
    """
    try:
        with pa.parquet.ParquetFile(path) as file:
            chosen = choose(file.schema_arrow.names)
            # The least that a table of texts takes: a hundred bytes can declare a billion rows.
            if 8 * file.metadata.num_rows * len(chosen) > free_bytes():
                raise UserError(f"{path} declares {file.metadata.num_rows:,} rows, more than fit in memory")
            table = file.read(chosen)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, MemoryError):
            raise
        raise UserError(f"{path} is damaged, encrypted, or not a parquet file") from error
    return pd.DataFrame({name: _column(path, name, table[name]) for name in chosen}, dtype=object)


def _column(path: Path, name: str, column: pa.ChunkedArray) -> Sequence[str]:
    try:
        column.validate(full=True)
        text = [value for chunk in column.chunks for value in _texts(chunk)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the column '{name}' ({column.type}) cannot be read as text") from error
    return text


def _texts(array: pa.Array) -> list[str]:
    """Each value as text: whole numbers without a fraction, lists as one text, null as ``""``."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _texts(array.storage)
    if pa.types.is_dictionary(kind):
        return _texts(array.dictionary_decode())
    if pa.types.is_nested(kind):
        return [as_text(value) for value in _values(array)]
    if pa.types.is_floating(kind):
        numbers = array.cast(pa.float64()).fill_null(float("nan")).to_pylist()
        written = zip(numbers, array.cast(pa.string()).to_pylist())  # Arrow would write 1e+16
        return ["" if math.isnan(n) else f"{n + 0:.0f}" if n.is_integer() else text for n, text in written]
    return array.cast(pa.large_string()).fill_null("").to_pylist()


def _values(array: pa.Array) -> list[Any]:
    """Nested values as Python's lists and dicts of texts."""
    kind = array.type
    if pa.types.is_struct(kind):
        fields = {kind.field(index).name: _values(array.field(index)) for index in range(kind.num_fields)}
        rows = [dict(zip(fields, values)) for values in zip(*fields.values())] if fields else [{}] * len(array)
    elif pa.types.is_map(kind):
        return _listed(array, [list(pair) for pair in zip(_values(array.keys), _values(array.items))])
    elif isinstance(array, (pa.ListArray, pa.LargeListArray)):
        return _listed(array, _values(array.values))
    elif pa.types.is_nested(kind):  # lists of a fixed length, views of lists, unions
        return _values(array.cast(pa.list_(kind.value_type)))
    else:
        return _texts(array)
    return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]


def _listed(array: pa.Array, values: list[Any]) -> list[Any]:
    offsets = array.offsets.to_pylist()
    valid = array.is_valid().to_pylist()
    return [values[start:end] if there else None for start, end, there in zip(offsets, offsets[1:], valid)]

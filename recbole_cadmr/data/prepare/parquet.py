"""Parquet columns as text, each cast from its declared type."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.data.prepare.separated import Choice
from recbole_cadmr.data.prepare.texts import as_text
from recbole_cadmr.data.text_columns import TEXT, Column, empty_columns
from recbole_cadmr.errors import UserError
from recbole_cadmr.memory import free_bytes

_BATCH = 2**18  # rows read at once


def read_parquet(path: Path, choose: Choice, ids: Collection[str]) -> pd.DataFrame:
    """The columns that ``choose`` picks, as text.

    Args:
        ids: as of :func:`text_table`.

    Raises:
        UserError: if the file is damaged, encrypted or does not fit in memory, or a column cannot be text.
    """
    try:
        with pa.parquet.ParquetFile(path) as file:
            chosen = choose(file.schema_arrow.names)
            # The least that a table of texts takes: a hundred bytes can declare a billion rows.
            if 8 * file.metadata.num_rows * len(chosen) > free_bytes():
                raise UserError(f"{path} declares {file.metadata.num_rows:,} rows, more than fit in memory")
            columns = empty_columns(chosen, ids)
            for batch in file.iter_batches(_BATCH, columns=chosen):
                for name, column in columns.items():
                    _fill(column, path, name, batch.column(name))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, MemoryError):
            raise
        raise UserError(f"{path} is damaged, encrypted, or not a parquet file") from error
    return pd.DataFrame({name: column.values() for name, column in columns.items()})


def _fill(column: Column, path: Path, name: str, array: pa.Array) -> None:
    """Append to a column the values of an array, as text."""
    try:
        array.validate(full=True)
        if isinstance(array, pa.ExtensionArray) or _is_made_of_others(array.type):
            column.add(texts_of(array))
        else:
            column.add_array(_cast(array))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the column '{name}' ({array.type}) cannot be read as text") from error


def _is_made_of_others(kind: pa.DataType) -> bool:
    """Whether Arrow's own text of a type is not what is wanted."""
    return pa.types.is_dictionary(kind) or pa.types.is_nested(kind) or pa.types.is_floating(kind)


def _cast(array: pa.Array) -> pa.Array:
    return array.cast(TEXT).fill_null("")


def texts_of(array: pa.Array) -> list[str]:
    """Each value as text: whole numbers without a fraction, lists as one text, null as ``""``."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return texts_of(array.storage)
    if pa.types.is_dictionary(kind):
        return texts_of(array.dictionary_decode())
    if pa.types.is_nested(kind):
        return [as_text(value) for value in _values(array)]
    if pa.types.is_floating(kind):
        numbers = array.cast(pa.float64()).fill_null(float("nan")).to_pylist()
        written = zip(numbers, array.cast(pa.string()).to_pylist())  # Arrow would write 1e+16
        return ["" if math.isnan(n) else f"{n + 0:.0f}" if n.is_integer() else text for n, text in written]
    return _cast(array).to_pylist()


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
        return texts_of(array)
    return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]


def _listed(array: pa.Array, values: list[Any]) -> list[Any]:
    offsets = array.offsets.to_pylist()
    valid = array.is_valid().to_pylist()
    return [values[start:end] if there else None for start, end, there in zip(offsets, offsets[1:], valid)]

"""Vectors in tables: parquet, csv and tsv, with a column of ids, and a column of vectors or one a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.data.prepare.parquet import texts_of
from recbole_cadmr.data.prepare.separated import separated_rows
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import chosen_columns
from recbole_cadmr.data.vector_files.block import NUMBERS, Block, Reading
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file

_FIRST = 2**14  # rows of parquet read at once, before the width is known


def parquet_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Vectors of a parquet file; a null, or a row of nulls, is an item without one."""
    need_file(path)
    try:
        with pa.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            ids, columns = _columns(path, reading, schema)
            is_list = _is_list(schema.field(columns[0]).type)
            size, width = (_FIRST if is_list else max(1, NUMBERS // len(columns))), 0
            for batch in file.iter_batches(size, columns=[ids, *columns]):
                names = texts_of(batch.column(ids))
                if is_list:
                    for start in range(0, len(names), step := max(1, NUMBERS // (width or NUMBERS))):
                        part = batch.column(columns[0]).slice(start, step)
                        rows = _rows_of_lists(path, names[start : start + step], part, width)
                        width = rows.shape[1]
                        yield Block(names[start : start + step], rows)
                else:
                    rows = np.stack([_numbers(batch.column(name)) for name in columns], axis=1)
                    rows[np.isnan(rows).all(axis=1) & _all_null(batch, columns)] = 0
                    yield Block(names, rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, MemoryError):
            raise
        raise UserError(f"{path} is damaged, encrypted, or not a parquet file of ids and numbers") from error


def _columns(path: Path, reading: Reading, schema: pa.Schema) -> tuple[str, list[str]]:
    """The column of ids, and those that vectors are in."""
    wanted = [reading.item_column, *([reading.vector_column] if reading.vector_column else [])]
    chosen_columns(path, wanted, wanted, schema.names)
    if reading.vector_column:
        columns = [reading.vector_column]
    else:
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        others = [name for name in schema.names if name != reading.item_column and name not in index]
        lists = [name for name in others if _is_list(schema.field(name).type)]
        if len(lists) > 1:
            raise UserError(f"{path} has vectors in {', '.join(lists[:5])}; name one of them with --vector_column")
        columns = lists or others
    if not columns:
        raise UserError(f"{path} has no column but '{reading.item_column}', and so no vectors")
    for name in columns:
        kind = schema.field(name).type
        if not (_is_list(kind) and len(columns) == 1) and not _is_number(kind):
            raise UserError(
                f"{path}: the column '{name}' ({kind}) holds no numbers; name that of the vectors with "
                f"--vector_column, or leave in the file only '{reading.item_column}' and a column a dimension"
            )
    return reading.item_column, columns


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _rows_of_lists(path: Path, names: Sequence[str], lists: pa.Array, width: int) -> np.ndarray:
    """Lists as rows [n, width], zeros for those that are null or empty; ``width`` is 0 if no list was there before."""
    if not _is_number(lists.type.value_type):
        raise UserError(f"{path} holds lists of {lists.type.value_type}, not of numbers")
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    there = np.flatnonzero(lengths)
    width = width or (int(lengths[there[0]]) if len(there) else 1)
    wrong = there[lengths[there] != width]
    if len(wrong):
        place = int(wrong[0])
        raise UserError(
            f"the vector of '{names[place]:.100}' in {path} has {lengths[place]:,} numbers, the first one {width:,}"
        )
    values = _numbers(lists.drop_null().flatten())
    rows = np.zeros((len(names), width), dtype=values.dtype)
    rows[there] = values.reshape(len(there), width)
    return rows


def _numbers(array: pa.Array) -> np.ndarray:
    """Numbers, NaN for null."""
    values = array.to_numpy(zero_copy_only=False)
    return values if values.dtype.kind == "f" and not array.null_count else values.astype(np.float64)


def _all_null(batch: pa.RecordBatch, columns: Sequence[str]) -> np.ndarray:
    """Which rows have nothing in any of these columns: bool [n]."""
    empty = np.ones(len(batch), dtype=bool)
    for name in columns:
        empty &= batch.column(name).is_null().to_numpy(zero_copy_only=False)
    return empty


def separated_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Vectors of a csv or tsv, plain or gzip: numbers in columns, or between blanks or commas in one; an empty cell of
    the latter, or a row of empty cells, is an item without one.
    """
    need_file(path)
    item, vector = reading.item_column, reading.vector_column

    def choose(names: Sequence[str]) -> list[str]:
        wanted = [item, vector] if vector else [item, *(name for name in names if name != item)]
        return chosen_columns(path, wanted, wanted, names)

    strict = SkippedRows(strict=True)
    chosen, rows = separated_rows(path, strict, choose, [item, *([vector] if vector else [])], None, None)
    if len(chosen) < 2:
        raise UserError(f"{path} has no column but '{item}', and so no vectors")
    names: list[str] = []
    vectors: list[list[str]] = []
    width = 0
    for name, *cells in rows:
        if len(cells) == 1:
            cells = cells[0].strip("[] \t").replace(",", " ").split()
        elif not any(cells):
            cells = []
        width = width or len(cells)
        if cells and len(cells) != width:
            raise UserError(
                f"the vector of '{name:.100}' in {path} has {len(cells):,} numbers, the first one {width:,}"
            )
        names.append(name)
        vectors.append(cells)
        if len(vectors) * max(width, 1) >= NUMBERS:
            yield Block(names, _parsed(path, names, vectors, width))
            names, vectors = [], []
    if names:
        yield Block(names, _parsed(path, names, vectors, width))


def _parsed(path: Path, names: Sequence[str], vectors: Sequence[Sequence[str]], width: int) -> np.ndarray:
    rows = np.zeros((len(names), max(width, 1)))
    for place, cells in enumerate(vectors):
        try:
            if cells:
                rows[place] = cells
        except ValueError as error:
            raise UserError(
                f"the vector of '{names[place]:.100}' in {path} holds something other than numbers"
            ) from error
    return rows

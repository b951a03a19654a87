"""Lists as files: tsv, csv, JSON lines or parquet, as the name says, with more about their items if asked for."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.files import write_aside

_BLOCK = 2**18  # rows that are turned into text at once
_OTHERS = (".json", ".xlsx", ".xls", ".ods", ".feather", ".db", ".sqlite")  # whose readers would be misled by a tsv


def refuse_output(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise :class:`UserError` if lists cannot be written there: not in that format, or not without harm."""
    if Path(path).suffix.lower() in _OTHERS:
        raise UserError(f"{path} cannot be written: lists are csv, tsv, jsonl or parquet, by the end of the name")
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    if not overwrite:
        raise UserError(f"{path} is already there; choose another `output`, or replace it with --overwrite")
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise UserError(f"{path} is not a file, and is not replaced; choose another `output`")


def write_lists(lists: pd.DataFrame, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a table of texts, whole numbers and real ones with a header, whole or not at all.

    A name in ``.csv``, ``.jsonl`` (both also ``.gz``) or ``.parquet`` says the format; others are separated by tabs.
    Parquet holds the scores as they are, the others six digits of them.

    Raises:
        UserError: as of :func:`refuse_output`, and if a text cannot stand in a tsv.
    """
    refuse_output(path, overwrite)
    name = Path(path).name.lower()
    with write_aside(path) as temporary:
        if name.endswith(".parquet"):
            _write_parquet(lists, temporary)
        else:
            with open(temporary, "wb") as plain:
                # Without a name and a time, so that the same lists are the same bytes.
                packed = gzip.GzipFile("", "wb", fileobj=plain, mtime=0) if name.endswith(".gz") else None
                file = cast(BinaryIO, packed or plain)
                for text in _text(lists, name.removesuffix(".gz")):
                    file.write(text.encode())
                if packed is not None:
                    packed.close()


def with_columns(lists: pd.DataFrame, table: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Lists with columns of the catalogue's table of items behind their own.

    Returns:
        The lists, and how many of their items have nothing in each column.

    Raises:
        UserError: as of :func:`check_columns`.
    """
    check_columns(table, names, list(lists))
    if not names:
        return lists, {}
    number, items = pd.factorize(lists["item_id"])
    known = table.reindex(items, fill_value="")
    lists, without = lists.copy(deep=False), {}
    for name in names:
        values = known[name].to_numpy(dtype=object)
        lists[name] = values[number]
        without[name] = int((values == "").sum())
    return lists, without


def check_columns(table: pd.DataFrame, names: Sequence[str], taken: Sequence[str] = ()) -> None:
    """Raise :class:`UserError` if a table of items lacks one of the columns asked for, or lists have it already."""
    for place, name in enumerate(names):
        if name not in table:
            has = f"it has {', '.join(map(str, table))}" if len(table.columns) else "it says nothing about its items"
            raise UserError(f"the data set has no column '{name}' of its items; {has}{did_you_mean(name, table)}")
        if name in taken or name in names[:place]:
            raise UserError(f"the lists have the column '{name}' already; leave it out of --with")


def _write_parquet(lists: pd.DataFrame, path: Path) -> None:
    kinds = {name: column.dtype.kind for name, column in lists.items()}
    types = {"O": pa.dictionary(pa.int32(), pa.string()), "i": pa.int64(), "f": pa.float32()}
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
    repeating = [name for name, kind in kinds.items() if kind != "f"]
    # Without its schema texts are read as texts, not as the numbers of distinct ones.
    with pa.parquet.ParquetWriter(path, schema, use_dictionary=repeating, store_schema=False) as writer:
        for part in _parts(lists):
            columns = [_arrow_array(column.to_numpy(), schema.field(name).type) for name, column in part.items()]
            writer.write_table(pa.table(columns, schema))


def _arrow_array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Values as of a type; texts are looked through once, where Arrow would copy and then compare all."""
    if not pa.types.is_dictionary(kind):
        return pa.array(values, kind)
    number, distinct = pd.factorize(values)
    return pa.DictionaryArray.from_arrays(number.astype(np.int32), pa.array(distinct, kind.value_type))


def _text(lists: pd.DataFrame, name: str) -> Iterator[str]:
    """The text of a file of that name, in pieces."""
    if name.endswith(".csv"):
        yield _line(",", map(_csv, lists))
        yield from _lines(lists, ",", "{}", _csv)
    elif name.endswith(".jsonl"):
        keys = [f"{json.dumps(column, ensure_ascii=False)}: " for column in lists]
        yield from _lines(lists, ", ", "{{{}}}", lambda text: json.dumps(text, ensure_ascii=False), keys)
    else:
        yield _line("\t", lists)
        yield from _lines(lists, "\t", "{}", _tsv)


def _lines(
    lists: pd.DataFrame, separator: str, frame: str, encode: Callable[[str], str], before: Sequence[str] = ()
) -> Iterator[str]:
    """Rows as lines, by one format for each row: half the time of pandas' writer; each text is encoded once."""
    kinds = {"O": "%s", "i": "%d", "f": "%.6g"}
    fields = [kinds[column.dtype.kind] for _, column in lists.items()]
    fields = [f"{key.replace('%', '%%')}{field}" for key, field in zip(before, fields)] if before else fields
    as_text = (frame.format(separator.join(fields)) + "\n").__mod__
    for part in _parts(lists):
        columns = []
        for _, column in part.items():
            if column.dtype.kind == "O":
                number, texts = pd.factorize(column)
                columns.append(np.array([encode(text) for text in texts], dtype=object)[number].tolist())
            else:
                columns.append(column.tolist())
        yield "".join(map(as_text, zip(*columns)))


def _parts(lists: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (lists.iloc[start : start + _BLOCK] for start in range(0, len(lists), _BLOCK))


def _line(separator: str, texts: Sequence[str] | Iterator[str]) -> str:
    return separator.join(texts) + "\n"


def _csv(text: str) -> str:
    """A field, in quotes if it has to be."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _tsv(text: str) -> str:
    if any(mark in text for mark in "\t\r\n"):
        raise UserError(f"{text!r:.80} holds a tab or a line end, which no tsv can; write csv, jsonl or parquet")
    return text

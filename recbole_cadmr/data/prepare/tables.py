"""Tables of a user's own: csv, tsv, JSON lines or parquet, every value as text."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recbole_cadmr.data.prepare.lines import json_lines
from recbole_cadmr.data.prepare.tally import Tally
from recbole_cadmr.errors import UserError, did_you_mean

FORMATS = (".csv", ".tsv", ".parquet", ".jsonl", ".jsonl.gz", ".csv.gz", ".tsv.gz")


def read_rows(path: Path, tally: Tally, columns: Sequence[str] | None = None, encoding: str = "utf-8") -> pd.DataFrame:
    """The rows of a table with a header, as text; a missing value is ``""``.

    Args:
        columns: those that are needed; all if not given.

    Raises:
        UserError: if the file is missing, damaged, of another format, or lacks a column.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        table = _objects(path, tally)
    elif name.endswith(".parquet"):
        table = _parquet(path)
    elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        table = _separated(path, "\t" if ".tsv" in name else ",", tally, encoding)
    else:
        raise UserError(f"{path} must be one of {', '.join(FORMATS)}")
    for column in columns or ():
        if column not in table:
            raise UserError(
                f"{path} has no column '{column}'{did_you_mean(column, table.columns)}; "
                f"it has {', '.join(table.columns)}"
            )
    return table if columns is None else table[list(columns)]


def with_numbers(interactions: pd.DataFrame, column: str, path: Path, tally: Tally) -> pd.DataFrame:
    """Interactions whose ``column`` could be read as a number; the others (NaN) are passed over as malformed."""
    unread = interactions[column].isna()
    for user, item in interactions.loc[unread, ["user_id", "item_id"]].itertuples(index=False):
        tally.malformed(path, f"the line of {user} and {item}", f"its {column} cannot be read")
    return interactions[~unread]


def _separated(path: Path, separator: str, tally: Tally, encoding: str) -> pd.DataFrame:
    bad: list[tuple[int, str]] = []

    def pass_over(row: Any) -> str:  # an exception in here would be lost
        # Rows are numbered if one thread reads them; the header is number 1.
        bad.append((row.number, f"it has {row.actual_columns} columns instead of {row.expected_columns}"))
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=pass_over)
    read = pa.csv.ReadOptions(encoding=encoding, use_threads=False)
    try:
        names = _header(path, separator, encoding)
        as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        table = pa.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=as_text)
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError, OSError, LookupError) as error:
        raise UserError(f"{path} cannot be read as a table in {encoding}: {str(error).splitlines()[0]}") from error
    for number, reason in bad:
        tally.malformed(path, number, reason)
    table = table.to_pandas()
    table.columns = [name.lstrip("\ufeff") for name in table.columns]
    return table


def _header(path: Path, separator: str, encoding: str) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding=encoding, newline="") as file:
        return next(csv.reader(file, delimiter=separator), [])


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is damaged, or no parquet file") from error
    return table.apply(lambda column: column.map(_text))


def _objects(path: Path, tally: Tally) -> pd.DataFrame:
    records = [{str(key): _text(value) for key, value in record.items()} for _, record in json_lines(path, tally)]
    return pd.DataFrame(records, dtype=object).fillna("")


def _text(value: object) -> str:
    """A value as text: whole numbers without a fraction, lists of texts as one text, nothing as ``""``."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(_text, value)))
    return str(value)

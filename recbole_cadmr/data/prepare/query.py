"""The answer of a database to a query, as text."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from recbole_cadmr.data.database import Database
from recbole_cadmr.data.prepare.lines import watched
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import chosen_columns
from recbole_cadmr.data.prepare.texts import flat
from recbole_cadmr.data.text_columns import text_table
from recbole_cadmr.errors import UserError


class Query:
    """A table that is the answer of a database, streamed.

    Args:
        option: the one that gave the query, which names it in messages.

    Attributes:
        size, sha256: of the rows that were last read, as lines of text.
    """

    def __init__(self, database: Database, query: str, option: str) -> None:
        self._database, self.query = database, query
        self.name = f"{option} from {database}"
        self.size, self.sha256 = 0, ""

    def __str__(self) -> str:
        return self.name

    def check(self, columns: Sequence[str]) -> None:
        """Raise :class:`UserError` unless the database answers, with these columns."""
        with self._database.rows_of(self.query) as (names, _):
            chosen_columns(self.name, columns, columns, names)

    def read(
        self, skipped: SkippedRows, columns: Sequence[str], optional: Sequence[str] = (), ids: Collection[str] = ()
    ) -> pd.DataFrame:
        """Its rows, as of :func:`tables.read_rows`: numbers as they are written, dates as ISO has them, NULL as ``""``.

        Raises:
            UserError: if it fails, has no rows, or a column is missing, named twice, or holds bytes.
        """
        digest, self.size = hashlib.sha256(), 0
        with self._database.rows_of(self.query) as (names, answer):
            wanted = list(dict.fromkeys([*columns, *optional]))
            chosen = chosen_columns(self.name, columns, wanted, names)
            places = [names.index(name) for name in chosen]

            def rows() -> Iterator[list[str]]:
                for row in watched(answer, self.name, " rows"):
                    texts = [self._text(row[place], names[place]) for place in places]
                    line = f"{chr(9).join(texts)}\n".encode("utf-8", "surrogatepass")
                    digest.update(line)
                    self.size += len(line)
                    yield texts

            table = text_table(chosen, rows(), ids)
        if table.empty:
            raise UserError(f"{self.name} has no rows; check the query")
        self.sha256 = digest.hexdigest()
        return table

    def _text(self, value: Any, column: str) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (bytes, memoryview)):
            raise UserError(f"{self.name}: the column '{column}' holds bytes; convert it in the query")
        return as_text(value)


def as_text(value: Any) -> str:
    """A value of a database as text: whole numbers without a fraction, lists as one text, NULL and NaN as ``""``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value + 0:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        return "" if value.is_nan() else f"{value:f}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(as_text, flat(value))))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)

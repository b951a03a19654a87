"""Damaged, cut and strange tables: read, counted, or refused by one sentence; never anything else.

``-m fuzz`` tries a hundred times as many.
"""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_cadmr.data.prepare.interactions import clean, k_core, read_values
from recbole_cadmr.data.prepare.options import Options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.times import FORMATS
from recbole_cadmr.errors import UserError

pytestmark = pytest.mark.fuzz

TABLE = pd.DataFrame(
    {
        "user_id": ["a", "b", '"c', "007"] * 3,
        "item_id": [f"i{n % 5}" for n in range(12)],
        "rating": ["5", "4.5", "NA", "1e3"] * 3,
        "timestamp": ["2020-01-02", "03/01/2020 10:00 PM", "1600000000", "2020-01-02T00:00:00+01:00"] * 3,
    }
)


def contents():
    """A well-formed file of every format."""
    made = {"csv": TABLE.to_csv(index=False).encode(), "tsv": TABLE.to_csv(index=False, sep="\t").encode()}
    made["jsonl"] = "".join(json.dumps(row) + "\n" for row in TABLE.to_dict("records")).encode()
    made |= {f"{ending}.gz": gzip.compress(content, mtime=0) for ending, content in made.items()}
    parquet = io.BytesIO()
    TABLE.to_parquet(parquet)
    return made | {"parquet": parquet.getvalue()}


TABLE_FILE = Path("t.csv")
PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b'"', b"\n", b"\r", b",", b"\t", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 2000, b"9" * 500, b"\\ud800"]
    ),
)
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), PIECES), max_size=4)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz", "parquet"])
def test_damaged_tables(tmp_path, ending):
    whole, path = contents()[ending], tmp_path / f"t.{ending}"

    @settings(suppress_health_check=list(HealthCheck))
    @given(
        DAMAGE,
        st.sampled_from([None, "utf-8", "utf-16", "latin-1", "utf-7", "undefined"]),
        st.sampled_from([None, ";"]),
    )
    def read(damage, encoding, separator):
        content = whole
        for place, width, piece in damage:
            at = int(place * len(content))
            content = content[:at] + piece + content[at + width :]
        path.write_bytes(content)
        skipped = SkippedRows()
        try:
            table = read_rows(path, skipped, list(TABLE), (), encoding, separator)
            assert list(table) == list(TABLE) and all(isinstance(text, str) for text in table.to_numpy().ravel())
            values, _ = read_values(table, path, Options("d"), skipped)
            k_core(clean(values, skipped), 1)
        except UserError as error:
            assert str(error) and "\n" not in str(error)
        else:
            if not damage and encoding in (None, "utf-8"):
                assert not separator and len(table) == 12

    read()


@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.from_regex(
                r"[0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4}( [0-9]{1,2}:[0-9]{2}(:[0-9]{2})?( ?[AP]M)?)?",
                fullmatch=True,
            ),
            st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{1,9})?(e[0-9]{1,2})?", fullmatch=True),
        ),
        max_size=8,
    ),
    st.sampled_from([None, *FORMATS, "%d.%m.%Y", "%H:%M", "%"]),
)
def test_any_column_of_times(texts, how):
    table = pd.DataFrame(
        {"user_id": "a", "item_id": [f"i{n}" for n in range(len(texts))], "timestamp": texts}, dtype=object
    )
    try:
        values, _ = read_values(table, TABLE_FILE, Options("d", time_format=how), SkippedRows())
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(values) <= len(texts)
        assert all(abs(value) < 2**63 for value in values["timestamp"])

"""Pictures by their addresses: where no server answers, it is said soon, and what is there is kept."""

from __future__ import annotations

import pytest

from recbole_cadmr.data import download
from recbole_cadmr.data.prepare.amazon import fetch_pictures
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError
from tests.local_server import serve


def test_no_thousand_servers_are_asked_in_vain(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE", 0)
    monkeypatch.setattr(download, "_WAIT", 0.01)
    skipped = SkippedRows()
    with serve() as site:
        site.files["/a.jpg"] = b"picture"
        there = {f"a{i:03}": f"{site.address}/{'a.jpg' if i % 2 else 'lost.jpg'}" for i in range(20)}
        fetch_pictures(there, tmp_path, skipped)
    assert len(list(tmp_path.glob("a*.jpg"))) == 10  # the others were answered, and skipped
    nowhere = {f"b{i:04}": "http://127.0.0.1:9/b.jpg" for i in range(1000)}
    with pytest.raises(UserError, match=f"do not answer; .* put them into {tmp_path} as ITEM.jpg"):
        fetch_pictures(there | nowhere, tmp_path, skipped)
    assert len(list(tmp_path.glob("*.jpg"))) == 10

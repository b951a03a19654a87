"""Whether the nodes of a cluster see the output."""

from __future__ import annotations

from recbole_cadmr.execution.shared_folder import MARK, marked, sees


def test_a_folder_is_known_by_its_mark_and_not_by_its_path(tmp_path):
    with marked(tmp_path) as mark:
        assert sees(tmp_path, mark) and not sees(tmp_path / "other", mark)
        (tmp_path / MARK).write_text("that of a folder of the same name on another machine")
        assert not sees(tmp_path, mark)
    assert not (tmp_path / MARK).exists() and not sees(tmp_path, mark)

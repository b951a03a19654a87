"""A data set on its way: it arrives as it left, also where an earlier one was changed."""

from __future__ import annotations

from recbole_cadmr.execution import dataset_archive
from recbole_cadmr.execution.dataset_archive import pack, unpack
from recbole_cadmr.files import cache_folder


def test_what_lies_in_the_cache_is_what_was_packed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "micro"
    source.mkdir()
    (source / "micro.inter").write_text("user_id:token\titem_id:token\nann\ta\n")
    (source / "micro.yaml").write_text("{}\n")
    packed = pack(source)
    place = unpack(packed, "micro") / "micro"
    assert place.is_relative_to(tmp_path / "cache" / "recbole_cadmr") and place.is_relative_to(cache_folder())
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
    kept = (place / "micro.inter").stat().st_mtime_ns
    assert unpack(packed, "micro") / "micro" == place and (place / "micro.inter").stat().st_mtime_ns == kept
    (place / "micro.inter").write_text("user_id:token\titem_id:token\neve\ta\n")
    (place / "other.inter").touch()
    assert unpack(packed, "micro") / "micro" == place
    assert (place / "micro.inter").read_text().endswith("ann\ta\n") and not (place / "other.inter").exists()
    assert len(list(place.parent.parent.iterdir())) == 1


def test_what_another_task_has_just_unpacked_stays_where_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "micro.inter").write_text("user_id:token\n")
    packed, holds, answers = pack(tmp_path / "micro"), dataset_archive._holds, iter([False])
    place = unpack(packed, "micro")
    monkeypatch.setattr(dataset_archive, "_holds", lambda *given: next(answers, None) is None and holds(*given))
    inode = place.stat().st_ino
    assert unpack(packed, "micro") == place  # it was not there when the task looked
    assert place.stat().st_ino == inode and (place / "micro" / "micro.inter").is_file()
    assert len(list(place.parent.iterdir())) == 1

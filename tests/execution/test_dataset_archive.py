"""A data set on its way: it arrives as it left, also where an earlier one was changed."""

from __future__ import annotations

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

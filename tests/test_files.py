"""Files are whole or absent, with the permissions that the user's mask or the replaced file gives them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, path_of, read_bytes, remove_temporaries, write_aside


def write(path, text="new"):
    with write_aside(path) as temporary:
        temporary.write_text(text)


@pytest.fixture
def mask():
    """The user's mask, set to 027."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_permissions_are_those_of_the_mask_or_of_the_file_replaced(tmp_path, mask):
    write(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640
    (tmp_path / "a.json").chmod(0o604)
    write(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o604
    with folder_aside(tmp_path / "b") as folder:
        (folder / "x").touch()
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o750


def test_the_mask_of_the_process_is_never_changed(tmp_path, monkeypatch):
    """Another thread would make files that anybody may write."""
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask was called"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: write(tmp_path / "a.json", str(n)), range(40)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / "a.json").symlink_to("other")
    write(tmp_path / "a.json")
    assert (tmp_path / "other").read_text() == "mine" and not (tmp_path / "a.json").is_symlink()


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), write_aside(tmp_path / "a.json"):
        raise ZeroDivisionError
    (tmp_path / "folder").mkdir()
    for name in ("folder", "a" * 300):
        with pytest.raises(UserError, match=f"cannot write .*{name}"):
            write(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_what_a_kill_leaves_is_told_by_its_name(tmp_path):
    with write_aside(tmp_path / "model.pt") as temporary:
        left = tmp_path / temporary.name
        left.touch()
        (tmp_path / ".model.pt").touch()
        remove_temporaries(tmp_path)
        assert not left.exists() and (tmp_path / ".model.pt").exists()
        left.touch()


@pytest.mark.parametrize("path", ["a", b"a", os.curdir])
def test_paths(path):
    assert path_of(path, "output").name == os.path.basename(os.fsdecode(path)).replace(".", "")


@pytest.mark.parametrize("path", ["", b"", None, 5, "a\0", b"\xff", "\udcff"])
def test_what_is_no_path(path):
    with pytest.raises(UserError, match="`output` must be a path"):
        path_of(path, "output")


def test_a_device_without_an_end_is_not_read():
    with pytest.raises(UserError, match="/dev/zero is a device"):
        read_bytes("/dev/zero")
    with pytest.raises(UserError, match="/dev/zero is a device"):
        read_yaml(Path("/dev/zero"))


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_text, "ann")
        assert read_bytes(tmp_path / "pipe") == b"ann"

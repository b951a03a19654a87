"""Archives and compressed files that were made to harm."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile

import pytest

from recbole_cadmr.data.archive import extract_zip
from recbole_cadmr.data.prepare.text_lines import text_lines
from recbole_cadmr.errors import UserError


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_members_come_out_in_their_folders(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"ml/ratings.csv": "1,2", "ml/deep/er.txt": "x"})
    found = extract_zip(path, tmp_path / "out")
    assert {file.relative_to(tmp_path / "out").as_posix(): file.read_text() for file in found} == {
        "ml/ratings.csv": "1,2",
        "ml/deep/er.txt": "x",
    }


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_a_member_outside_the_folder_is_refused(tmp_path, name):
    path = zip_of(tmp_path / "a.zip", {"good": "x", name: "y"})
    with pytest.raises(UserError, match="outside its folder"):
        extract_zip(path, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path / "in" / "out").exists()


def test_a_link_is_refused(tmp_path):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(tmp_path / "a.zip", {entry: "/etc/passwd"})
    with pytest.raises(UserError, match="link"):
        extract_zip(path, tmp_path / "out")


def test_an_archive_that_explodes_is_refused(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"zeros": bytes(50_000_000)})
    with pytest.raises(UserError, match="far more"):
        extract_zip(path, tmp_path / "out")
    path = zip_of(tmp_path / "b.zip", {"a": "x" * 2000})
    with pytest.raises(UserError, match="far more"):
        extract_zip(path, tmp_path / "out", max_bytes=1000)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "b.zip"]


@pytest.mark.parametrize("damage", ["junk", "truncated", "flipped"])
def test_a_damaged_archive_leaves_nothing(tmp_path, damage):
    content = bytearray(zip_of(tmp_path / "a.zip", {"a": bytes(range(256)) * 100}).read_bytes())
    content[60] ^= 0xFF
    damaged = {"junk": b"not a zip", "truncated": content[: len(content) // 2], "flipped": content}[damage]
    (tmp_path / "a.zip").write_bytes(damaged)
    with pytest.raises(UserError, match=r"a\.zip is damaged"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_lines_of_plain_and_compressed_files(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n\nlast")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\r\ntwo\n\nlast"))
    for name in ("a.txt", "a.txt.gz"):
        assert list(text_lines(tmp_path / name)) == ["one\r\n", "two\n", "\n", "last"]


def test_a_truncated_gzip_says_how_far_it_went(tmp_path):
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb") as file:
        for number in range(50_000):
            file.write(f"{number * number}\n".encode())
    (tmp_path / "a.gz").write_bytes(whole.getvalue()[:-5000])
    with pytest.raises(UserError, match=r"a\.gz is truncated or damaged after line [\d,]+"):
        list(text_lines(tmp_path / "a.gz"))
    (tmp_path / "b.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match="after line 0"):
        list(text_lines(tmp_path / "b.gz"))
    with pytest.raises(UserError, match="there is no file"):
        list(text_lines(tmp_path / "c.gz"))

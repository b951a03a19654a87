"""Array files whose headers lie are refused in one sentence; every honest one is read."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from recbole_cadmr.arrays import map_rows, missing_rows, read_arrays
from recbole_cadmr.errors import UserError

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
BODY = ROWS.tobytes()


def npy(shape="(3, 2)", descr="'<f4'", order="False", rest="}", body=BODY):
    """The bytes of a .npy file whose header says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {rest}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        ROWS.astype(">f8"),
        ROWS.astype(np.float16),
        np.asfortranarray(ROWS),
    ],
)
def test_real_numbers_of_any_kind_are_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    assert map_rows(tmp_path / "a.npy").tolist() == ROWS.tolist()
    (tmp_path / "b.npy").write_bytes(npy())
    assert map_rows(tmp_path / "b.npy").tolist() == ROWS.tolist()


def zipped():
    file = io.BytesIO()
    np.savez(file, a=ROWS)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 200,
        npy()[:60],
        npy()[:-1],
        npy() + b"more",
        npy(shape="(2, 2)"),
        npy(shape="(4, 2)"),
        npy(shape="(10**9, 10**9)"),
        npy(shape="(99999999999999999999, 2)"),
        npy(shape="(4611686018427387904, 4)"),
        npy(shape="(True, 6)"),
        npy(shape="(-3, 2)"),
        npy(shape="(3, 0)", body=b""),
        npy(shape="6"),
        npy(rest="'more': ("),
        npy(rest=""),
        npy(rest="'more': 1}"),
        npy(descr="'|O'"),
        npy(descr="'<i4'"),
        npy(descr="'<c8'", shape="(3, 1)"),
        npy(descr="[('a', '<f4')]", shape="(6,)"),
        npy(descr="5"),
        npy(order="1"),
        zipped(),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npy (is|must|holds)"):
        map_rows(tmp_path / "a.npy")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    for read in (map_rows, lambda path: read_arrays(path, "a")):
        with pytest.raises(UserError, match="there is no file"):
            read(tmp_path / "a.npy")
        for path in (tmp_path, tmp_path / "pipe.npy"):
            with pytest.raises(UserError, match="not a file that can be read"):
                read(path)


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6))
    assert read_arrays(tmp_path / "a.npz", "a")[0].shape == (10**6,)
    monkeypatch.setattr("recbole_cadmr.arrays.free_bytes", lambda: 10**6)
    with pytest.raises(UserError, match="unpacks to 8,000,128 bytes, but 1,000,000 are free"):
        read_arrays(tmp_path / "a.npz", "a")


def test_a_member_that_says_to_be_larger_than_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(shape=f"({10**11}, 2)"))
    with pytest.raises(UserError, match="damaged"):
        read_arrays(tmp_path / "a.npz", "a")


def test_rows_of_zeros_and_rows_beyond_float32(tmp_path):
    rows = np.ones((5, 3))
    rows[[1, 4]] = 0
    rows[2] = 1e-300  # nothing is left of it as float32
    assert missing_rows(rows).tolist() == [False, True, True, False, True]
    for bad in (np.nan, np.inf, 1e300):
        rows[3, 1] = bad
        with pytest.raises(ValueError, match="3"):
            missing_rows(rows)
    assert not missing_rows(np.full((2, 70000), 60000, dtype=np.float16)).any()  # whose sum is no float16

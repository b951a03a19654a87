"""Downloads from a real server that cuts, lies, forgets and changes its mind."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_cadmr.data import download as module
from recbole_cadmr.data.download import RemoteFile, UnreachableError, download
from recbole_cadmr.errors import UserError
from tests.local_server import serve

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(module, "_WAIT", 0.01)
    with serve() as site:
        site.files["/data.bin"] = CONTENT
        yield site


def fetch(site, folder, **known):
    return download(RemoteFile("data.bin", f"{site.address}/data.bin", **known), folder, progress=False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_once(site, tmp_path):
    sha = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(site, tmp_path, size=len(CONTENT), hash=f"sha256:{sha}")
    assert path.read_bytes() == CONTENT and names(tmp_path) == ["data.bin"]
    assert fetch(site, tmp_path) == path and len(site.sent) == 1


def test_a_cut_connection_goes_on_where_it_was_cut(site, tmp_path):
    site.fault, site.faults_left = "cut", 2
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [(first, sent) for _, first, sent in site.sent] == [(0, half), (half, quarter), (half + quarter, quarter)]


def test_a_server_that_always_cuts_leaves_a_part_that_a_later_call_completes(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 1)
    site.fault = "cut"
    with pytest.raises(UserError, match="broke"):
        fetch(site, tmp_path)
    assert "data.bin" not in names(tmp_path) and (tmp_path / "data.bin.part").stat().st_size == len(CONTENT) // 2
    site.fault = None
    assert fetch(site, tmp_path).read_bytes() == CONTENT and site.sent[-1][1] == len(CONTENT) // 2
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("change", ["no-range", "another file", "no validator"])
def test_a_part_is_never_joined_to_another_file(site, tmp_path, monkeypatch, change):
    monkeypatch.setattr(module, "_TRIES", 1)
    site.fault = "cut"
    site.etag = None if change == "no validator" else site.etag
    with pytest.raises(UserError):
        fetch(site, tmp_path)
    site.fault = "no-range" if change == "no-range" else None
    if change == "another file":
        site.etag, site.files["/data.bin"] = '"two"', CONTENT[::-1]
    assert fetch(site, tmp_path).read_bytes() == site.files["/data.bin"] and site.sent[-1][1] == 0


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.fault, site.faults_left = "busy", 2
    assert fetch(site, tmp_path).read_bytes() == CONTENT


def test_a_server_that_announces_more_than_it_sends(site, tmp_path):
    site.fault = "long"
    with pytest.raises(UserError, match=r"cannot fetch http://127\.0\.0\.1"):
        fetch(site, tmp_path)
    assert "data.bin" not in names(tmp_path)


@pytest.mark.parametrize("known", [{"size": len(CONTENT)}, {"hash": "md5:" + hashlib.md5(CONTENT).hexdigest()}])
def test_a_server_that_announces_less_than_the_file_is_known_to_have(site, tmp_path, known):
    site.fault = "short"
    with pytest.raises(UserError, match="known"):
        fetch(site, tmp_path, **known)
    assert "data.bin" not in names(tmp_path)


def test_a_wrong_hash_leaves_nothing(site, tmp_path):
    with pytest.raises(UserError, match="its sha256 is .* instead of 00"):
        fetch(site, tmp_path, hash="sha256:00")
    assert names(tmp_path) == []


def test_a_file_at_hand_with_a_wrong_hash_is_kept_and_refused(site, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"other")
    with pytest.raises(UserError, match="remove it"):
        fetch(site, tmp_path, size=len(CONTENT))
    assert (tmp_path / "data.bin").read_bytes() == b"other" and site.sent == []


def test_what_is_not_there(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 1)
    for url, said in (
        (f"{site.address}/nothing", "answered 404"),
        ("http://127.0.0.1:9/data.bin", "no connection"),
        ("file:///etc/passwd", "begins with http"),
        ("data.bin", "begins with http"),
        ("http://a..b/data.bin", "not a valid address"),
        ("http://[bad/data.bin", "not a valid address"),
        (f"http://{'a' * 70}.b/data.bin", "not a valid address"),
    ):
        with pytest.raises(UserError, match=said):
            download(RemoteFile("x", url), tmp_path, progress=False)
    with pytest.raises(UserError, match="name of a file"):
        download(RemoteFile("../x", f"{site.address}/data.bin"), tmp_path, progress=False)
    with pytest.raises(UserError, match="name of a file"):
        download(RemoteFile("x\0", f"{site.address}/data.bin"), tmp_path, progress=False)
    with pytest.raises(UserError, match="File name too long"):
        download(RemoteFile("x" * 300, f"{site.address}/data.bin"), tmp_path, progress=False)


def test_a_server_that_stays_silent_is_given_up_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SILENCE", (0.2, 60))
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/data.bin"
        with pytest.raises(UnreachableError) as error:
            download(RemoteFile("data.bin", address), tmp_path, progress=False)
    assert str(error.value) == (
        f"cannot fetch {address}: the server does not answer; try again, which resumes the download, or get it by hand "
        f"and put it into {tmp_path}"
    )


def test_a_killed_download_goes_on_in_the_next_process(site, tmp_path):
    """The first process is killed while the server holds the second half back."""
    site.fault = "cut"
    program = (
        "import sys; from pathlib import Path; from recbole_cadmr.data import download as d; d._WAIT = 60\n"
        f"d.download(d.RemoteFile('data.bin', '{site.address}/data.bin'), Path(sys.argv[1]), progress=False)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment)
    while not site.sent:
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    site.fault = None
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.sent[1:] == [("/data.bin", len(CONTENT) // 2, len(CONTENT) // 2)]

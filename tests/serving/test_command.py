"""The command: what it refuses, and how the process lives and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import requests

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.cli.serve import named
from recbole_cadmr.errors import UserError
from recbole_cadmr.serving.server import is_loopback as is_only_here
from recbole_cadmr.serving.server import listen
from tests.serving.running import KEY


def refused(capsys, *arguments):
    """The sentence with which the command ends."""
    assert main(["serve", *map(str, arguments)]) == 2
    out, error = capsys.readouterr()
    assert not out and error.count("\n") == 1
    return error


def test_models_are_called_after_their_folders_or_as_they_are_named(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert list(named(["saved/run/model.pt", "exports/shop/", "c=exports/shop", str(tmp_path / "a=b")])) == [
        "run",
        "shop",
        "c",
        "a=b",
    ]
    for models in (["=x"], ["x="]):
        with pytest.raises(UserError, match="NAME=PATH"):
            named(models)
    with pytest.raises(UserError, match="two models are called 'shop'"):
        named(["x/shop", "y/shop"])


@pytest.mark.parametrize("key", ["", "short", "with a blank in the middle", "é" * 20, "two\nlines-of-a-key-file"])
def test_a_key_that_keeps_nobody_out_is_refused(capsys, tmp_path, key):
    (tmp_path / "key").write_text(key)
    error = refused(capsys, "x", "--key_file", tmp_path / "key")
    assert "must hold a key of at least 16 letters" in error and (not key or key not in error)


def test_the_variable_is_checked_too(capsys, monkeypatch):
    monkeypatch.setenv("RECBOLE_CADMR_KEY", "short")
    assert "the variable RECBOLE_CADMR_KEY must hold a key" in refused(capsys, "x")


def test_a_port_in_use_is_one_sentence(capsys, linear):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        start = time.monotonic()
        error = refused(capsys, linear, f"--port={port}")
        assert f"cannot listen at 127.0.0.1 port {port}: Address already in use" in error
        assert time.monotonic() - start < 5  # before anything is loaded


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host=no.such.host.invalid"], "cannot listen at no.such.host.invalid port 8000"),
        (["--host=192.0.2.1"], "cannot listen at 192.0.2.1 port 8000: Cannot assign requested address"),
        (["--host=" + "x" * 80], "--host"),
        (["--port=65536"], "--port must be at most 65535, not '65536'"),
        (["--port=http"], "--port must be a whole number, not 'http'"),
        (["--rate=-1"], "--rate must be at least 0, not '-1'"),
        (["--patience=0"], "--patience must be above 0, not '0'"),
        (["--max_k=0"], "--max_k must be at least 1, not '0'"),
        (["--key_file=nowhere"], "there is no file nowhere"),
        (["--portt=1"], "there is no option '--portt=1'; did you mean --port"),
    ],
)
def test_options_are_checked(capsys, linear, arguments, says):
    assert says in refused(capsys, linear, *arguments)


def test_what_cannot_be_loaded_is_refused(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing", tmp_path / "none.pt"):
        assert str(path) in refused(capsys, path, "--port=0")


def test_pictures_that_are_not_there_are_refused(capsys, linear, tmp_path):
    assert "there is no folder" in refused(capsys, linear, "--port=0", "--images", tmp_path / "none")
    assert "has no column 'photo'" in refused(capsys, linear, "--port=0", "--image_column=photo")


def test_without_its_packages_the_command_says_what_to_install(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("uvicorn", "recbole_cadmr.serving.server"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("recbole_cadmr.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "serving needs the package uvicorn; install recbole_cadmr[serve]" in refused(capsys, "x")


@contextmanager
def process(*arguments, **environment):
    """The command in a process of its own, from when it may be asked; its address."""
    command = [sys.executable, "-m", "recbole_cadmr", "serve", *map(str, arguments), "--port=0"]
    begun = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        lines = []
        for line in begun.stdout:
            lines.append(line)
            if line.startswith("serving at "):
                break
        else:
            raise AssertionError(begun.stderr.read())
        yield begun, lines[-1].split()[2].rstrip(","), lines
    finally:
        begun.kill()
        begun.communicate()


@pytest.fixture(scope="module")
def first_export(micro_runs, micro_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "shop"
    recbole_cadmr.load(micro_runs[0], micro_data).export(folder)
    return folder


def test_a_process_from_start_to_end(first_export, tmp_path):
    with process(first_export, "--watch=0", "--patience=3", RECBOLE_CADMR_KEY=KEY) as (begun, address, lines):
        version = requests.get(f"{address}/health", timeout=30).json()["models"][0]["version"]
        assert lines[0] == f"shop: LinearCADMR, version {version}, 4 items, 5 people\n"
        headers = {"x-api-key": KEY}
        begun.send_signal(signal.SIGHUP)
        start = time.monotonic()
        while 'result="taken"} 1.0' not in requests.get(f"{address}/metrics", headers=headers, timeout=30).text:
            assert time.monotonic() - start < 30
            time.sleep(0.05)

        # A request in work is answered, new ones are not taken, and the process ends well.
        body = b'{"user": "ann"}'
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: "
                + KEY.encode()
                + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            time.sleep(0.2)
            begun.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"{address}/ready", timeout=5)
            connection.sendall(body)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        out, error = begun.communicate(timeout=30)
        assert begun.returncode == 0
        assert out.endswith("stopped\n") and "shop: version" in error and "Traceback" not in error
        assert KEY not in out + error + "".join(lines)


@pytest.mark.parametrize(("address", "is_loopback"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_only_an_address_of_this_machine_alone_needs_no_key(address, is_loopback):
    with listen(address, 0) as bound:
        assert is_only_here(bound) == is_loopback

"""The shell of a reader: the package's Python as ``python``, the text model in the cache, a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.extract.networks import minilm

WARM = ROOT / "tests" / "warm_python.py"


def environment(folder: Path, *python: str) -> dict[str, str]:
    """Variables of the shell, whose own files lie in ``folder``; ``python`` does what the lines ``python`` of sh say.

    Dozens of commands, of which each would import the package for seconds, ask one warm Python by default.
    """
    ours = f'[ "$1 $2" = "-m recbole_cadmr" ] && shift 2 && exec "{sys.executable}" -IS "{WARM}" "$WARM_SOCKET" "$@"'
    write_tool(folder, "python", *(python or (ours, f'exec "{sys.executable}" "$@"')))
    model = folder / "hf" / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (model / "refs").mkdir(parents=True)
    (model / "snapshots").mkdir()
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).symlink_to(minilm())
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "REPOSITORY": str(ROOT),
        "PORT": str(free_port()),
        "WARM_SOCKET": str(folder / "socket"),
    }


def write_tool(folder: Path, name: str, *lines: str) -> None:
    """Put a command of the reader's into ``folder``, a script of sh."""
    tool = folder / "bin" / name
    tool.parent.mkdir(exist_ok=True)
    tool.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    tool.chmod(0o755)


def free_port(and_next: int = 0) -> int:
    """A port of this machine that nobody listens at, nor at so many after it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        try:
            for other in range(port + 1, port + 1 + and_next):
                socket.create_server(("127.0.0.1", other)).close()
        except OSError:
            continue
        return port


@contextmanager
def warm_python(variables: Mapping[str, str], *modules: str) -> Iterator[None]:
    """The warm Python that ``python`` asks, with more modules imported."""
    command = [sys.executable, str(WARM), variables["WARM_SOCKET"], "--warm", *modules]
    with subprocess.Popen(command, cwd=Path(variables["WARM_SOCKET"]).parent, env=dict(variables)) as warm:
        try:
            yield
        finally:
            warm.terminate()

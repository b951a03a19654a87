"""A Python that has imported the package already: each command for it is forked from one server.

``warm_python.py SOCKET --warm MODULE...`` is that server, which imports the modules, too. ``warm_python.py SOCKET
ARGUMENT...`` is a stand-in for ``python -m recbole_cadmr ARGUMENT...`` with its folder, variables, streams, signals and
exit status.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from importlib import import_module

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _serve(path: str, modules: list[str]) -> None:
    """Fork a process for each connection; this one itself starts no thread."""
    sys.path[0] = ""  # as of ``python -m``
    sys.path.append(_ROOT)
    for name in ("recbole_cadmr.cli.main", "recbole_cadmr.runs.train", "torch._dynamo", "sentence_transformers"):
        import_module(name)
    for name in modules:
        import_module(name)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(connection)
        connection.close()


def _run(connection: socket.socket) -> None:
    """Run what is asked for in a process, and report its number, and at last its status."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile().readline())
    process = os.fork()
    if process:
        connection.sendall(f"{process}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        connection.sendall(f"{status}\n".encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", 1)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv[1:] = asked["arguments"]
    sys.executable = os.environ.get("WARM_EXECUTABLE", sys.executable)  # what processes of its own are started by
    sys.exit(import_module(asked["module"]).main(asked["arguments"]))


def ask(path: str, arguments: list[str], module: str = "recbole_cadmr.cli.main") -> int:
    """Have the server at ``path`` call ``main(arguments)`` of a module; its exit status, as a shell has it."""
    connection, end = socket.socket(socket.AF_UNIX), time.monotonic() + 600
    while connection.connect_ex(path) and time.monotonic() < end:  # it is still importing
        time.sleep(0.05)
    asked = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments, "module": module}
    socket.send_fds(connection, [b"x"], [0, 1, 2])
    connection.sendall(f"{json.dumps(asked)}\n".encode())
    answers = connection.makefile()
    process = int(answers.readline())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    status = int(answers.readline())
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[2:3] == ["--warm"]:
        _serve(sys.argv[1], sys.argv[3:])
    sys.exit(ask(sys.argv[1], sys.argv[2:]))

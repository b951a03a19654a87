"""A real PostgreSQL, started in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PASSWORD = "ge:heim@/7"  # what a URL has to escape
ESCAPED = "ge%3Aheim%40%2F7"


def binaries() -> Path:
    """The folder of the newest PostgreSQL that Debian installed; the test is skipped if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        pytest.skip("there is no PostgreSQL under /usr/lib/postgresql (apt-get install postgresql)")
    return found[-1].parent


class Postgres:
    """A server that is there until :meth:`remove`; it refuses to run as root, and runs as postgres or nobody then."""

    def __init__(self) -> None:
        self._bin, self._folder = binaries(), Path(tempfile.mkdtemp(prefix="recbole_cadmr-postgres-"))
        self._how: dict[str, object] = {"cwd": self._folder}
        if os.getuid() == 0:
            import pwd  # of Unix

            names = {entry.pw_name for entry in pwd.getpwall()}
            account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._how |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["--auth=scram-sha-256", "--username=shop", f"--pwfile={password}", "--no-sync", "--encoding=UTF8"]
        command = [self._bin / "initdb", "-D", self._folder / "data", *options, "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, **self._how)
        self.url = f"postgresql://shop:{ESCAPED}@127.0.0.1:{self.port}/postgres"
        self.shown = f"postgresql+psycopg://shop@127.0.0.1:{self.port}/postgres"
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [self._bin / "postgres", "-D", self._folder / "data"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._how)
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, cwd=self._folder).returncode:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def crash(self) -> None:
        """Let the server go away at once, as a crash would."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def remove(self) -> None:
        """Stop the server, if it runs, and remove all it has."""
        if self._process.poll() is None:
            self.crash()
        shutil.rmtree(self._folder)

"""Bash or Python at work for a page: it is handed one file after the other, and says what each printed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

END = "\x1e"  # printed by the process after each file
_SECONDS = 900  # that a file may take

# Reads the names of files. Their commands read nothing; a failure ends it and says in which line.
BASH = rf"""
set -Eeuo pipefail
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
trap 'echo "failed in line $LINENO: $BASH_COMMAND (status $?)"' ERR
while read -r file; do
    source "$file" < /dev/null
    printf '{END}\n'
done
"""


class Interpreter:
    """A process that runs files, and what it said of the last one."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.output = ""

    def run(self, file: Path) -> bool:
        """Run a file; whether it ended well."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.output = ""
        late = threading.Timer(_SECONDS, self._process.terminate)
        late.start()
        try:
            self._process.stdin.write(f"{file}\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                if line.endswith(f"{END}\n"):
                    return True
                self.output += line
            return False
        except BrokenPipeError:
            return False
        finally:
            late.cancel()

    def close(self) -> None:
        """End the process, and the jobs that it has in the background."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

"""The command line as a benchmark starts it for a cell: it does not outlive the benchmark.

Its standard input is a pipe whose other end only the benchmark holds. That end is closed when the benchmark ends,
however it does; then the run stops as by ctrl-C, its state kept.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time

GRACE = 20  # seconds that a stopped cell has to write its state


def command(*arguments: str) -> list[str]:
    """What to start as a process, its standard input a pipe."""
    return [sys.executable, "-m", "recbole_cadmr.execution.child", *arguments]


def _end_with_benchmark() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _thread.interrupt_main()
    time.sleep(GRACE)
    os._exit(1)


def main() -> int:
    """Run the command line and return its exit status."""
    from recbole_cadmr.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with ctrl-C switched off
    threading.Thread(target=_end_with_benchmark, daemon=True).start()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

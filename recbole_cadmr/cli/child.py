"""The command line as a runner starts it: it does not outlive the process that started it.

Its standard input is a pipe whose other end only that process holds. That end is closed when the process ends, however
it does; then the command stops as by ctrl-C, its state kept.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time

from recbole_cadmr.cli.main import main
from recbole_cadmr.execution.process import GRACE


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _thread.interrupt_main()
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with ctrl-C switched off
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1:]))

"""The folder of a run: its name, its files and its log."""

from __future__ import annotations

import errno
import logging
import re
import secrets
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from recbole_cadmr.compat.recbole import keep_recbole_off_the_root_logger
from recbole_cadmr.errors import ModelError, UserError
from recbole_cadmr.files import TEMPORARY
from recbole_cadmr.locking import LOCK
from recbole_cadmr.on_screen import fitted
from recbole_cadmr.screen import Screen
from recbole_cadmr.training.checkpoint import BEST, LAST

RESULT, HISTORY, CURVES, LISTS = "result.json", "history.jsonl", "learning_curves.svg", "test_lists.npz"

_LOG = "log"
_LOGS = {
    _LOG: ".log",
    "log_tensorboard": "events.out.",
}  # folders that a run begins with, what is in names of their files
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Entry:
    """Where something lies in a run's folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, _: type[RunFolder]) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what, by names that are the same in every run."""

    path: Path
    result = _Entry(RESULT)  # what was measured; it is there when the run is finished
    best = _Entry(BEST)  # the checkpoint of the best epoch
    last = _Entry(LAST)  # the state from which the run can be resumed
    history = _Entry(HISTORY)  # the validations so far, one a line
    curves = _Entry(CURVES)  # the picture of the history
    lists = _Entry(LISTS)  # what is recommended to the test users, if it is kept
    metrics = _Entry("metrics.csv")  # the history as a table, if that is asked for
    trackers = _Entry("trackers.json")  # by which ids trackers elsewhere know the run
    log = _Entry(_LOG)  # the folder of the log files

    @property
    def is_finished(self) -> bool:
        """Whether the run has its result."""
        return self.result.is_file()


def create_run_folder(output: Path | str | None, parent: str, name: str) -> RunFolder:
    """Make the folder ``output``, or a new one called after ``name`` and the time under ``parent``.

    Raises:
        UserError: if ``output`` is already used, or the place cannot be written.
    """
    # Runs may start in the same second.
    folder = Path(output or Path(parent, f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_used(folder)
    except (OSError, ValueError) as error:  # ValueError: a path that no system takes
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write the run to {output or parent}: {reason}") from error
    return RunFolder(folder)


def refuse_used(folder: Path) -> None:
    """Raise :class:`UserError` if anything lies in a run's folder but what one leaves that was killed at its start.

    That is a lock, its log, and what was written aside.
    """
    for path in folder.iterdir():
        if path.name in _LOGS:
            is_ours = all(file.is_file() and _LOGS[path.name] in file.name for file in path.iterdir())
        else:
            is_ours = path.name == LOCK or TEMPORARY.fullmatch(path.name) is not None
        if not is_ours:
            raise UserError(f"{folder} is already used; choose another `output`, or resume it with `resume` {folder}")


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _COLOURS.sub("", super().format(record))


class _ScreenFormatter(logging.Formatter):
    """What the log says, in short where a record has a short form (``screen``) and no diagnostics are asked for."""

    def __init__(self, verbose: bool) -> None:
        super().__init__("%(message)s")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        short = None if self._verbose else getattr(record, "screen", None)
        line = _COLOURS.sub("", super().format(record) if short is None else short)
        return line if "\n" in line else fitted(line)  # several lines are laid out already


def _is_shown(verbose: bool, record: logging.LogRecord) -> bool:
    short = getattr(record, "screen", None)
    return short is not False and (verbose or short != "")


class _LogFile(logging.FileHandler):
    """The log of a run, which ends with it if it cannot be written, rather than continue in silence."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / _LOG / f"{name}.log"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(self.path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise error
        super().handleError(record)


@contextmanager
def run_log(
    folder: Path, name: str = "run", screen: bool = True, level: str = "INFO", verbose: bool = False
) -> Iterator[None]:
    """Send the log to the screen and to ``log/NAME.log`` of the run's folder; leave logging as it was afterwards.

    A record may have a short form for the screen, ``extra={"screen": ...}``, "" for none, which ``verbose`` ignores; of
    False it is for the file alone.

    It is the log of two loggers, the package's and RecBole's, which hand nothing on to the root logger meanwhile: that
    one, with its handlers and its level, belongs to the program that runs this. What ends the run unexpectedly is
    written to the file, whose path is the exception's ``log``.

    Raises:
        UserError: if the disk is full.
    """
    keep_recbole_off_the_root_logger()
    file = _LogFile(folder, name)
    added: list[logging.Handler] = [file]
    if screen and sys.stdout is not None:
        stream = logging.StreamHandler(Screen(sys.stdout))
        stream.setFormatter(_ScreenFormatter(verbose))
        stream.addFilter(partial(_is_shown, verbose))
        added.append(stream)
    loggers = [logging.getLogger(name) for name in ("recbole", "recbole_cadmr")]
    before = [(log.handlers, log.level, log.propagate, log.disabled) for log in loggers]
    for log in loggers:
        log.handlers, log.propagate, log.disabled = added, False, False
        log.setLevel(getattr(logging, str(level).upper(), logging.INFO))
    try:
        with _quiet_threads():
            yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UserError(f"cannot write to {folder}: {error.strerror}; make room there") from error
        raise
    except Exception as error:
        if not isinstance(error, (UserError, MemoryError)) or isinstance(error, ModelError):
            with suppress(OSError):
                file.emit(logging.makeLogRecord({"levelname": "ERROR", "msg": traceback.format_exc()}))
                error.log = file.path  # type: ignore[attr-defined]
        raise
    finally:
        for log, (handlers, previous, propagate, disabled) in zip(loggers, before):
            log.handlers, log.propagate, log.disabled = handlers, propagate, disabled
            log.setLevel(previous)
        for handler in added:
            with suppress(OSError):  # a full disk takes no last line
                handler.close()


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Let no thread print what it fails to write: TensorBoard's reports it to whoever writes next, too."""
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            previous(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = previous


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A run folder that is removed again: RecBole's trainer wants one even where nothing is trained."""
    with TemporaryDirectory(prefix="recbole_cadmr-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with run_log(folder, screen=False, level="WARNING"):
            yield folder

"""``python -m recbole_cadmr COMMAND``: one subcommand a workflow.

Exit status: 0 done; 2 a mistake of the user, lack of disk space or memory, or ctrl-C, reported in one sentence;
1 a defect of this package, whose traceback is kept in a file. Heavy imports wait until a command needs them, so that
``--help`` is quick.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress

from recbole_cadmr.arguments import shown
from recbole_cadmr.cli.collector import left_alone_at_exit
from recbole_cadmr.cli.parser import build_parser
from recbole_cadmr.errors import UserError, is_out_of_memory
from recbole_cadmr.files import NOT_TEXT
from recbole_cadmr.locking import terminated_as_interrupted
from recbole_cadmr.screen import guarded

EXIT_FAULT, EXIT_USER_ERROR = 1, 2
_BYTES = "bytes that are not text in this terminal's encoding (LC_ALL=C.UTF-8 makes it UTF-8)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    left_alone_at_exit()
    with guarded() as out:
        status, sentence = _run(list(sys.argv[1:] if arguments is None else arguments))
        out.flush()
        # The reader of a broken pipe has got what it wanted.
        if out.failure is not None and not isinstance(out.failure, BrokenPipeError) and not sentence:
            status, sentence = EXIT_USER_ERROR, f"error: standard output: {_reason(out.failure)}"
        if sentence:
            print(sentence, file=sys.stderr)
    return status


def _run(arguments: list[str]) -> tuple[int, str]:
    """Exit status, and the message of a failure."""
    try:
        with terminated_as_interrupted():
            _check(arguments)
            known = build_parser().parse_args(arguments)
            return known.run(known), ""
    except SystemExit as done:  # of --help and --version
        return int(done.code or 0), ""
    except UserError as error:
        # Arguments of the Python functions, in backquotes, are options here; a name may contain a line break.
        return EXIT_USER_ERROR, "error: " + re.sub("`([a-z_]+)`", r"--\1", " ".join(str(error).splitlines()))
    except KeyboardInterrupt as error:
        return EXIT_USER_ERROR, f"\n{str(error) or 'stopped'}"
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> tuple[int, str]:
    """Exit status and message of what no command expects."""
    if is_out_of_memory(error):
        return EXIT_USER_ERROR, f"error: there is not enough memory: {_reason(error)}"
    if isinstance(error, OSError):
        return EXIT_USER_ERROR, f"error: {f'{error.filename}: ' if error.filename else ''}{_reason(error)}"
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("recbole"):
        # Some of RecBole's models need packages that it does not install.
        return EXIT_USER_ERROR, f"error: the package {error.name} is missing, which this needs; install it"
    reason = f"{type(error).__name__}: {_reason(error)}"
    if package := _unfit_package(error):
        return EXIT_USER_ERROR, (
            f"error: the package {package} cannot be imported ({reason}), because it and others of this environment do "
            "not fit each other; install recbole_cadmr into a new environment"
        )
    return EXIT_FAULT, f"error: a defect of this program, {reason}; the traceback is in {_traceback_file(error)}"


def _unfit_package(error: Exception) -> str:
    """The package of others whose import ended with an error, as that of one built for another numpy; "" if none."""
    own = __name__.partition(".")[0]
    package, importing = "", True
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module == own:
            package, importing = "", True
        elif module != "importlib" and importing:  # what a module calls while it is imported is a part of that
            importing = frame.f_code.co_name == "<module>"
            package = module if importing else package
    # What a package lacks is said by the line that imports it.
    name = error.name if importing and not package and isinstance(error, ImportError) else None
    return package or (name or "").partition(".")[0].removeprefix(own)


def _check(arguments: Sequence[str]) -> None:
    """Raise :class:`UserError` if an argument is empty (a script's unset variable), or it or the working folder's name
    is not text."""
    with suppress(FileNotFoundError):  # the working folder was removed; what needs it will say so
        if NOT_TEXT.search(folder := os.getcwd()):
            raise UserError(f"the working folder's name holds {_BYTES}: {shown(folder)}")
    name = "an argument"
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option.startswith("--"):
            name = shown(option)[1:-1]
        if not argument or (equals and not value and option.startswith("--")):
            raise UserError(f"{name} is empty; give it a value, or omit it")
        if match := NOT_TEXT.search(argument):
            raise UserError(f"{name} holds {'a NUL' if match[0] == chr(0) else _BYTES}: {shown(argument)}")


def _reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter((getattr(error, "strerror", None) or str(error)).splitlines()), type(error).__name__)


def _traceback_file(error: Exception) -> str:
    """The file that holds the traceback: the log of the run, if there is one, else a new file."""
    log = getattr(error, "log", None)
    if log is not None and log.is_file():
        return str(log)
    try:
        handle, name = tempfile.mkstemp(prefix="recbole_cadmr-", suffix=".log")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
        return name
    except OSError as refusal:
        return f"no file, because none can be written ({_reason(refusal)})"

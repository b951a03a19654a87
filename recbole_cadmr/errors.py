"""Mistakes of the user, each reported in one sentence.

Every mistake that a user can make (a missing file, a mistyped setting, damaged data) is raised as
:class:`UserError`; the command line prints its one sentence and exits with status 2. So do lack of disk space,
memory or permission. Anything else that escapes is a defect of this package: status 1, and its traceback is
kept in a file (``cli/main.py``).
"""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

# What torch, numpy and the system's loader say, each in an exception of its own.
_NO_MEMORY = re.compile(
    r"allocate memory|not enough memory|out of memory|bad_alloc|ALLOC_FAILED|failed to map segment|start new thread|"
    r"array is too big|Maximum allowed (size|dimension)|Storage size calculation overflowed",
    re.IGNORECASE,
)


class UserError(Exception):
    """A mistake of the user's: ``str(error)`` is one sentence that says what is wrong and what to do.

    The command line shows arguments of the Python functions, which are in backquotes, as options.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, not the way to it through this package and RecBole."""
        return [f"{type(self).__name__}: {self}"]


class ModelError(UserError):
    """A model that cannot be trained or scored with its settings on these data."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: where it happened, too, as the model may be the user's own."""
        way = [] if self.__cause__ is None else traceback.format_exception(self.__cause__)
        return [*"".join(way).splitlines(), *super()._render_traceback_()]


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button, with a sentence about what is kept."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [str(self)]


class MissingRecBole(UserError, ImportError):
    """RecBole, or the version of it that this package was made for, is not installed.

    An ``ImportError``, too, for programs that do without RecBole where there is none.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is not enough memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, Exception) and not isinstance(error, UserError) and bool(_NO_MEMORY.search(str(error)))
    )


def did_you_mean(name: str, known: Iterable[str], before: Mapping[str, str] | None = None) -> str:
    """The known names nearest to ``name``, as a clause to end an error with ("" if none is near).

    Args:
        before: what some of them were called before, and which.
    """
    by_lower = {old.lower(): new for old, new in [*(before or {}).items(), *((now, now) for now in known)]}
    near = dict.fromkeys(by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, cutoff=0.5))
    return f"; did you mean {' or '.join(near)}?" if near else ""


def raised_in(error: BaseException, is_theirs: Callable[[FrameType], bool]) -> str:
    """Where in the user's own code an exception was raised, as ``, line 12 (in forward):``; "" if in none of it.

    Args:
        is_theirs: whether a frame is of that code.
    """
    theirs = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_theirs(frame)]
    if not theirs:
        return ""
    frame, line = theirs[-1]
    name = frame.f_code.co_name
    return f", line {line}{'' if name.startswith('<') else f' (in {name})'}:"


@contextmanager
def refusals_of(package: str, doing: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Raise what a foreign package raises within as a :class:`UserError`, or another ``kind`` of it, that quotes it.

    It is for packages that refuse settings by exceptions of every kind. What is raised by code of this package passes,
    since it is a defect of ours; so do lack of memory, disk space or a module.

    Args:
        package: its name, such as ``recbole``.
        doing: what it was asked for, as the end of "cannot ...".
    """
    own = __name__.partition(".")[0]
    try:
        yield
    except (UserError, OSError, ModuleNotFoundError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
        *_, innermost = [name for name in (module.partition(".")[0] for module in modules) if name in (package, own)]
        if innermost != package:
            raise
        message = str(error) or traceback.extract_tb(error.__traceback__)[-1].line or ""  # of an assertion, the line
        reason = f"{type(error).__name__}: {message.strip()}".splitlines()[0]
        raise kind(f"cannot {doing}: {reason[:300]}") from error

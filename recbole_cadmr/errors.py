"""What a user can get wrong, said in one sentence.

Every mistake that a user can make (a missing file, a mistyped setting, damaged data) is raised as
:class:`UserError`; the command line prints its one sentence and exits with status 2. So do a disk, a memory or a
permission that does not suffice. Anything else that escapes is a defect of this package: status 1, and its traceback is
kept in a file (``cli/main.py``).
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake of the user's: ``str(error)`` is one sentence that says what is wrong and what to do.

    Arguments of the Python functions that stand in it in backquotes are shown as options by the command line.
    """


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """The known names nearest to ``name``, as a clause to end an error with ("" if none is near)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(by_lower[match] for match in near)}?" if near else ""


@contextmanager
def refusals_of(package: str, doing: str) -> Iterator[None]:
    """Raise what a foreign package raises within as a :class:`UserError` that quotes it.

    It is for packages that refuse settings by exceptions of every kind. What is raised by code of this package passes,
    since it is a defect of ours.

    Args:
        package: its name, such as ``recbole``.
        doing: what it was asked for, as the end of "cannot ...".
    """
    own = __name__.partition(".")[0]
    try:
        yield
    except (UserError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
        *_, innermost = [name for name in (module.partition(".")[0] for module in modules) if name in (package, own)]
        if innermost != package:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"cannot {doing}: {reason[:300]}") from error

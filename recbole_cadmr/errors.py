"""What a user can get wrong, said in one sentence.

Every mistake that a user can make (a missing file, a mistyped setting, damaged data) is raised as
:class:`UserError`; the command line prints its one sentence and exits with status 2. So do a disk, a memory or a
permission that does not suffice. Anything else that escapes is a defect of this package: status 1, and its traceback is
kept in a file (``cli/main.py``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's: ``str(error)`` is one sentence that says what is wrong and what to do.

    Arguments of the Python functions that stand in it in backquotes are shown as options by the command line.
    """


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """The known names nearest to ``name``, as a clause to end an error with ("" if none is near)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(by_lower[match] for match in near)}?" if near else ""

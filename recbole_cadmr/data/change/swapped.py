"""A folder that is changed whole: a copy is changed, and the two exchange their names."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import link
from recbole_cadmr.locking import alone_in

_BEFORE = "before"  # what was there, where a system cannot exchange two names at once
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def changed_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a folder for intermediate results and a copy of ``folder``, which takes its place on success.

    Files of the copy are links to the same data, so that a file there is written aside and renamed, never in place.
    Whatever ends the process, ``folder`` is as it was or as it is to be. On systems other than Linux, and on file
    systems that cannot exchange two names, it is absent for a moment; if a process ends right then, the next change
    puts back what was there.

    Raises:
        UserError: if there is no such folder, another process is changing it, or it cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    work = folder.with_name(f".{folder.name}.work")
    if not folder.is_dir() and not (work / _BEFORE).is_dir():
        raise UserError(f"there is no data set {folder}; prepare it first (see 'prepare --help')")
    try:
        with alone_in(work, f"preparation of {folder}"):
            if not folder.exists() and (work / _BEFORE).is_dir():
                (work / _BEFORE).rename(folder)
            for name in (_BEFORE, "after"):  # of a process that was killed
                shutil.rmtree(work / name, ignore_errors=True)
            copy = work / "after"
            try:
                shutil.copytree(folder, copy, symlinks=True, copy_function=link)
                yield work, copy
                _exchange(copy, folder, work / _BEFORE)
            except OSError as error:
                raise UserError(f"cannot change {folder}: {error.strerror or error}") from error
            finally:
                shutil.rmtree(copy, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty: there is something to resume with
            work.rmdir()


def _exchange(new: Path, old: Path, aside: Path) -> None:
    """Let two folders exchange their names, or else put ``old`` aside before ``new`` takes its name."""
    with suppress(OSError, AttributeError, TypeError):  # another system, or a file system that cannot
        libc = ctypes.CDLL(None, use_errno=True)
        paths = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old))
        if libc.renameat2(*paths, _RENAME_EXCHANGE) == 0:
            return
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise

"""Where a data set is made before it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_cadmr.files import refuse_links, refuse_used_folder
from recbole_cadmr.locking import alone_in


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """The folder ``.NAME.work`` beside the new folder ``target``, in which this process alone makes it.

    What is computed on the way lies there, so that a run that was cut goes on with it; halves of ``target`` that a
    killed one left are removed. The folder goes when the work is done, or when nothing in it is worth keeping.

    Raises:
        UserError: if ``target`` is there already, or another process is making it.
    """
    refuse_used_folder(target)
    work = target.with_name(f".{target.name}.work")
    try:
        with alone_in(work, f"preparation of {target}"):
            refuse_used_folder(target)  # the process that was at work a moment ago may have finished it
            refuse_links(work)
            for half in work.glob(f".{target.name}.*"):
                shutil.rmtree(half, ignore_errors=True)
            yield work
            shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty: there is something to go on with
            work.rmdir()

"""The folder in which a data set is made before it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_cadmr.files import refuse_links, refuse_used_folder
from recbole_cadmr.locking import alone_in


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """The folder ``.NAME.work`` beside the new folder ``target``, in which only this process works.

    Intermediate results are kept there, so that an interrupted command resumes with them; parts of ``target`` that a
    killed one left are removed. The folder is removed when the work is done, or when nothing in it is worth keeping.

    Raises:
        UserError: if ``target`` exists, or another process is making it.
    """
    refuse_used_folder(target)
    work = target.with_name(f".{target.name}.work")
    try:
        with alone_in(work, f"preparation of {target}"):
            refuse_used_folder(target)  # another process may have finished it a moment ago
            refuse_links(work)
            for partial in work.glob(f".{target.name}.*"):
                shutil.rmtree(partial, ignore_errors=True)
            yield work
            shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty: there is something to resume with
            work.rmdir()

"""A folder of files, such as a data set, on its way to the machines of a cluster: unpacked once a machine."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from recbole_cadmr.files import cache_folder


def pack(folder: Path) -> bytes:
    """The files of a folder as one archive, the same bytes whenever they are the same."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return file.getvalue()


def unpack(packed: bytes, name: str) -> Path:
    """The parent of the folder ``name`` on this machine, in the user's cache, written by the first who needs it.

    What lies there is used if it is what was packed, byte by byte, and is replaced otherwise.
    """
    cache = cache_folder() / "cluster"
    root = cache / hashlib.sha256(packed).hexdigest()
    if _holds(root / name, packed):
        return root
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as scratch:
        aside = Path(scratch) / "data"
        zipfile.ZipFile(io.BytesIO(packed)).extractall(aside / name)
        try:
            aside.rename(root)
        except OSError:  # something lies there
            if not _holds(root / name, packed):  # else another task was faster, and reads it already
                with suppress(OSError):
                    root.rename(Path(scratch) / "other")
                    aside.rename(root)
    return root


def _holds(folder: Path, packed: bytes) -> bool:
    return folder.is_dir() and pack(folder) == packed

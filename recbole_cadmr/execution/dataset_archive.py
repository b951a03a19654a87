"""A data set on its way to the machines of a cluster: packed once, unpacked once a machine."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from recbole_cadmr.files import cache_folder


def pack(folder: Path) -> bytes:
    """A data set's files as one archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return file.getvalue()


def unpack(packed: bytes, name: str) -> Path:
    """The parent folder of the data set on this machine, in the user's cache, written by the first who needs it.

    What lies there is used if it is what was packed, byte by byte, and is replaced otherwise.
    """
    cache = cache_folder() / "cluster"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / hashlib.sha256(packed).hexdigest()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if not _holds(root / name, archive):
            aside = Path(tempfile.mkdtemp(dir=cache))
            try:
                archive.extractall(aside / name)
                shutil.rmtree(root, ignore_errors=True)
                with suppress(OSError):  # another task was faster
                    aside.rename(root)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return root


def _holds(folder: Path, archive: zipfile.ZipFile) -> bool:
    """Whether ``folder`` holds the files of ``archive``, as they are in it, and no others."""
    if not folder.is_dir() or {path.name for path in folder.iterdir()} != set(archive.namelist()):
        return False
    return all((folder / name).read_bytes() == archive.read(name) for name in archive.namelist())

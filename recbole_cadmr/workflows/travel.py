"""A data set on its way to the machines of a cluster: packed once, unpacked once a machine."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path


def pack(folder: Path) -> bytes:
    """A data set's files as one archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return file.getvalue()


def unpack(packed: bytes, name: str) -> Path:
    """The parent folder of the data set on this machine, in the user's cache, written by the first who needs it."""
    cache = Path.home() / ".cache" / "recbole_cadmr" / "cluster"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / hashlib.sha256(packed).hexdigest()
    if not root.is_dir():
        aside = Path(tempfile.mkdtemp(dir=cache))
        try:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                archive.extractall(aside / name)
            with suppress(OSError):  # another task was faster
                aside.rename(root)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return root

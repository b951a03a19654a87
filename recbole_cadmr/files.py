"""Files that are complete or absent: written aside and renamed; what cannot be read is one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.errors import UserError

NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # in an argument: a NUL, and what stands for bytes that are not text
TEMPORARY = re.compile(r"\..+(\.\w+)\.[a-z0-9_]{8}\1")  # .model.pt.x7_k2mqa.pt, as write_aside names it


@contextmanager
def write_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success and is removed on failure.

    The permissions of what is replaced are kept; a link is replaced, not followed.

    Raises:
        UserError: if the folder cannot be written or the disk is full.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    with _renamed(aside, path):
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield aside
        with suppress(FileNotFoundError):
            aside.chmod(stat.S_IMODE(path.stat().st_mode))


@contextmanager
def folder_aside(path: str | os.PathLike[str], within: Path | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes ``path`` on success and is removed on failure.

    It is beside ``path``, or ``within`` a folder of the same file system that is cleaned up even after a kill.

    Raises:
        UserError: if ``path`` exists and is not an empty folder, or cannot be written.
    """
    path = Path(path)
    refuse_used_folder(path)
    aside = (within or path.parent) / f".{path.name}.{secrets.token_hex(4)}"
    with _renamed(aside, path):
        aside.mkdir()
        yield aside
        if path.exists():
            path.rmdir()


@contextmanager
def _renamed(aside: Path, path: Path) -> Iterator[None]:
    """Rename ``aside``, which is made within, to ``path`` on success; remove it on failure."""
    try:
        for folder in (path.parent, aside.parent):
            folder.mkdir(parents=True, exist_ok=True)
        yield
        os.replace(aside, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)


def path_of(value: Any, name: str) -> Path:
    """The path that the argument ``name`` holds.

    Raises:
        UserError: if it is empty, not a path, or one that no file can have.
    """
    if isinstance(value, (str, bytes, os.PathLike)):
        text = os.fsdecode(value)
        if text and not NOT_TEXT.search(text):
            return Path(text)
    raise UserError(f"`{name}` must be a path, not {value!r}")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        UserError: if it is missing, a folder, a device, or cannot be read.
    """
    refuse_device(path)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # ValueError: an impossible path
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def need_file(path: Path, why: str = "") -> None:
    """Raise :class:`UserError`, after ``why``, unless it is a file: opening a pipe would wait for ever."""
    if not path.is_file():
        is_there = os.path.lexists(path)
        raise UserError(f"{why}{path} is not a file that can be read" if is_there else f"{why}there is no file {path}")


def refuse_device(path: str | os.PathLike[str]) -> None:
    """Raise :class:`UserError` for a device, which may have no end (``/dev/zero``); a pipe is read like a file."""
    with suppress(OSError, ValueError):
        if stat.S_ISCHR(os.stat(path).st_mode):
            raise UserError(f"{path} is a device, not a file")


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """The text of a file, its line ends as they stand.

    Raises:
        UserError: as of :func:`read_bytes`, and if it is not text in ``encoding``.
    """
    try:
        return read_bytes(path).decode(encoding)
    except UnicodeError as error:
        raise UserError(f"{path} is not {encoding.upper()} text") from error


def write_rows(path: Path, dtype: str, shape: tuple[int, int], blocks: Iterable[np.ndarray]) -> None:
    """Write a 2-D ``.npy`` file block by block; unlike with a memory map, a full disk is an error, not a crash."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with write_aside(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).tobytes())


@contextmanager
def rows_aside(path: Path, dtype: str, shape: tuple[int, int]) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
    """Yield what writes rows (their places [n], and they [n, width]) of a 2-D ``.npy`` file, in any order.

    The others are zeros. As of :func:`write_rows`, a full disk is an error.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with write_aside(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start, width = file.tell(), shape[1] * np.dtype(dtype).itemsize
        file.truncate(start + shape[0] * width)

        def put(places: np.ndarray, rows: np.ndarray) -> None:
            order = np.argsort(places, kind="stable")
            places, rows = places[order], np.ascontiguousarray(rows[order], dtype=dtype)
            ends = np.flatnonzero(np.diff(places) != 1) + 1  # of runs, each written at once
            for at, run in zip(np.split(places, ends), np.split(rows, ends)):
                if len(at):
                    file.seek(start + int(at[0]) * width)
                    file.write(run.tobytes())

        yield put


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all, with the same bytes on every system."""
    with write_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON, whole or not at all."""
    write_text(path, json_text(content, indent=1) + "\n")


def json_text(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Strict JSON, in which NaN and infinity are null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def cache_folder() -> Path:
    """The user's folder for what can be computed again: ``recbole_cadmr`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    What is read from it is checked against what was written.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if Path(cache).is_absolute():  # the standard ignores others
        return Path(cache) / "recbole_cadmr"
    return Path.home() / ".cache" / "recbole_cadmr"  # there is a home: compat.home


def refuse_used_folder(path: Path) -> None:
    """Raise :class:`UserError` if ``path`` exists and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is already there; remove it or choose another place")


def link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Another name of the same file; a copy where the file system has no such links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(source, target, follow_symlinks=False)


def refuse_links(root: Path, but: str = "") -> None:
    """Raise :class:`UserError` if ``root`` or anything in it is a link, through which files elsewhere would change.

    Args:
        but: name of folders in which links are allowed.
    """
    for place, folders, names in os.walk(root):
        paths = (Path(place), *(Path(place, name) for name in (*folders, *names)))
        link = next((path for path in paths if path.is_symlink()), None)
        if link is not None:
            raise UserError(f"{link} is a link, which does not belong there; remove it")
        folders[:] = [name for name in folders if name != but]


def remove_temporaries(root: Path) -> None:
    """Remove what :func:`write_aside` left of files in ``root`` when its process was killed."""
    for place, _, names in os.walk(root):
        for name in filter(TEMPORARY.fullmatch, names):
            Path(place, name).unlink(missing_ok=True)


def hash_of(path: str | os.PathLike[str], kind: str = "sha256") -> str:
    """Hexadecimal hash of a file's bytes, read in blocks."""
    digest = hashlib.new(kind)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hash_of(path)


def sha256_of_all(paths: Iterable[str | os.PathLike[str]]) -> str:
    """One SHA-256 of several files' bytes, in the order given."""
    return hashlib.sha256("".join(map(sha256_of, paths)).encode()).hexdigest()

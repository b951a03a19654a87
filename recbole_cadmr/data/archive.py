"""Untrusted archives and compressed files: nothing leaves its folder, explodes, or ends up half unpacked."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside

MAX_BYTES = 8 * 2**30
MAX_RATIO = 200  # text compresses to a tenth; a bomb to a thousandth
_SMALL = 2**20  # a short file may compress by any ratio

_BLOCK = 2**20


def extract_zip(path: Path, folder: Path, max_bytes: int = MAX_BYTES, max_ratio: int = MAX_RATIO) -> list[Path]:
    """Unpack an archive into the new folder ``folder``; returns the files.

    Raises:
        UserError: if it is damaged, has a member outside the folder or a link, or unpacks to more than ``max_bytes``
            or ``max_ratio`` times its size; nothing is then left.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            working_folder(folder) as work,
            folder_aside(folder, within=work) as aside,
        ):
            members = [member for member in archive.infolist() if not member.is_dir()]
            names = [_safe(path, member) for member in members]
            left = min(max_bytes, max(path.stat().st_size * max_ratio, _SMALL))
            for member, name in zip(members, names):
                target = aside.joinpath(*name.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(target, "wb") as out:
                    while block := source.read(_BLOCK):  # the sizes an archive declares may be lies
                        left -= len(block)
                        if left < 0:
                            raise UserError(f"{path} unpacks to far more than it should; it is not used")
                        out.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is damaged, or not a zip archive that can be read; get it again") from error
    return [folder.joinpath(*name.parts) for name in names]


def _safe(path: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """The member's place inside the folder it is unpacked into."""
    name = PurePosixPath(member.filename)
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename
    if outside or not name.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} holds '{member.filename}', which lies outside its folder or is a link; it is not used")
    return name


def open_bytes(path: Path) -> BinaryIO:
    """A plain or gzip file, opened for reading what it unpacks to.

    Raises:
        UserError: if it is missing, a folder, or cannot be read; while reading: if it is truncated, damaged, or unpacks
            to far more than text does.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (handed to the caller)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no system takes
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return io.BufferedReader(_Unpacked(path, file), _BLOCK) if path.suffix.lower() == ".gz" else file


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, unless it is a bomb."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file, self._lines = path, gzip.GzipFile(fileobj=file), 0
        self._left = max(path.stat().st_size * MAX_RATIO, _SMALL)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._file.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{self._path} is truncated or damaged after line {self._lines:,}; get it again") from error
        self._left -= len(block)
        if self._left < 0:
            raise UserError(f"{self._path} unpacks to far more than it should; it is not used")
        self._lines += block.count(b"\n")
        buffer[: len(block)] = block
        return len(block)

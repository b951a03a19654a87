"""Archives and compressed files that a stranger made: nothing leaves its folder, explodes, or ends half unpacked."""

from __future__ import annotations

import gzip
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside

MAX_BYTES = 8 * 2**30
MAX_RATIO = 200  # text compresses to a tenth; a bomb to a thousandth
_SMALL = 2**20  # a short file may compress by any ratio
_LONGEST = 2**26  # bytes of a line
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
        raise UserError(f"{path} is damaged, or no zip archive that can be read; get it again") from error
    return [folder.joinpath(*name.parts) for name in names]


def _safe(path: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """The member's place inside the folder it is unpacked into."""
    name = PurePosixPath(member.filename)
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename
    if outside or not name.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} holds '{member.filename}', which lies outside its folder or is a link; it is not used")
    return name


def open_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of a plain or gzip file with their numbers from 1, without their ends.

    Raises:
        UserError: if the file is missing, truncated or damaged, or has a line of more than 64 MiB.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            while line := file.readline(_LONGEST):
                number += 1
                if len(line) == _LONGEST:
                    raise UserError(f"{path} line {number} has no end within 64 MiB; the file is damaged")
                yield number, line.rstrip(b"\r\n")
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is truncated or damaged after line {number:,}; get it again") from error

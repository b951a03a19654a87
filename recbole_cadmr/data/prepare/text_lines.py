"""Text files as lines: their encoding, byte order marks, and errors that say how to fix a mismatch."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from recbole_cadmr.data.archive import open_bytes
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.memory import free_bytes

# The longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHERS = {
    b"PK\3\4": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "compressed by gzip",
    b"PAR1": "a parquet file",
}
LONGEST_LINE = 2**26  # characters
_SPARE = 2**27  # bytes of free memory below which reading stops
_USUAL = ("utf-8", "utf-16", "cp1252", "latin-1", "cp1251", "gb18030", "shift_jis", "euc-kr")


def text_lines(path: Path, encoding: str | None = None, newline: str = "\n", errors: str = "strict") -> Iterator[str]:
    """Lines of a plain or gzip text file, with their line ends unchanged.

    Args:
        encoding: UTF-8 if not given; a byte order mark takes precedence and is skipped.
        newline: what ends a line: ``"\\n"`` alone, or with ``""`` also ``"\\r"``.
        errors: ``surrogateescape`` lets bytes that are not UTF-8 through, as lone surrogates.

    Raises:
        UserError: if the file cannot be read, is not in that encoding, or has a line of more than 2**26 characters.
    """
    encoding = encoding or "utf-8"
    try:
        is_text = codecs.lookup(encoding)._is_text_encoding
    except (LookupError, ValueError):  # ValueError: not a possible name
        is_text = False
    if not is_text:
        unknown = f"{path} cannot be read as a table in {encoding}, which is not a known text encoding"
        raise UserError(unknown + did_you_mean(encoding, _USUAL))
    number = unchecked = 0
    with open_bytes(path) as file:
        start = file.peek(4)[:4] if isinstance(file, io.BufferedReader) else b""
        mark = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
        other = next((kind for begin, kind in _OTHERS.items() if start.startswith(begin)), None)
        if other:
            raise UserError(f"{path} is {other}, despite its name")
        if not mark and b"\0" in start and codecs.lookup(encoding).name == "utf-8":
            guess = "utf-16-be" if start.startswith(b"\0") else "utf-16-le"
            raise UserError(f"{path} cannot be read as a table in utf-8; name its encoding, perhaps {guess}")
        errors = "strict" if mark and mark != "utf-8-sig" else errors
        text = io.TextIOWrapper(file, mark or encoding, errors, newline)
        try:
            while line := text.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise UserError(f"{path} line {number} has no end within {LONGEST_LINE:,} characters")
                unchecked += len(line)
                if unchecked > LONGEST_LINE:  # the result may be many times the size of the file
                    unchecked = 0
                    if free_bytes() < _SPARE:
                        raise UserError(f"{path} does not fit in memory; {number:,} lines of it do")
                yield line
        except UnicodeError as error:
            reason, perhaps = _told(error)
            raise UserError(
                f"{path} cannot be read as a table in {mark or encoding}: after line {number:,}, {reason}; save it as "
                f"UTF-8, or name its encoding with --encoding{perhaps}"
            ) from error


def _told(error: UnicodeError) -> tuple[str, str]:
    """What did not fit, and a guess from the bytes at the encoding."""
    if not isinstance(error, UnicodeDecodeError):
        return str(error), ""
    reason = f"byte 0x{error.object[error.start]:02x} is {error.reason}"
    if b"\0" in error.object:
        return reason, ", perhaps utf-16"
    try:
        bytes(error.object).decode("cp1252")
    except UnicodeDecodeError:
        return reason, ", perhaps gb18030 or shift_jis"
    return reason, ", perhaps cp1252"

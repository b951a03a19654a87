"""What is read back from files that anyone may have edited (JSON, checkpoints), checked against a declared type.

A type is a ``msgspec.Struct`` or anything that msgspec can check (``dict[str, float | None]``, ``Annotated`` bounds).
Nothing that a file holds is used by key before it has passed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_bytes

T = TypeVar("T")
# What a tensor in the place of a mapping raises when it is asked for keys and values.
_OF_TENSORS = (AttributeError, IndexError, KeyError, TypeError, RuntimeError)


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file as a ``kind``.

    Raises:
        UserError: if the file is missing, cannot be read, is not JSON, or holds something else than a ``kind``.
    """
    with _refusing(path):
        return msgspec.json.decode(read_bytes(path), type=kind)


def read_versioned(path: Path, kind: type[T], version: int, what: str) -> T:
    """The content of a JSON file whose ``schema_version`` is ``version``, as a ``kind``.

    Raises:
        UserError: as of :func:`read_json`, and if it is of another version.
    """
    content = read_json(path, dict[str, Any])
    if content.get("schema_version") != version:
        raise UserError(f"{path} is not a {what} of schema version {version}; begin a new one")
    return checked(content, kind, path)


def read_json_lines(path: Path, kind: type[T]) -> list[T]:
    """The lines of a JSON Lines file, each as a ``kind``; a last one without an end of line is ignored.

    Raises:
        UserError: as of :func:`read_json`.
    """
    whole, _, _ = read_bytes(path).rpartition(b"\n")
    with _refusing(path):
        return msgspec.json.Decoder(kind).decode_lines(whole)


def checked(content: Any, kind: type[T], path: Path) -> T:
    """The content of the file ``path``, read already, as a ``kind``.

    Raises:
        UserError: if it is something else.
    """
    with _refusing(path):
        return msgspec.convert(content, kind)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Raise :class:`UserError` for what msgspec raises within, its quotation marks for its backticks."""
    try:
        yield
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, *_OF_TENSORS) as error:
        reason = str(error).replace("`", "'")
        raise UserError(f"{path} is damaged or was edited: {reason}") from error

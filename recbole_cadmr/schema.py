"""What is read back from files that anyone may have edited (JSON, checkpoints), checked against a declared type.

A type is a ``msgspec.Struct`` or anything that msgspec can check (``dict[str, float | None]``, ``Annotated`` bounds).
Nothing that a file holds is used by key before it has passed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_bytes

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file as a ``kind``.

    Raises:
        UserError: if the file is missing, cannot be read, is not JSON, or holds something else than a ``kind``.
    """
    try:
        return msgspec.json.decode(read_bytes(path), type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged or was edited: {_reason(error)}") from error


def checked(content: Any, kind: type[T], path: Path) -> T:
    """The content of the file ``path``, read already, as a ``kind``.

    Raises:
        UserError: if it is something else.
    """
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, RecursionError, AttributeError) as error:  # the last: a tensor for a mapping
        raise UserError(f"{path} is damaged or was edited: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What msgspec says, in quotation marks; backticks are for names of arguments."""
    return str(error).replace("`", "'")

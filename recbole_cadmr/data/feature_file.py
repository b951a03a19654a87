"""Feature files of a modality: ``NAME.MODALITY`` with the vectors inline, or beside it in ``NAME.MODALITY.npy``.

Everything here comes from a stranger's folder: nothing is unpickled, and whatever does not fit is one sentence.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of, write_aside


@dataclass(frozen=True)
class FeatureFile:
    """Rows of one modality's file.

    Attributes:
        tokens: item tokens in file order.
        rows: [n_rows, width], memory-mapped, float16/32/64; None if the file has ids alone (graphs only).
    """

    path: Path
    tokens: list[str]
    rows: np.ndarray | None


def read_features(path: Path, modality: str, item_field: str) -> FeatureFile:
    """Read ``path`` (``NAME.MODALITY``) and what lies beside it.

    Raises:
        UserError: if a file is missing, malformed, truncated, of another length, or not numeric.
    """
    if not path.is_file():
        raise UserError(f"there is no feature file {path}; remove '{modality}' from the setting modalities or add it")
    header, body = _read_text(path)
    columns = header.split("\t")
    wanted = [f"{item_field}:token", f"{modality}:float_seq"]
    if columns not in (wanted, wanted[:1]):
        raise UserError(
            f"{path} must begin with the header {wanted[0]}, or {wanted[0]} and {wanted[1]}, not {header!r}"
        )
    array = path.with_name(f"{path.name}.npy")
    inline = len(columns) == 2
    tokens = [line.split("\t", 1)[0] for line in body] if inline else body
    _check_tokens(path, tokens)
    if inline:
        return FeatureFile(path, tokens, _inline_rows(path, body))
    return FeatureFile(path, tokens, _map(array, len(tokens)) if array.is_file() else None)


def _read_text(path: Path) -> tuple[str, list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    if lines and not lines[-1]:
        lines.pop()
    if len(lines) < 2:
        raise UserError(f"{path} holds no items")
    return lines[0].rstrip("\r"), [line.rstrip("\r") for line in lines[1:]]


def _check_tokens(path: Path, tokens: list[str]) -> None:
    seen: set[str] = set()
    for number, token in enumerate(tokens, 2):
        if not token or "\t" in token:
            raise UserError(f"{path} line {number} is malformed: it must name one item")
        if token in seen:
            raise UserError(f"{path} line {number} names item '{token}' a second time")
        seen.add(token)


def _map(path: Path, n_rows: int) -> np.ndarray:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is truncated or not an array of numbers") from error
    if rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise UserError(f"{path} must hold a 2-D array of real numbers, not {rows.dtype} of shape {rows.shape}")
    if len(rows) != n_rows:
        raise UserError(f"{path} has {len(rows)} rows, but {path.stem} names {n_rows} items")
    return rows


def _inline_rows(path: Path, body: list[str]) -> np.ndarray:
    """The vectors of inline text as a memory-mapped array, parsed once for each content of the file."""
    name = f"{path.name}.{sha256_of(path)[:32]}.npy"
    for folder in (path.parent / ".cache", Path(tempfile.gettempdir()) / f"recbole_cadmr-{_user()}"):
        if (folder / name).is_file():
            return _map(folder / name, len(body))
    rows = _parse(path, body)
    for folder in (path.parent / ".cache", Path(tempfile.gettempdir()) / f"recbole_cadmr-{_user()}"):
        try:
            with write_aside(folder / name) as temporary:
                np.save(temporary, rows)
        except UserError:
            continue  # the data set's folder may be read-only
        return _map(folder / name, len(body))
    return rows


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _parse(path: Path, body: list[str]) -> np.ndarray:
    rows: np.ndarray | None = None
    for index, line in enumerate(body):
        try:
            row = np.array(line.split("\t")[1].split(), dtype=np.float32)
        except (IndexError, ValueError) as error:
            raise UserError(f"{path} line {index + 2} is malformed: it must hold an item and its numbers") from error
        if rows is None:
            rows = np.empty((len(body), len(row)), dtype=np.float32)
        if len(row) != rows.shape[1] or not len(row):
            raise UserError(f"{path} line {index + 2} has {len(row)} numbers, the first line {rows.shape[1]}")
        rows[index] = row
    assert rows is not None
    return rows

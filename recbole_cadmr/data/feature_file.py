"""Feature files of a modality: ``NAME.MODALITY`` with the vectors inline, or beside it in ``NAME.MODALITY.npy``.

Everything here comes from a stranger's folder: nothing is unpickled, and whatever does not fit is one sentence.
"""

from __future__ import annotations

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
    header = _header(path)
    inline, alone = [f"{item_field}:token", f"{modality}:float_seq"], [f"{item_field}:token"]
    if header.split("\t") == inline:
        return _read_inline(path)
    if header.split("\t") != alone:
        raise UserError(f"{path} must begin with the header {alone[0]}, or {alone[0]} and {inline[1]}, not {header!r}")
    tokens = _lines(path)
    _check_tokens(path, tokens)
    array = path.with_name(f"{path.name}.npy")
    return FeatureFile(path, tokens, _map(array, len(tokens)) if array.is_file() else None)


def _header(path: Path) -> str:
    with open(path, "rb") as file:
        return file.readline(10_000).decode("utf-8-sig", errors="replace").rstrip("\r\n")


def _lines(path: Path) -> list[str]:
    """Lines after the header."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    if lines and not lines[-1]:
        lines.pop()
    if len(lines) < 2:
        raise UserError(f"{path} holds no items")
    return lines[1:]


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


def _read_inline(path: Path) -> FeatureFile:
    """Inline text as a memory-mapped array: parsed once for each content of the file, then read from a cache."""
    name = f"{path.name}.{sha256_of(path)[:32]}"
    for folder in _caches(path):
        ids, array = folder / f"{name}.ids", folder / f"{name}.npy"
        if ids.is_file() and array.is_file():
            tokens = ids.read_text(encoding="utf-8").split("\n")
            return FeatureFile(path, tokens, _map(array, len(tokens)))
    body = _lines(path)
    tokens = [line.split("\t", 1)[0] for line in body]
    _check_tokens(path, tokens)
    rows = _parse(path, body)
    for folder in _caches(path):
        try:
            with write_aside(folder / f"{name}.ids") as temporary:
                temporary.write_text("\n".join(tokens), encoding="utf-8", newline="\n")
            with write_aside(folder / f"{name}.npy") as temporary:
                np.save(temporary, rows)
        except UserError:
            continue  # the data set's folder may be read-only
        return FeatureFile(path, tokens, _map(folder / f"{name}.npy", len(tokens)))
    return FeatureFile(path, tokens, rows)


def _caches(path: Path) -> tuple[Path, Path]:
    return path.parent / ".cache", Path.home() / ".cache" / "recbole_cadmr"


def _parse(path: Path, body: list[str]) -> np.ndarray:
    rows: np.ndarray | None = None
    for index, line in enumerate(body):
        try:
            _, numbers = line.split("\t")
            row = np.array(numbers.split(), dtype=np.float32)
        except ValueError as error:
            raise UserError(f"{path} line {index + 2} is malformed: it must hold an item and its numbers") from error
        if rows is None:
            rows = np.empty((len(body), len(row)), dtype=np.float32)
        if len(row) != rows.shape[1] or not len(row):
            raise UserError(f"{path} line {index + 2} has {len(row)} numbers, the first line {rows.shape[1]}")
        rows[index] = row
    assert rows is not None
    return rows

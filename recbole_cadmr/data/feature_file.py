"""Feature files of a modality: ``NAME.MODALITY`` with the vectors inline, or beside it in ``NAME.MODALITY.npy``.

The files are not trusted: nothing is unpickled, and whatever does not fit is one sentence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.errors import UserError

# What follows NAME. in files that are not of a modality: those that RecBole reads, and our own.
RESERVED = frozenset(
    ("inter", "item", "user", "kg", "link", "net", "train", "valid", "test", "yaml", "html", "md", "npy", "npz")
)


@dataclass(frozen=True)
class FeatureFile:
    """Rows of one modality's file.

    Attributes:
        tokens: item tokens in file order.
        rows: [n_rows, width], float32, or memory-mapped float16/32/64; None if the file has ids alone (graphs only).
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
    lines = _lines(path)
    header = next(lines, "")
    inline, alone = [f"{item_field}:token", f"{modality}:float_seq"], [f"{item_field}:token"]
    if header.split("\t") not in (inline, alone):
        raise UserError(
            f"{path} must begin with the header {alone[0]}, or {alone[0]} and {inline[1]}, not {header[:200]!r}"
        )
    if header.split("\t") == inline:
        return _read_inline(path, lines)
    tokens = list(lines)
    _check_tokens(path, tokens)
    array = path.with_name(f"{path.name}.npy")
    if not array.is_file():
        return FeatureFile(path, tokens, None)
    rows = map_rows(array)
    if len(rows) != len(tokens):
        raise UserError(f"{array} has {len(rows)} rows, but {path.name} names {len(tokens)} items")
    return FeatureFile(path, tokens, rows)


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line in file:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error


def _check_tokens(path: Path, tokens: list[str]) -> None:
    if not tokens:
        raise UserError(f"{path} holds no items")
    seen: set[str] = set()
    for number, token in enumerate(tokens, 2):
        if not token or "\t" in token:
            raise UserError(f"{path} line {number} is malformed: it must name one item")
        if token in seen:
            raise UserError(f"{path} line {number} names item '{token}' a second time")
        seen.add(token)


def _read_inline(path: Path, lines: Iterator[str]) -> FeatureFile:
    """The items and vectors of the lines after the header."""
    tokens: list[str] = []
    values, width = bytearray(), 0  # of all vectors: no second copy is made
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for text that is not numbers to its end
        for number, line in enumerate(lines, 2):
            token, tab, numbers = line.partition("\t")
            try:
                vector = np.fromstring(numbers, dtype=np.float32, sep=" ") if numbers.strip() else np.empty(0)
            except (ValueError, DeprecationWarning):
                tab = ""
            if not tab or "\t" in numbers:
                raise UserError(f"{path} line {number} is malformed: it must hold an item and its numbers")
            width = width or len(vector)
            if not width or len(vector) != width:
                raise UserError(f"{path} line {number} has {len(vector)} numbers, the first line {width}")
            tokens.append(token)
            values += vector.tobytes()
    _check_tokens(path, tokens)
    return FeatureFile(path, tokens, np.frombuffer(values, dtype=np.float32).reshape(-1, width))

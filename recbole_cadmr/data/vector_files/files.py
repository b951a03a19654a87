"""A file or folder of vectors, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from recbole_cadmr.data.vector_files.arrays import npy_blocks, npz_blocks, safetensors_blocks
from recbole_cadmr.data.vector_files.block import Block, Reading
from recbole_cadmr.data.vector_files.folder import folder_blocks
from recbole_cadmr.data.vector_files.tables import parquet_blocks, separated_blocks
from recbole_cadmr.errors import UserError

_READERS = {
    ".npy": npy_blocks,
    ".npz": npz_blocks,
    ".safetensors": safetensors_blocks,
    ".parquet": parquet_blocks,
    ".csv": separated_blocks,
    ".tsv": separated_blocks,
    ".csv.gz": separated_blocks,
    ".tsv.gz": separated_blocks,
}
_TABLES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")


def blocks_of(path: Path, reading: Reading) -> Iterator[Block]:
    """The vectors in ``path``, in its order; a first one is there.

    Raises:
        UserError: if it cannot be read, holds no vectors, or a column is named that it has not got.
    """
    if path.is_dir():
        read = folder_blocks
    else:
        read_by = [read for suffix, read in _READERS.items() if path.name.lower().endswith(suffix)]
        if not read_by:
            raise UserError(f"{path} must be a folder of .npy files, or one of {', '.join(_READERS)}")
        (read,) = read_by
    if reading.vector_column and not path.name.lower().endswith(_TABLES):
        raise UserError(f"--vector_column is for tables ({', '.join(_TABLES)}), and {path} is none")
    if reading.pool and path.name.lower().endswith(_TABLES):
        raise UserError(f"{path} is a table, which has one vector a row, and --pool would do nothing; leave it out")
    blocks = read(path, reading)
    first = next(blocks, None)
    if first is None:
        raise UserError(f"{path} holds no vectors")
    return chain([first], blocks)

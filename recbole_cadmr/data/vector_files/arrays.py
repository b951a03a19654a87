"""Vectors in arrays: ``.npy``, ``.npz`` and ``.safetensors``, by row or by id."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.arrays import array_names, each_array, map_array
from recbole_cadmr.data.vector_files.block import (
    NUMBERS,
    Block,
    Reading,
    blocks_of_rows,
    blocks_of_vectors,
    ids_in,
    need_rows,
    pooled,
    vector_of,
)
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file


def npy_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Rows of a ``.npy`` file, which names no ids."""
    return blocks_of_rows(need_rows(map_array(path), str(path), reading), reading)


def npz_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Rows of the one matrix in a ``.npz`` file, with ids if the other array holds them; or arrays called by ids."""
    names = array_names(path)
    if not names:
        raise UserError(f"{path} holds no arrays")
    if len(names) == 1:
        return blocks_of_rows(need_rows(next(each_array(path, names)), str(path), reading), reading)
    if len(names) == 2:
        pair = list(each_array(path, names))
        for ids, rows in (pair, pair[::-1]):
            if rows.ndim in (2, 3) and len(rows) == len(ids) and (texts := ids_in(ids)) is not None:
                return blocks_of_rows(need_rows(rows, str(path), reading), reading, texts)

    def where(name: str) -> str:
        return f"the array '{name}' of {path}"

    vectors = ((name, vector_of(array, where(name), reading)) for name, array in zip(names, each_array(path, names)))
    return blocks_of_vectors(vectors, where)


def safetensors_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Rows of the one matrix in a ``.safetensors`` file, with ids if the other tensor holds them as whole numbers; or
    tensors named by their ids.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    need_file(path)
    try:
        file: Any = safe_open(path, framework="pt")
        names = list(file.keys())
        shapes = {name: file.get_slice(name).get_shape() for name in names[:2]}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged, or not a .safetensors file") from error
    if not names:
        raise UserError(f"{path} holds no tensors")

    def numbers(tensor: torch.Tensor) -> np.ndarray:
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    def rows_of(name: str, ids: list[str] | None) -> Iterator[Block]:
        rows, (n, *of_row) = file.get_slice(name), shapes[name]
        step = max(1, NUMBERS // max(prod(of_row), 1))
        for start in range(0, n, step):
            part = need_rows(numbers(rows[start : start + step]), f"the tensor '{name}' of {path}", reading)
            yield Block(None if ids is None else ids[start : start + step], pooled(part, reading))

    matrices = [name for name, shape in shapes.items() if len(shape) in (2, 3)]
    if len(names) == 1:
        if not matrices or 0 in shapes[names[0]]:
            raise UserError(f"{path} must hold a matrix, a vector a row, or a tensor for each item by its id")
        return rows_of(names[0], None)
    if len(names) == 2 and len(matrices) == 1:
        (other,) = (name for name in names if name != matrices[0])
        if shapes[other] == shapes[matrices[0]][:1] and (ids := ids_in(numbers(file.get_tensor(other)))) is not None:
            return rows_of(matrices[0], ids)

    def where(name: str) -> str:
        return f"the tensor '{name}' of {path}"

    vectors = ((name, vector_of(numbers(file.get_tensor(name)), where(name), reading)) for name in names)
    return blocks_of_vectors(vectors, where)

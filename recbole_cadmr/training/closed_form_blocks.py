"""The closed form of a large catalogue, its rows computed elsewhere, block by block."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse as sp

from recbole_cadmr.arrays import read_arrays
from recbole_cadmr.blocks import Over, open_store
from recbole_cadmr.errors import ModelError
from recbole_cadmr.files import write_aside
from recbole_cadmr.layers.low_rank_autoencoder import RowsOf
from recbole_cadmr.training.callbacks import TrainingCallback

_STORE = "closed_form_rows"  # in the folder of a run, as long as a fit is at work
_ARRAYS = ("data", "indices", "indptr", "shape")


class FitOver(TrainingCallback):
    """Lets ``over`` compute the rows of a closed form's sparse part.

    Blocks that a killed run has computed are in its folder, and are not computed again if it is resumed.
    """

    def __init__(self, over: Over) -> None:
        self._over = over

    def on_epoch_start(self, trainer: Any, epoch: int) -> None:
        """Hand the blocks over.

        Raises:
            ModelError: if nothing of the model's training is cut into blocks.
        """
        closed_form = getattr(trainer.model, "closed_form", None)
        if closed_form is None:
            model = trainer.config["model"]
            raise ModelError(f"--ray-address is for the closed form of LinearCADMR, which {model} has not; add --nproc")
        if closed_form.is_dense():
            raise ModelError("the exact fit is one task, not blocks; leave out --ray-address, or give --fit=sparse")
        closed_form.map_blocks = partial(self._map, trainer.folder / _STORE)

    def _map(self, store: Path, rows_of: RowsOf, blocks: Sequence[slice]) -> Iterator[sp.csr_matrix]:
        open_store(store, {"rows_of": joblib.hash(rows_of), "blocks": str(blocks)})
        paths = [store / f"{block.start:09d}.npz" for block in blocks]
        missing = ((path, block) for path, block in zip(paths, blocks) if not path.is_file())
        for path, rows in self._over(rows_of, missing):
            with write_aside(path) as temporary:
                np.savez(temporary, **{name: getattr(rows, name) for name in _ARRAYS})
        for path in paths:
            *entries, shape = read_arrays(path, *_ARRAYS)
            yield sp.csr_matrix(tuple(entries), shape)
        shutil.rmtree(store)

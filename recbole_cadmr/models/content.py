"""What models read of a data set: its training rows, and the attention of items by content."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.rows import binary
from recbole_cadmr.layers.leading_eigenvectors import leading_eigenvectors

_BLOCK = 2**22  # numbers of a block of features
_OVERSAMPLING = 16  # directions beyond those asked for
_ROUNDS = 12  # of subspace iteration


def training_rows(dataset: MultimodalDataset) -> sp.csr_matrix:
    """R [U, I]: users of the train part by items without the padding item, every entry 1."""
    return binary(dataset.inter_matrix(form="csr")[:, 1:])


def modality_shares(names: Sequence[str], setting: Mapping[str, float] | None) -> dict[str, float]:
    """Weights by name that add up to 1, from a mapping that may leave modalities out; equal ones from None.

    A modality that the mapping leaves out weighs as much as those that it names do on average.
    """
    named = {name: float(setting[name]) for name in names if setting and name in setting}
    default = sum(named.values()) / len(named) if named else 1.0
    weights = {name: named.get(name, default) for name in names}
    total = sum(weights.values())
    return {name: weight / total if total else 1 / len(names) for name, weight in weights.items()}


def unit_features(dataset: MultimodalDataset, most: int = sys.maxsize) -> tuple[Tensor, bool]:
    """Features of all modalities side by side [I, sum of widths], each centred and of length 1, or 0 if missing.

    Memory beside the result: a block of rows, however large the features are.

    Args:
        most: columns of a modality; a wider one is reduced to as many principal components.

    Returns:
        The features, and whether any modality was reduced.
    """
    units = [_UnitRows(modality) for modality in dataset.modalities().values()]
    bases = [principal_components(unit, most) if unit.width > most else None for unit in units]
    widths = [unit.width if V is None else V.shape[1] for unit, V in zip(units, bases)]
    features = torch.empty(dataset.item_num - 1, sum(widths))
    for unit, V, columns in zip(units, bases, features.split(widths, 1)):
        for rows, block in zip(columns.split(unit.step), unit):
            rows.copy_(block if V is None else F.normalize(block @ V, dim=1))
    return features, any(V is not None for V in bases)


def projected_features(dataset: MultimodalDataset, most: int, known: Tensor) -> Tensor:
    """What :func:`unit_features` would have given for further items [n, F] in the coordinates of ``known`` [I, F].

    Their principal components are found again from the known items, and turned to what these were on another machine.
    """
    parts, first = [], 0
    for modality in dataset.modalities().values():
        n = len(known) + 1
        unit = _UnitRows(Modality(modality.name, modality.features[:n], modality.present[:n]))
        new = F.normalize((modality.features[n:] - unit.mean) * modality.present[n:, None], dim=1)
        if unit.width > most:
            V = principal_components(unit, most)
            again = torch.cat([F.normalize(block @ V, dim=1) for block in unit])
            own = known[:, first : first + V.shape[1]].to(again)
            left, _, right = torch.linalg.svd(again.T @ own)  # orthogonal Procrustes
            new = F.normalize(new @ V @ (left @ right), dim=1)
        first += new.shape[1]
        parts.append(new)
    return torch.cat(parts, 1).to(known)


class _UnitRows:
    """The rows [I, width] of a modality, centred and of length 1, or 0 if missing, in blocks of ``step``."""

    def __init__(self, modality: Modality) -> None:
        self.width = modality.width
        self.step = max(_BLOCK // self.width, 1)
        self._features, self._present = modality.features[1:], modality.present[1:, None]
        total = sum((rows.sum(0, dtype=torch.float64) for rows in self._features.split(self.step)), torch.zeros(1))
        self.mean = (total / max(int(self._present.sum()), 1)).float()  # rows that are missing are zeros

    def __iter__(self) -> Iterator[Tensor]:
        for rows, present in zip(self._features.split(self.step), self._present.split(self.step)):
            yield F.normalize((rows - self.mean) * present, dim=1)


def principal_components(X: Iterable[Tensor], n_components: int) -> Tensor:
    """V [width, n_components], the directions in which the rows of X [n, width], not centred, are longest.

    One pass over the rows gives ``X'X``, whose memory is width x width; then subspace iteration. The same rows give the
    same result. There are no more components than columns, or rows.

    Args:
        X: the rows, in blocks.
    """
    n, gram = 0, torch.zeros(())
    for rows in X:
        n, gram = n + len(rows), gram + rows.T @ rows
    return leading_eigenvectors(gram.matmul, len(gram), min(n_components, n, len(gram)), _OVERSAMPLING, _ROUNDS)[0]

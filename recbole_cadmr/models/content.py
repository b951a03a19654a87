"""What models read of a data set: its training rows, and the attention of items by content."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.order import ranked
from recbole_cadmr.data.rows import binary
from recbole_cadmr.layers.leading_eigenvectors import leading_eigenvectors

if TYPE_CHECKING:
    from recbole_cadmr.data.dataset import MultimodalDataset  # RecBole comes with it

_BLOCK = 2**22  # numbers of a block of features
_MOST_ROWS, _LEAST_ROWS = 128, 8  # numbers of a modality that are rows of a closed form
_ROW_ENTRIES = 2**22  # of all of them in a large catalogue
_OVERSAMPLING = 16  # directions beyond those asked for
_ROUNDS = 12  # of subspace iteration


class ItemFeatures(Protocol):
    """Where features of items are read, such as a data set."""

    @property
    def item_num(self) -> int:
        """Items, the padding item included."""

    def modalities(self) -> dict[str, Modality]:
        """Features of all modalities by name."""


def training_rows(dataset: MultimodalDataset) -> sp.csr_matrix:
    """R [U, I]: users of the train part by items without the padding item, every entry 1."""
    return binary(dataset.inter_matrix(form="csr")[:, 1:])


def training_order(dataset: MultimodalDataset) -> sp.csr_matrix | None:
    """The place of each entry of :func:`training_rows` in its row, by the times that are loaded; None if none are.

    Texts are no times: RecBole numbers them as they come.
    """
    rows = dataset.inter_feat
    if dataset.time_field not in rows or dataset.field2type[dataset.time_field].value != "float":
        return None
    users, items, times = (rows[name].numpy() for name in (dataset.uid_field, dataset.iid_field, dataset.time_field))
    return ranked(users, items - 1, times, (dataset.user_num, dataset.item_num - 1))


def modality_shares(names: Sequence[str], setting: Mapping[str, float] | None) -> dict[str, float]:
    """Weights by name that add up to 1, from a mapping that may leave modalities out; equal ones from None.

    A modality that the mapping leaves out weighs as much as those that it names do on average.
    """
    named = {name: float(setting[name]) for name in names if setting and name in setting}
    default = sum(named.values()) / len(named) if named else 1.0
    weights = {name: named.get(name, default) for name in names}
    total = sum(weights.values())
    return {name: weight / total if total else 1 / len(names) for name, weight in weights.items()}


def unit_features(
    dataset: ItemFeatures, most: int = sys.maxsize, most_reduced: int = sys.maxsize
) -> tuple[Tensor, bool]:
    """Features of all modalities side by side [I, sum of widths], each centred and of length 1, or 0 if missing.

    Memory beside the result: a block of rows, however large the features are.

    Args:
        most: columns of a modality; a wider one is reduced to as many principal components.
        most_reduced: most of these, where there are fewer items.

    Returns:
        The features, and whether any modality was reduced.
    """
    units = [_UnitRows(modality) for modality in dataset.modalities().values()]
    n_reduced = min(most, most_reduced)
    bases = [principal_components(unit, n_reduced) if unit.width > most else None for unit in units]
    widths = [unit.width if V is None else V.shape[1] for unit, V in zip(units, bases)]
    features = torch.empty(dataset.item_num - 1, sum(widths))
    for unit, V, columns in zip(units, bases, features.split(widths, 1)):
        for rows, block in zip(columns.split(unit.step), unit):
            rows.copy_(block if V is None else F.normalize(block @ V, dim=1))
    return features, any(V is not None for V in bases)


def content_rows(items: ItemFeatures) -> Tensor:
    """Features of all modalities side by side [I, d], narrow enough to be further rows of a closed form."""
    share = _ROW_ENTRIES // (items.item_num * max(len(items.modalities()), 1))
    return unit_features(items, min(_MOST_ROWS, max(share, _LEAST_ROWS)))[0]


@dataclass(frozen=True)
class Projection:
    """How features of a modality become columns of what :func:`unit_features` gives.

    Attributes:
        mean: [width], by which they are centred.
        basis: [width, n], what they are multiplied by then; None for nothing.
    """

    mean: Tensor
    basis: Tensor | None

    def of(self, features: Tensor) -> Tensor:
        """The columns [n, *] of items with these features [n, width], zeros of items that lack the modality."""
        unit = F.normalize((features - self.mean) * features.any(1, keepdim=True), dim=1)
        return unit if self.basis is None else F.normalize(unit @ self.basis, dim=1)


def projections(dataset: ItemFeatures, most: int, known: Tensor) -> dict[str, Projection]:
    """By modality, how further items get features in the coordinates of ``known`` [I, F], the first of a data set.

    Their principal components are found again from the known items, and turned to what these were on another machine.
    """
    found, first, n = {}, 0, len(known) + 1
    for name, modality in dataset.modalities().items():
        unit, basis = _UnitRows(Modality(name, modality.features[:n], modality.present[:n])), None
        if unit.width > most:
            V = principal_components(unit, most)
            again = torch.cat([F.normalize(block @ V, dim=1) for block in unit])
            own = known[:, first : first + V.shape[1]].to(again)
            left, _, right = torch.linalg.svd(again.T @ own)  # orthogonal Procrustes
            basis = V @ (left @ right)
        first += unit.width if basis is None else basis.shape[1]
        found[name] = Projection(unit.mean, basis)
    return found


def projected(dataset: ItemFeatures, n_known: int, by_modality: Mapping[str, Projection]) -> Tensor:
    """What :func:`unit_features` would have given for the items behind the first ``n_known``, padding item included."""
    modalities = dataset.modalities().items()
    return torch.cat([by_modality[name].of(modality.features[n_known:]) for name, modality in modalities], 1)


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

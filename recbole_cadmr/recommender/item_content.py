"""The content of a data set's items, without its interactions."""

from __future__ import annotations

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.graph import ItemGraph, known_or_nearest
from recbole_cadmr.data.modality import Modality


class ItemContent:
    """Features of the items and their nearest ones, which are looked for when they are first asked for."""

    def __init__(self, dataset: MultimodalDataset) -> None:
        self.modality_names, self._modalities = dataset.modality_names, dataset.modalities()
        self._item_num = dataset.item_num
        self._graphs = {name: dataset.known_graph(name) for name in self.modality_names}

    @property
    def item_num(self) -> int:
        """Items, the padding item included."""
        return self._item_num

    def modalities(self) -> dict[str, Modality]:
        """Features of all modalities by name."""
        return self._modalities

    def modality(self, name: str) -> Modality:
        """Features of one modality."""
        return self._modalities[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items of every item by one modality."""
        return known_or_nearest(self._graphs[name], self._modalities[name], k)

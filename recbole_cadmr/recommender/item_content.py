"""The content of a data set's items, without its interactions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.graph import ItemGraph, known_or_nearest
from recbole_cadmr.data.modality import Modality


class ItemContent:
    """Features of the items and their nearest ones, which are looked for when they are first asked for."""

    def __init__(self, dataset: MultimodalDataset) -> None:
        self.modality_names, self._modalities = dataset.modality_names, dataset.modalities()
        self._graphs = {name: dataset.known_graph(name) for name in self.modality_names}

    def modality(self, name: str) -> Modality:
        """Features of one modality."""
        return self._modalities[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items of every item by one modality."""
        return known_or_nearest(self._graphs[name], self._modalities[name], k)


class Neighbours(Mapping[tuple[str, int], ItemGraph]):
    """The nearest items by modality and number, found when they are first asked for."""

    def __init__(self, content: ItemContent, numbers: Collection[int]) -> None:
        self._content = content
        self._names = dict.fromkeys((name, k) for k in numbers for name in content.modality_names)

    def __getitem__(self, key: tuple[str, int]) -> ItemGraph:
        """No more neighbours than so many."""
        if key not in self._names:
            raise KeyError(key)
        graph, k = self._content.nearest_items(*key), key[1]
        return ItemGraph(graph.idx[:, :k].clone(), graph.cos[:, :k].clone())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """By modality, of one number after the other."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._names)

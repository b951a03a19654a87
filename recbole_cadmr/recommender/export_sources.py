"""What an export holds of a model so that it can be given more, without checkpoint and data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.graph import ItemGraph, nearest_items, with_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.attention_scores import AttentionScores
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.content_graph import GraphAttention
from recbole_cadmr.layers.item_attention import Smoothing, queries_and_keys
from recbole_cadmr.models.content import Projection, content_rows, projected, unit_features
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.pruning import pruned
from recbole_cadmr.recommender.sources import Source
from recbole_cadmr.recommender.vectors_engine import MappedContent, VectorsEngine, mean_features
from recbole_cadmr.recommender.weights_engine import WeightsEngine

Graphs = Mapping[tuple[str, int], ItemGraph]  # by modality and number of neighbours
_CPU = torch.device("cpu")


class Content:
    """Features of the items, as what models read their content from.

    Args:
        graphs: the nearest items that models were fitted to, of the first items at least.
    """

    def __init__(self, modalities: Mapping[str, Modality], graphs: Graphs | None = None) -> None:
        self._modalities, self._graphs = dict(modalities), graphs or {}

    @property
    def item_num(self) -> int:
        """Items, the padding item included."""
        return max((len(modality.present) for modality in self._modalities.values()), default=0)

    @property
    def modality_names(self) -> list[str]:
        """Modalities with features."""
        return list(self._modalities)

    def modalities(self) -> dict[str, Modality]:
        """Features of all modalities by name."""
        return self._modalities

    def modality(self, name: str) -> Modality:
        """Features of one modality."""
        return self._modalities[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items of every item by one modality."""
        modality, graph = self._modalities[name], self._graphs.get((name, k))
        if graph is None or graph.idx.shape[1] < min(k, int(modality.present.sum()) - 1):
            return nearest_items(modality, k)
        return graph if len(graph.idx) == len(modality.present) else with_items(graph, modality)

    def first(self, n_items: int) -> Content:
        """The features of the first items alone."""
        modalities = self._modalities.values()
        return Content({m.name: Modality(m.name, m.features[:n_items], m.present[:n_items]) for m in modalities})


def _completed(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The settings of an export, with what those that are newer than it stand for."""
    from recbole_cadmr.config.deprecated import first_names, with_former_values  # and yaml, which asking does not need
    from recbole_cadmr.config.model_yaml import own_settings

    defaults = {name: setting.default for name, setting in own_settings(model).items()}
    newer = {name: value for name, value in defaults.items() if not first_names(model, {name: value})}
    return newer | with_former_values(model, settings)


def _checked(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """:func:`_completed`; refuses settings that a model cannot have."""
    from recbole_cadmr.config.model_yaml import own_settings

    settings = _completed(settings, model)
    for name, setting in own_settings(model).items():
        if name not in settings:
            raise UserError(f"the export was edited: there is no setting {name}")
        setting.check(settings[name], "the export was edited")
    return settings


@dataclass(frozen=True)
class ClosedFormSource(Source):
    """What an export of a closed form holds: settings, and in its tables features and interactions.

    Attributes:
        name: of the model.
        settings: those that it was fitted by.
        neighbours: entries that an item keeps of its weights, on average; None for all.
        graphs: the nearest items that it was fitted to.
    """

    name: str
    settings: Mapping[str, Any]
    neighbours: int | None = None
    graphs: Graphs = field(default_factory=dict)
    takes_new_items = refits = True

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The closed form, fitted anew and pruned as it was."""
        return _pruned(self.fitted(catalogue, histories), self.neighbours, histories)

    def fitted(self, catalogue: Catalogue, histories: Histories) -> WeightsEngine:
        """The closed form, fitted anew and whole."""
        settings, R = _checked(self.settings, "LinearCADMR"), histories.fitted_rows
        content = Content(catalogue.modalities, self.graphs)
        how = GraphAttention(content, R), partial(content_rows, content), settings, _CPU, histories.fitted_order
        closed_form = ContentAutoencoder(R, *how)
        closed_form.fit()
        assert closed_form.weights is not None
        return WeightsEngine(self.name, closed_form.weights, closed_form)

    def exported(self, neighbours: int) -> ClosedFormSource:
        """The same with so many weights an item."""
        return replace(self, neighbours=neighbours)


@dataclass(frozen=True)
class ItemWeightsSource(Source):
    """What an export of an ``ItemWeightsRecommender`` holds: settings, and in its tables features and interactions.

    Attributes:
        name: of the model, one of the package's.
        settings: those that it was fitted by.
        neighbours: as of :class:`ClosedFormSource`.
    """

    name: str
    settings: Mapping[str, Any]
    neighbours: int | None = None
    takes_new_items = refits = True

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The weights, computed anew and pruned as they were."""
        from recbole_cadmr.runs.undisturbed import undisturbed

        settings = _checked(self.settings, self.name)
        with undisturbed():
            from recbole_cadmr.recommender.reopened import item_weights  # heavy: RecBole

            weights = item_weights(self.name, histories.fitted_rows, Content(catalogue.modalities), settings)
        return _pruned(WeightsEngine(self.name, weights), self.neighbours, histories)

    def exported(self, neighbours: int) -> ItemWeightsSource:
        """The same with so many weights an item."""
        return replace(self, neighbours=neighbours)


def _pruned(engine: Engine, neighbours: int | None, histories: Histories) -> Engine:
    return engine if neighbours is None else pruned(engine, neighbours, histories)


@dataclass(frozen=True)
class Attention:
    """A trained attention of items to items, by what its queries and keys are computed from.

    Attributes:
        mixed: of each member, free embeddings plus mapped features of the items it began with [I, 2 d].
        content_maps: of each member [F, 2 d], features of scale ``content_scale`` to what is added to embeddings.
        projections: how further items get features; None if these are the unit features of all.
        settings: of the attention by content that items are smoothed by, as of :class:`GraphAttention`.
        content, cooccurrence: weights of the smoothing.
    """

    mixed: Sequence[Tensor]
    content_maps: Sequence[Tensor]
    projections: Mapping[str, Projection] | None
    content_scale: float
    temperature: float
    settings: Mapping[str, Any]
    content: float
    cooccurrence: float

    @torch.no_grad()
    def scores(self, content: Content, R: sp.csr_matrix) -> AttentionScores:
        """The attention over all items of ``content``, of which those behind the first have content alone."""
        A = sp.csr_matrix(2 * (R.shape[1],), dtype="float32")
        if self.content:
            settings = _completed(self.settings, "LinearCADMR")
            A = sum(GraphAttention(content, R)(settings)[0].values(), A).tocsr()
        smoothing = Smoothing(R, A, self.content, self.cooccurrence, _CPU)
        members = zip(self._mixed(content, R.shape[1]), self.content_maps)
        return AttentionScores([queries_and_keys(smoothing(mixed), self.temperature) for mixed, _ in members])

    def _mixed(self, content: Content, n_items: int) -> list[Tensor]:
        """:attr:`mixed` of all items."""
        n_known = len(self.mixed[0])
        if n_known == n_items:
            return list(self.mixed)
        if self.projections is not None:
            moved, new = None, projected(content, n_known + 1, self.projections)
        else:
            features = unit_features(content)[0]
            moved, new = features[:n_known] - unit_features(content.first(n_known + 1))[0], features[n_known:]
        rows = []
        for mixed, content_map in zip(self.mixed, self.content_maps):
            known = mixed if moved is None else torch.addmm(mixed, moved, content_map, alpha=self.content_scale)
            rows.append(torch.cat([known, self.content_scale * new @ content_map]))
        return rows


@dataclass(frozen=True)
class AttentionSource(Source):
    """What an export of a closed form beside a trained attention holds; the attention stays as it is.

    Attributes:
        closed_form: the closed form's.
        weight: of log p.
        n_candidates: as of :class:`AttentionEngine`.
    """

    closed_form: ClosedFormSource
    attention: Attention
    weight: float
    n_candidates: int | None
    takes_new_items, refits = True, False

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The closed form, fitted anew and pruned as it was, beside the attention."""
        whole = self.closed_form.fitted(catalogue, histories)
        scores = self.scores(catalogue, histories)
        engine = AttentionEngine(whole.name, whole, scores, self.weight, self.n_candidates)
        return _pruned(engine, self.closed_form.neighbours, histories)

    def scores(self, catalogue: Catalogue, histories: Histories) -> AttentionScores:
        """The attention over all items of a catalogue."""
        return self.attention.scores(Content(catalogue.modalities, self.closed_form.graphs), histories.fitted_rows)

    def exported(self, neighbours: int) -> AttentionSource:
        """The same with so many weights an item."""
        return replace(self, closed_form=self.closed_form.exported(neighbours))


@dataclass(frozen=True)
class FeatureMapSource(Source):
    """What an export of VBPR holds: vectors of users and items, and the map of features that makes half of the latter.

    Attributes:
        name: of the model.
        users, items: vectors, as of :class:`VectorsEngine`, of the items it began with.
        map: [d, F], from the features of all modalities side by side; an item without one has the mean of those with.
        map_bias: [d], added to what is mapped.
        n_trained: items whose features were trained, too, and stay as they are; 0 if none were.
    """

    name: str
    users: Tensor
    items: Tensor
    map: Tensor
    map_bias: Tensor
    n_trained: int
    takes_new_items, refits = True, False

    @torch.no_grad()
    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The vectors with those of further items, which have content alone."""
        n_known, size, first = len(self.items), len(self.map), max(self.n_trained, 1)
        known, new = self.items.clone(), self.map_bias.expand(catalogue.n_items - n_known, -1)
        maps = self.map.split([modality.width for modality in catalogue.modalities.values()], 1)
        for modality, E in zip(catalogue.modalities.values(), maps):
            mean, before = (mean_features(modality, n) for n in (catalogue.n_items, n_known))
            has = modality.present[:, None]
            new = new + torch.where(has[n_known:], modality.features[n_known:], mean) @ E.T
            known[first:, -size:] += torch.where(has[first:n_known], 0.0, mean - before) @ E.T
        vectors = torch.cat([known, F.pad(new, (self.items.shape[1] - size, 0))])
        return VectorsEngine(self.name, self.users, vectors, content=self.content(catalogue))

    def content(self, catalogue: Catalogue) -> MappedContent:
        """What the vectors of a catalogue's items end with."""
        return MappedContent(self.map, catalogue.modalities, self.n_trained)

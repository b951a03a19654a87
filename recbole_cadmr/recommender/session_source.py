"""What an export of a session's model holds so that it can be given more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.layers.content_graph import OF_ATTENTION
from recbole_cadmr.models.closed_form import ClosedFormRecommender
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.item_weights import ItemWeightsRecommender
from recbole_cadmr.models.linearcadmr import LinearCADMR
from recbole_cadmr.models.registry import MODELS
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.models.vbpr import VBPR
from recbole_cadmr.recommender.export_sources import (
    Attention,
    AttentionSource,
    ClosedFormSource,
    FeatureMapSource,
    ItemWeightsSource,
)
from recbole_cadmr.recommender.sources import LEARNS_ITEMS, Source, Unchanging
from recbole_cadmr.runs.session import Session


@torch.no_grad()
def source_of(session: Session) -> Source:
    """What is needed of a fitted model, beside features and interactions, to take new items without its data set."""
    model, name = session.model, session.config["model"]
    if not traits(type(model)).takes_new_items:
        return Unchanging(LEARNS_ITEMS)
    if session.config["content_controls"]:
        return Unchanging("it was trained on content that content_controls changed")
    if isinstance(model, ClosedFormRecommender) and model.closed_form.weights is None:
        return Unchanging()
    if type(model) is LinearCADMR:  # what a subclass of a user's own does is not known
        return _closed_form(session, model)
    if type(model) is SoftmaxCADMR:
        if model.smoothing_settings["attention"] == "fused":
            return Unchanging("an export does not hold the fused graph that its attention is smoothed by")
        closed_form = _closed_form(session, model, model.smoothing_settings)
        return AttentionSource(
            closed_form, _attention(session, model), float(model.attention_weight), model.n_candidates
        )
    if isinstance(model, ItemWeightsRecommender) and type(model).__module__ == MODELS.get(name):
        return ItemWeightsSource(name, dict(model.given.settings))
    if type(model) is VBPR:
        users, items = (vectors.cpu().clone() for vectors in model.eval().forward())
        map_, bias = model.E.weight.detach().cpu(), model.E.bias.detach().cpu()
        return FeatureMapSource(name, users, items, map_, bias, len(items) if model.trainable_features else 0)
    return Unchanging()


def _closed_form(session: Session, model: ClosedFormRecommender, *others: Mapping[str, Any]) -> ClosedFormSource:
    """The closed form's, with the graphs of its settings and of ``others``."""
    closed_form = model.closed_form
    kind = "exact" if isinstance(closed_form.weights, Tensor) else "sparse"
    settings = {**closed_form.settings, "fit": kind}
    dataset = session.train_data._dataset
    graphs: dict[tuple[str, int], ItemGraph] = {}
    for each in (settings, *others):
        k = each["attention_neighbours"]
        if each["attention"] == "graph":
            graphs |= {(name, k): _first(dataset.nearest_items(name, k), k) for name in dataset.modality_names}
    return ClosedFormSource(session.config["model"], settings, graphs=graphs)


def _first(graph: ItemGraph, k: int) -> ItemGraph:
    return ItemGraph(graph.idx[:, :k].clone(), graph.cos[:, :k].clone())


def _attention(session: Session, model: SoftmaxCADMR) -> Attention:
    dataset, members, features = session.train_data._dataset, model.members, model.features
    return Attention(
        mixed=[torch.addmm(each.embedding, features, each.content_map).cpu() for each in members],
        content_maps=[each.content_map.detach().cpu().clone() for each in members],
        projections=model.projections(dataset, dataset.item_num),
        content_scale=model.content_scale,
        temperature=members[0].temperature,
        settings={name: model.smoothing_settings[name] for name in OF_ATTENTION},
        content=model.smoothing.content,
        cooccurrence=model.smoothing.cooccurrence,
    )

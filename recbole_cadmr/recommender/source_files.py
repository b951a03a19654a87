"""What a model is given more by, as plain values and tensors of an export, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.models.content import Projection
from recbole_cadmr.recommender.export_sources import (
    Attention,
    AttentionSource,
    ClosedFormSource,
    FeatureMapSource,
    Graphs,
    ItemWeightsSource,
)
from recbole_cadmr.recommender.sources import Source, Unchanging

_Count = Annotated[int, Meta(ge=1)]
_Finite = Annotated[float, Meta(gt=-1e30, lt=1e30)]


class _Unchanging(msgspec.Struct, tag_field="kind", tag="unchanging"):
    reason: str


class _Fit(msgspec.Struct):
    """What weights were fitted by, and entries that an item keeps."""

    settings: dict[str, Any]
    neighbours: _Count


class ClosedFormValues(_Fit, tag_field="kind", tag="closed form"):
    """Of exports of format version 1, too, which hold no graphs."""


class _ItemWeights(_Fit, tag_field="kind", tag="item weights"):
    pass


class _Attention(_Fit, tag_field="kind", tag="attention"):
    members: Annotated[int, Meta(ge=1, le=1000)]
    smoothing: dict[str, Any]
    content: _Finite
    cooccurrence: _Finite
    content_scale: _Finite
    temperature: Annotated[float, Meta(gt=0)]
    weight: _Finite
    n_candidates: _Count | None


class _FeatureMap(msgspec.Struct, tag_field="kind", tag="feature map"):
    n_trained: Annotated[int, Meta(ge=0)]


SourceValues = _Unchanging | ClosedFormValues | _ItemWeights | _Attention | _FeatureMap


def values_of(source: Source | None, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A source of an export as plain values; its tensors go into ``tensors`` by name."""
    if isinstance(source, AttentionSource):
        return msgspec.to_builtins(_attention_values(source, tensors))
    if isinstance(source, ClosedFormSource):
        _put_graphs(source.graphs, tensors)
        return msgspec.to_builtins(ClosedFormValues(dict(source.settings), source.neighbours or 1))
    if isinstance(source, ItemWeightsSource):
        return msgspec.to_builtins(_ItemWeights(dict(source.settings), source.neighbours or 1))
    if isinstance(source, FeatureMapSource):
        tensors |= {"feature map": source.map.contiguous(), "feature map bias": source.map_bias}
        return msgspec.to_builtins(_FeatureMap(source.n_trained))
    return msgspec.to_builtins(_Unchanging((source or Unchanging()).reason))


def _attention_values(source: AttentionSource, tensors: dict[str, Tensor]) -> _Attention:
    closed_form, attention = source.closed_form, source.attention
    _put_graphs(closed_form.graphs, tensors)
    for number, (mixed, content_map) in enumerate(zip(attention.mixed, attention.content_maps)):
        tensors |= {f"mixed {number}": mixed, f"content map {number}": content_map}
    for name, projection in (attention.projections or {}).items():
        tensors[f"mean {name}"] = projection.mean
        if projection.basis is not None:
            tensors[f"basis {name}"] = projection.basis.contiguous()
    return _Attention(
        settings=dict(closed_form.settings),
        neighbours=closed_form.neighbours or 1,
        members=len(attention.mixed),
        smoothing=dict(attention.settings),
        content=attention.content,
        cooccurrence=attention.cooccurrence,
        content_scale=attention.content_scale,
        temperature=attention.temperature,
        weight=source.weight,
        n_candidates=source.n_candidates,
    )


def _put_graphs(graphs: Graphs, tensors: dict[str, Tensor]) -> None:
    for (name, k), graph in graphs.items():
        tensors |= {f"nearest {k} {name}": graph.idx.int(), f"cosines {k} {name}": graph.cos}


def source_of(values: SourceValues, name: str, tensors: Mapping[str, Tensor], n_items: int) -> Source:
    """A source out of :func:`values_of` of a model called ``name``.

    Raises:
        ValueError, KeyError: if its parts do not fit together.
    """
    if isinstance(values, _Unchanging):
        return Unchanging(values.reason)
    if isinstance(values, _ItemWeights):
        return ItemWeightsSource(name, values.settings, values.neighbours)
    if isinstance(values, _FeatureMap):
        map_, bias = tensors["feature map"], tensors["feature map bias"]
        _expect(map_.ndim == 2 and bias.shape == map_.shape[:1])
        return FeatureMapSource(name, tensors["users"], tensors["items"], map_, bias, values.n_trained)
    closed_form = ClosedFormSource(name, values.settings, values.neighbours, _graphs(tensors, n_items))
    if isinstance(values, ClosedFormValues):
        return closed_form
    return AttentionSource(closed_form, _attention(values, tensors, n_items), values.weight, values.n_candidates)


def _attention(values: _Attention, tensors: Mapping[str, Tensor], n_items: int) -> Attention:
    mixed, maps = ([tensors[f"{what} {n}"] for n in range(values.members)] for what in ("mixed", "content map"))
    width = mixed[0].shape[-1]
    _expect(all(each.ndim == 2 and each.shape == mixed[0].shape and len(each) < n_items for each in mixed))
    _expect(width % 2 == 0 and all(each.ndim == 2 and each.shape[1] == width for each in maps))
    means = {name.removeprefix("mean "): mean for name, mean in tensors.items() if name.startswith("mean ")}
    return Attention(
        mixed=mixed,
        content_maps=maps,
        projections={name: Projection(mean, tensors.get(f"basis {name}")) for name, mean in means.items()} or None,
        content_scale=values.content_scale,
        temperature=values.temperature,
        settings=values.smoothing,
        content=values.content,
        cooccurrence=values.cooccurrence,
    )


def _graphs(tensors: Mapping[str, Tensor], n_items: int) -> dict[tuple[str, int], ItemGraph]:
    graphs = {}
    for place in tensors:
        kind, _, rest = place.partition(" ")
        if kind == "nearest":
            k, _, name = rest.partition(" ")
            idx, cos = tensors[place].long(), tensors[f"cosines {rest}"]
            _expect(idx.ndim == 2 and idx.shape == cos.shape and len(idx) <= n_items and torch.isfinite(cos).all())
            _expect(not idx.numel() or (int(idx.min()) >= 0 and int(idx.max()) < len(idx)))
            graphs[name, int(k)] = ItemGraph(idx, cos)
    return graphs


def _expect(condition: Any) -> None:
    if not condition:
        raise ValueError("its parts do not fit together")

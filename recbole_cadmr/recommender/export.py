"""Exports: a folder that recommends by itself, without checkpoint, data set or RecBole.

It holds text, tensors and parquet, nothing that could be executed, and is read whole into memory, so that what happens
to its files later changes nothing:

- ``manifest.json``: format, version, and size and SHA-256 of every other file;
- ``card.json``: model, data set, fingerprint, versions, what was measured, whose the data are;
- ``settings.json``: of the model;
- ``users.parquet``, ``items.parquet``: ids, and what the data set says of the items in words;
- ``histories.parquet``: who has what, in which part of the data, in which order if the model is fitted by that;
- ``neighbours.parquet``: ``item, neighbour, weight``, of a model that weighs items by items;
- ``engine.safetensors``: all other tensors of the model, and of what it takes new items by;
- ``content.safetensors``: features of the items.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.torch
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, json_text
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.export_sources import AttentionSource
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.pruning import TOP, agreement, pruned
from recbole_cadmr.recommender.source_files import values_of
from recbole_cadmr.recommender.vectors_engine import VectorsEngine
from recbole_cadmr.recommender.weights_engine import WeightsEngine

FORMAT, FORMAT_VERSION = "recbole_cadmr export", 2
MANIFEST, CARD, SETTINGS = "manifest.json", "card.json", "settings.json"
USERS, ITEMS, HISTORIES = "users.parquet", "items.parquet", "histories.parquet"
NEIGHBOURS, ENGINE, CONTENT = "neighbours.parquet", "engine.safetensors", "content.safetensors"
ADDED, NOT_FITTED = "added", "added, not fitted to"  # parts of the histories
NEIGHBOURS_OF_AN_ITEM = 200
_WHOLE = 2**23  # bytes of all features up to which they are kept as they are
_HALF = 1e-3  # of the largest number of a row, what half precision may change
_OWN = (
    "settings",
    "version",
    "measured",
    "engine",
    "licence",
    "encoders",
    "source",
    "closed_form",
)  # what a card does not take from another one
LICENCE_NOTE = (
    "The model was computed from the data set named here. Ids, texts, features and interactions in this folder are "
    "taken from it: whoever may not hand on the data set may not hand on this folder."
)


def write_export(
    parts: Parts, folder: str | os.PathLike[str], neighbours: int = NEIGHBOURS_OF_AN_ITEM
) -> dict[str, Any]:
    """Write what a recommender is made of into a new folder, whole or not at all.

    Args:
        neighbours: entries that an item keeps of weights of items by items, on average; see :func:`prune`.

    Returns:
        The card, with what was measured.

    Raises:
        UserError: if the model cannot be exported, or ``folder`` is in use.
    """
    if isinstance(neighbours, (bool, np.bool_)) or not isinstance(neighbours, (int, np.integer)) or neighbours < 1:
        raise UserError(f"neighbours must be a whole number from 1 on, not {neighbours!r}")
    place = Path(folder)
    with folder_aside(place) as aside:
        engine = _of_vectors(parts.engine)
        small = pruned(engine, int(neighbours), parts.histories)
        tensors: dict[str, Tensor] = {}
        source = None if parts.source is None else parts.source.exported(int(neighbours))
        of_source = values_of(source, tensors)
        described = _describe(small, tensors, isinstance(source, AttentionSource))
        _write_tables(parts, aside)
        if (weights := _weights_of(small)) is not None:
            _write_neighbours(weights, parts.catalogue, aside / NEIGHBOURS)
        if tensors:
            (aside / ENGINE).write_bytes(safetensors.torch.save(tensors))
        card = {
            **{name: value for name, value in parts.card.items() if name not in _OWN},
            "engine": described | ({"recency": parts.histories.recency} if parts.histories.recency else {}),
            "measured": _measured(engine, small, parts.histories, int(neighbours)),
            "licence": LICENCE_NOTE,
            "encoders": {name: msgspec.to_builtins(e.named()) for name, e in parts.catalogue.encoders.items()},
            "source": of_source,
        }
        (aside / CARD).write_text(json_text(card, indent=1) + "\n", encoding="utf-8")
        # Where the data set lay is nobody's business elsewhere.
        settings = {name: value for name, value in parts.card["settings"].items() if name != "data_path"}
        (aside / SETTINGS).write_text(json_text(settings, indent=1) + "\n", encoding="utf-8")
        files = {path.name: _identity(path.read_bytes()) for path in sorted(aside.iterdir())}
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "files": files}
        (aside / MANIFEST).write_text(json_text(manifest, indent=1) + "\n", encoding="utf-8")
    return card


def _of_vectors(engine: Engine) -> Engine:
    """The engine without a model behind it."""
    if isinstance(engine, (WeightsEngine, AttentionEngine, VectorsEngine)):
        return engine
    from recbole_cadmr.recommender.inner_products import vectors_of
    from recbole_cadmr.recommender.model_engine import ModelEngine

    if engine.sequential:
        raise UserError(
            f"{engine.name} cannot be exported: it is a model of sequences, whose scores come from the order of what a "
            f"person has chosen and from the whole network; recommend from its checkpoint"
        )
    found = vectors_of(engine) if isinstance(engine, ModelEngine) else None
    if found is None:
        raise UserError(
            f"{engine.name} cannot be exported: neither weights of items by items, nor vectors whose inner products "
            f"are its scores, can be read out of it; recommend from its checkpoint"
        )
    return found


def _weights_of(engine: Engine) -> sp.csr_matrix | None:
    """The pruned weights of items by items, if the engine has any."""
    if isinstance(engine, AttentionEngine):
        return engine.closed_form.weights
    return engine.weights if isinstance(engine, WeightsEngine) else None


def _describe(engine: Engine, tensors: dict[str, Tensor], of_source: bool = False) -> dict[str, Any]:
    """What an engine is, in plain values; its tensors go into ``tensors`` by name.

    Args:
        of_source: whether queries and keys of an attention follow from what is written of its source.
    """
    if isinstance(engine, VectorsEngine):
        tensors |= {"users": engine.vectors_of_users, "items": engine.vectors_of_items}
        if engine.item_bias is not None:
            tensors["item_bias"] = engine.item_bias
        return {"kind": "vectors"}
    if isinstance(engine, AttentionEngine):
        for number, (query, key) in enumerate([] if of_source else engine.attention.members):
            tensors |= {f"query {number}": query.contiguous(), f"key {number}": key.contiguous()}
        own = {"weight": engine.weight, "n_candidates": engine.n_candidates, "members": len(engine.attention.members)}
        return {**_describe(engine.closed_form, tensors), **own, "kind": "attention"}
    assert isinstance(engine, WeightsEngine)
    terms = []
    for number, ((path, modality), values) in enumerate(engine.paths.terms.items() if engine.paths else ()):
        # In half the room: what a term lacks by that is counted for the autoencoder, so that the sum stays exact.
        scale = float(np.abs(values).max(initial=1e-30))
        half = (values / scale).astype(np.float16)
        if 3 * np.count_nonzero(half) < len(half):  # a place takes twice as much as a number
            places = np.flatnonzero(half)
            half, tensors[f"places of term {number}"] = half[places], torch.from_numpy(places.astype(np.int32))
        tensors[f"term {number}"] = torch.from_numpy(half)
        terms.append({"path": path, "modality": modality, "scale": scale})
    described: dict[str, Any] = {"kind": "weights", "modality_weights": dict(engine.modality_weights)}
    if engine.n_scored < engine.n_items:
        described["n_scored"] = engine.n_scored
    return {**described, "terms": terms} if engine.paths is not None else described


def _measured(whole: Engine, small: Engine, histories: Histories, neighbours: int) -> dict[str, Any]:
    """What pruning costs, on the validation part where there is one."""
    if isinstance(whole, VectorsEngine):
        return {}
    found = agreement(whole, small, histories)
    measured: dict[str, Any] = {
        "neighbours": neighbours,
        "users": found.users,
        f"shared of the best {TOP}": found.overlap,
    }
    if found.recall is not None:
        measured |= {
            f"recall@{TOP} on validation": found.recall,
            f"recall@{TOP} on validation, as exported": found.recall_of_pruned,
        }
    return measured


def _write_tables(parts: Parts, folder: Path) -> None:
    catalogue, histories = parts.catalogue, parts.histories
    write = pa.parquet.write_table
    write(pa.table({"user_id": pa.array(catalogue.user_ids[1:], pa.string())}), folder / USERS)
    texts = {"item_id": pa.array(catalogue.item_ids[1:], pa.string())}
    texts |= {f"text:{name}": pa.array(column, pa.string()) for name, column in catalogue.table.items()}
    write(pa.table(texts), folder / ITEMS)
    rows = []
    for part, matrix in {**histories.parts, **_added(histories)}.items():
        in_order = histories.order if part == "train" else None
        entries = (matrix if in_order is None else in_order).tocoo()
        user, item = (pa.array(numbers.astype(np.int32)) for numbers in (entries.row - 1, entries.col - 1))
        columns = {
            "user_id": _by_number(user, catalogue.user_ids),
            "item_id": _by_number(item, catalogue.item_ids),
            "part": pa.array([part] * matrix.nnz, pa.string()).dictionary_encode(),
        }
        if histories.order is not None:
            columns["order"] = pa.array(np.zeros(matrix.nnz, np.float32) if in_order is None else entries.data)
        rows.append(pa.table(columns))
    write(pa.concat_tables(rows).unify_dictionaries(), folder / HISTORIES, compression="zstd")
    tensors: dict[str, Tensor] = {}
    is_large = sum(modality.features.nbytes for modality in catalogue.modalities.values()) > _WHOLE
    for name, modality in catalogue.modalities.items():
        features = _small(modality.features) if is_large else modality.features.contiguous()
        tensors |= {f"features {name}": features, f"present {name}": modality.present.clone()}
    if tensors:
        (folder / CONTENT).write_bytes(safetensors.torch.save(tensors))


def _added(histories: Histories) -> dict[str, sp.csr_matrix]:
    """What came after training by the name of the part: what the model was fitted to, and what not."""
    rest = histories.added - histories.fitted
    rest.eliminate_zeros()
    return {ADDED: histories.fitted, NOT_FITTED: rest}


def _small(features: Tensor) -> Tensor:
    """Features [n, width] in half precision, unless that has too few numbers for them."""
    half = features.half()
    lost = (half.float() - features).abs_().amax(1)  # infinite where they are too large
    return half if bool((lost <= _HALF * features.abs().amax(1)).all()) else features.contiguous()


def _by_number(places: pa.Array, ids: np.ndarray) -> pa.DictionaryArray:
    """Ids by their number, less 1 for the padding."""
    return pa.DictionaryArray.from_arrays(places, pa.array(ids[1:], pa.string()))


def _write_neighbours(weights: sp.csr_matrix, catalogue: Catalogue, path: Path) -> None:
    entries = weights.tocoo()
    item, neighbour = (pa.array(numbers.astype(np.int32)) for numbers in (entries.row, entries.col))
    columns = {
        "item": _by_number(item, catalogue.item_ids),
        "neighbour": _by_number(neighbour, catalogue.item_ids),
        "weight": pa.array(entries.data.astype(np.float32)),
    }
    pa.parquet.write_table(pa.table(columns), path, compression="zstd", use_dictionary=["item", "neighbour"])


def _identity(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

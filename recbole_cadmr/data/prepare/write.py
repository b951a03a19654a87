"""The files of a data set: interactions by part, titles, features, graphs, settings, card and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.data.encoders import write_encoders
from recbole_cadmr.data.graph import nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.prepare.card import card_text
from recbole_cadmr.data.prepare.content import Features, Prepared
from recbole_cadmr.data.prepare.page import write_page
from recbole_cadmr.files import folder_aside, write_rows
from recbole_cadmr.screen import note

_BLOCK = 4096  # rows copied at once
_LINES = 2**17  # lines made at once
_OPTIONAL = ("rating", "timestamp", "order")
_IN_ORDER = {
    "TIME_FIELD": "order",
    "load_col": {"inter": ["user_id", "item_id", "order"]},
}  # settings, of a set with it


def deliver(prepared: Prepared, target: Path, work: Path, told: Sequence[str] = ()) -> Path:
    """Write a data set as the folder ``target``, whole or not at all, and say what was skipped.

    Args:
        work: a folder of its own beside the target.
        told: names of the steps that are said, too.
    """
    with folder_aside(target, within=work) as folder:
        write_data_set(folder, prepared)
    for line in [*(f"{step}: {prepared.steps[step]}" for step in told if step in prepared.steps), *prepared.notes]:
        note(line)
    return target


def write_data_set(folder: Path, prepared: Prepared) -> None:
    """Write a data set into the existing ``folder``; the same input and steps give the same bytes."""
    name = prepared.name
    for part, rows in prepared.parts.items():
        kept = [column for column in _OPTIONAL if column in rows]
        columns = ["user_id:token", "item_id:token", *(f"{column}:float" for column in kept)]
        write_atomic(folder / f"{name}.{part}.inter", columns, _lines(rows[["user_id", "item_id", *kept]]))
    known = {"domain:token": prepared.domains, "title:token_seq": prepared.titles}
    known = {column: values for column, values in known.items() if values}
    known |= {f"{column}:token": values for column, values in prepared.kept.items()}
    if known or prepared.new_items:
        items = sorted(set().union(*known.values(), prepared.new_items))
        about = ("\t".join([item, *(values.get(item, "") for values in known.values())]) for item in items)
        write_atomic(folder / f"{name}.item", ["item_id:token", *known], about)
    for features in prepared.features:
        write_features(folder / f"{name}.{features.name}", features)
    settings = {
        "benchmark_filename": list(prepared.parts),
        "mask_valid_at_test": False,
        "modalities": [features.name for features in prepared.features if features.rows],
        "item_graphs": [features.name for features in prepared.features if features.graph],
        **({"new_items": True} if prepared.new_items else {}),
        **(_IN_ORDER if any("order" in rows for rows in prepared.parts.values()) else {}),
        **prepared.settings,
    }
    write_encoders(folder, {features.name: features.encoder for features in prepared.features if features.encoder})
    head = "# How this data set is meant to be read; applied over the package's settings and under config files.\n"
    text = head + yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8", newline="\n")
    (folder / "dataset_card.md").write_text(card_text(prepared), encoding="utf-8", newline="\n")
    write_page(folder, name, prepared.pictures)


def with_graph(features: Features, k: int) -> Features:
    """The same with the graph of the ``k`` nearest items by cosine."""
    if not features.rows or k < 1 or len(features.items) < 2:
        return features
    rows = map_rows(features.rows)
    vectors = torch.from_numpy(np.array(rows if features.at is None else rows[features.at], dtype=np.float32))
    graph = nearest_items(Modality(features.name, vectors, torch.ones(len(vectors), dtype=torch.bool)), k)
    return replace(features, graph=(graph.idx.numpy(), graph.cos.numpy()))


def write_features(path: Path, features: Features, item_field: str = "item_id") -> None:
    """Write the files of a modality: ``path`` with its items, and beside it vectors and graph."""
    write_atomic(path, [f"{item_field}:token"], features.items)
    if features.rows:
        rows = map_rows(features.rows)
        at = np.arange(len(rows)) if features.at is None else features.at
        blocks = (rows[at[start : start + _BLOCK]] for start in range(0, len(at), _BLOCK))
        write_rows(path.with_name(f"{path.name}.npy"), rows.dtype.str, (len(at), rows.shape[1]), blocks)
    if features.graph:
        idx, cos = features.graph
        np.savez(path.with_name(f"{path.name}.knn.npz"), idx=idx.astype(np.int32), cos=cos.astype(np.float32))


def _lines(rows: pd.DataFrame) -> Iterator[str]:
    """The lines of some rows after the other, joined by line ends."""
    for start in range(0, len(rows), _LINES):
        user, item, *values = (column for _, column in rows.iloc[start : start + _LINES].items())
        yield "\n".join(map("\t".join, zip(user, item, *map(_numerals, values))))


def _numerals(values: pd.Series) -> pd.Series:
    """Numbers as text, whole ones without a fraction; text as it is."""
    if values.dtype.kind not in "iuf":
        return values.map(lambda value: f"{value:f}" if isinstance(value, Decimal) else str(value))
    return values.map(lambda value: str(int(value)) if float(value).is_integer() else repr(float(value)))

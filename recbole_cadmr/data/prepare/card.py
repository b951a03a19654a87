"""The card of a data set: what it holds, what made it, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.prepare.content import Features
from recbole_cadmr.files import sha256_of


@dataclass(frozen=True)
class Provenance:
    """Where a data set comes from, and what was done to it.

    Attributes:
        title: what the raw data are, one sentence.
        licence: what is known about their licence, one sentence.
        sources: the files they were read from.
        steps: what was done, by name, such as ``k-core``: ``5``.
        notes: what was skipped, a line each.
    """

    title: str
    licence: str
    sources: Sequence[Path]
    steps: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def card_text(
    name: str, parts: Mapping[str, pd.DataFrame], features: Sequence[Features], provenance: Provenance
) -> str:
    """``dataset_card.md`` of a data set with ``parts`` train, valid and test."""
    everything = pd.concat(parts.values())
    users, items = everything["user_id"].nunique(), everything["item_id"].nunique()
    counts = " / ".join(f"{len(rows):,}" for rows in parts.values())
    facts = {
        "users": f"{users:,}",
        "items": f"{items:,}",
        "interactions": f"{len(everything):,}",
        "train / validation / test interactions": counts,
        "density": f"{len(everything) / users / items:.4%}",
        "users in no train interaction": str(users - parts["train"]["user_id"].nunique()),
        "items in no train interaction": str(items - parts["train"]["item_id"].nunique()),
        **provenance.steps,
    }
    lines = [f"# Data set `{name}`\n", provenance.title, f"{provenance.licence}\n", "| | |\n|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    if features:
        lines.append("\n| modality | items that have it | vectors | nearest items | made by |\n|---|---|---|---|---|")
        lines += [_modality_row(modality, set(everything["item_id"])) for modality in features]
    if provenance.notes:
        lines += ["\n## Skipped\n", *(f"- {note}" for note in provenance.notes)]
    lines += ["\n## Sources\n", "| file | bytes | SHA-256 |\n|---|---|---|"]
    lines += [f"| `{path.name}` | {path.stat().st_size:,} | `{sha256_of(path)}` |" for path in provenance.sources]
    return "\n".join(lines) + "\n"


def _modality_row(features: Features, items: set[str]) -> str:
    covered = len(items.intersection(features.items))
    vectors = "none"
    if features.rows:
        rows = map_rows(features.rows)
        vectors = f"{rows.shape[1]}-D {rows.dtype}"
    graph = f"{features.graph[0].shape[1]}" if features.graph else "none"
    return f"| {features.name} | {covered:,} ({covered / len(items):.1%}) | {vectors} | {graph} | {features.made_by} |"

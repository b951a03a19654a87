"""The card of a data set: what it holds, what made it, and what it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.prepare.content import Features, Prepared, Source
from recbole_cadmr.data.text_columns import stacked
from recbole_cadmr.files import sha256_of

# Heads of tables.
SOURCES = "| file | bytes | SHA-256 |\n|---|---|---|"
MODALITIES = "| modality | items that have it | vectors | nearest items | made by |\n|---|---|---|---|---|"
_FACTS = "| | |\n|---|---|"
_SKIPPED = "## Skipped"


def card_text(prepared: Prepared) -> str:
    """``dataset_card.md`` of a data set."""
    parts, features = prepared.parts, prepared.features
    everything = stacked([*parts.values()])
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
        **prepared.steps,
    }
    lines = [f"# Data set `{prepared.name}`\n", prepared.origin, f"{prepared.licence}\n", _FACTS]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    if features:
        lines.append("\n" + MODALITIES)
        lines += [modality_row(modality, set(everything["item_id"].unique())) for modality in features]
    if prepared.notes:
        lines += [f"\n{_SKIPPED}\n", *(f"- {note}" for note in prepared.notes)]
    lines += ["\n## Sources\n", SOURCES, *map(source_row, prepared.sources)]
    return "\n".join(lines) + "\n"


def facts_of(card: str) -> dict[str, str]:
    """What a card says in its first table."""
    _, _, table = card.partition(f"{_FACTS}\n")
    rows = (line.strip("| ").partition(" | ") for line in table.partition("\n\n")[0].splitlines())
    return {name: value for name, _, value in rows}


def left_out(card: str) -> Iterator[tuple[str, str, str]]:
    """What was left out by a card: of what, how many ("" of what has no number), and examples.

    What a modality that was added later lacks is said with its name.
    """
    of = None
    for line in card.splitlines():
        if line.startswith("## "):
            modality = re.match("## Modality `(.+)`, added", line)
            of = f"{modality[1]}: " if modality else "" if line == _SKIPPED else None
        elif of is not None and line.startswith("- "):
            what, n, _, examples = re.fullmatch(r"(.*?)(?:: ([\d,]+)( \((.*)\))?)?", line[2:]).groups("")  # type: ignore[union-attr]
            yield of + what, n, examples


def source_row(source: Source) -> str:
    """The line of a source in the table of sources."""
    if isinstance(source, Path):
        return f"| `{source.name}` | {source.stat().st_size:,} | `{sha256_of(source)}` |"
    query = " ".join(source.query.split()).replace("|", "\\|").replace("`", "'")
    return f"| {source.name}: `{query}` | {source.size:,} of its rows as text | `{source.sha256}` |"


def modality_row(features: Features, items: set[str]) -> str:
    """The line of a modality in the table of modalities: of these items so many have it."""
    covered = len(items.intersection(features.items))
    vectors = "none"
    if features.rows:
        rows = map_rows(features.rows)
        vectors = f"{rows.shape[1]}-D {rows.dtype}"
    graph = f"{features.graph[0].shape[1]}" if features.graph else "none"
    return f"| {features.name} | {covered:,} ({covered / len(items):.1%}) | {vectors} | {graph} | {features.made_by} |"

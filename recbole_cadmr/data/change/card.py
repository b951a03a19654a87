"""The card of a data set after a change: what it says of a modality."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_cadmr.data.prepare.card import MODALITIES, SOURCES

_HEAD = MODALITIES.splitlines()


def with_modality(text: str, modality: str, row: str, notes: Sequence[str], sources: Sequence[str]) -> str:
    """The card with a modality that was added or replaced afterwards.

    Args:
        row: its line in the table of modalities.
        notes: what was left out, a line each.
        sources: lines of a table of sources.
    """
    lines = _with_row(_without_section(text, modality), modality, row)
    section = [f"\n## Modality `{modality}`, added to the finished data set"]
    section += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join([*lines, *section, "", *SOURCES.splitlines(), *sources]) + "\n"


def without_modality(text: str, modality: str) -> str:
    """The card without a modality that was removed."""
    lines = _with_row(_without_section(text, modality), modality, None)
    return "\n".join([*lines, f"\n## Modality `{modality}`, removed from the finished data set"]) + "\n"


def _without_section(text: str, modality: str) -> list[str]:
    """The lines of a card but for what a change before said of the modality."""
    lines, kept, is_other = text.splitlines(), [], True
    for line in lines:
        if line.startswith("## "):
            is_other = not line.startswith(f"## Modality `{modality}`,")
        if is_other:
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _with_row(lines: list[str], modality: str, row: str | None) -> list[str]:
    """The lines with another line of the modality in the table of modalities; None for none."""
    rows = [] if row is None else [row]
    if _HEAD[0] not in lines:
        at = next((index for index, line in enumerate(lines) if line.startswith("## ")), len(lines)) if rows else 0
        return [*lines[:at], *([*_HEAD, *rows, ""] if rows else []), *lines[at:]]
    start = lines.index(_HEAD[0]) + len(_HEAD)
    end = next((index for index in range(start, len(lines)) if not lines[index].startswith("|")), len(lines))
    table = lines[start:end]
    place = next((index for index, line in enumerate(table) if line.startswith(f"| {modality} |")), len(table))
    table[place : place + 1] = rows
    head = lines[: start - len(_HEAD)]
    return [*head, *([*_HEAD, *table] if table else []), *lines[end:]]

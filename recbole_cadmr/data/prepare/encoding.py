"""Texts, pictures or sounds of items to a modality, by the extractor that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.prepare.content import Features
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.extract.registry import NETWORKS, Kind, extract

# What they are called in notes.
NOUNS = {"image": "pictures", "audio": "sounds"}


def encoded(
    name: str,
    kind: Kind,
    inputs: Sequence[Any],
    items: Sequence[str],
    work: Path,
    model: str,
    how: Mapping[str, Any],
    skipped: SkippedRows,
    steps: dict[str, str],
    columns: Sequence[str] = (),
) -> Features:
    """Vectors of ``inputs``, one for each of ``items``: a text, or a file or None.

    Args:
        name: of the modality.
        work: holds the folder of the vectors.
        how: as of :func:`extract`.
        steps: gets how many are new.
        columns: what the inputs are called in the source.

    Raises:
        UserError: as of :func:`extract`.
    """
    vectors = extract(kind, inputs, work / name, model, **how)
    for index in vectors.damaged:
        skipped.note(f"damaged {NOUNS[kind]}", str(inputs[index]))
    skipped.note(f"items whose {name} vector is zeros, so that they lack {name}", n=vectors.zeros)
    at = np.flatnonzero(vectors.present)
    steps[f"{name} vectors"] = f"{len(at) - vectors.kept:,} encoded, {vectors.kept:,} kept from before"
    made_by = ", ".join(f"{key} {value}" for key, value in vectors.card.items())
    encoder = _encoder(kind, model, how.get("weights"), vectors.card, how["dtype"], columns)
    return Features(name, [items[row] for row in at], vectors.features, at, made_by=made_by, encoder=encoder)


def _encoder(
    kind: Kind, model: str, weights: Path | None, card: dict[str, str], dtype: Any, columns: Sequence[str]
) -> Encoder:
    """What made the vectors; where it lies on this machine is noted beside."""
    from recbole_cadmr.extract import places

    folder = Path(model) if model not in NETWORKS and Path(model).is_dir() else None
    place = folder or weights
    if place is not None:
        places.note(kind, card, place)
    name = folder.absolute().name if folder else model
    return Encoder(kind, name, card, "" if place is None else place.absolute().name, dtype, tuple(columns))

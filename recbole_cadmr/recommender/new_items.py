"""A recommender with products that came after training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.arrays import as_type
from recbole_cadmr.data.prepare.interactions import is_usable
from recbole_cadmr.data.prepare.texts import as_it_stands
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.new_item_vectors import checked_text, with_encoded
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.sources import TOO_LITTLE

_LARGEST = 1e15  # of a number of a vector: sums of squares of larger ones leave float32


def with_items(
    parts: Parts,
    ids: list[str],
    columns: Mapping[str, Iterable[Any] | None],
    vectors: Mapping[str, Any] | Any = None,
    encoders: Mapping[str, str | None] | None = None,
    cache: VectorCache | None = None,
) -> Parts:
    """What a recommender is made of, with further items; see ``Recommender.add_items``.

    Args:
        columns: ``texts``, ``pictures``, ``sounds`` and ``titles``.
        encoders: as of :func:`with_encoded`.
    """
    if parts.source is None or not parts.source.takes_new_items:
        reason = TOO_LITTLE if parts.source is None else parts.source.reason
        raise UserError(f"{parts.engine.name} takes no new items: {reason}")
    catalogue = parts.catalogue
    _check_ids(catalogue, ids)
    in_order = {name: _in_order(values, len(ids), name) for name, values in columns.items()}
    features = _given_vectors(catalogue, vectors, ids)
    features = with_encoded(catalogue, ids, in_order, features, encoders or {}, cache)
    _check_content(catalogue, features, ids)
    names = [as_it_stands(checked_text(title, "titles")) for title in in_order["titles"]]
    larger = catalogue.with_items(ids, names, features)
    histories = parts.histories.with_added(sp.csr_matrix((larger.n_users, larger.n_items), dtype=np.float32))
    engine = parts.source.engine(larger, histories)
    return replace(parts, catalogue=larger, histories=histories, engine=engine)


def _check_ids(catalogue: Catalogue, ids: list[str]) -> None:
    if not ids:
        raise UserError("no item is given")
    unusable = [item for item in ids if not is_usable(item)]
    if unusable:
        raise UserError(f"an item cannot be called {unusable[0]!r:.100}; an id is one line without tabs, not '[PAD]'")
    if len(set(ids)) < len(ids):
        repeated = next(item for item, n in Counter(ids).items() if n > 1)
        raise UserError(f"the item '{repeated:.100}' is given more than once")
    known = [item for item in ids if item in catalogue.item_numbers]
    if known:
        raise UserError(
            f"{len(known)} of the {len(ids)} items are in the catalogue already, the first is '{known[0]:.100}'"
        )


def _in_order(values: Any, n: int, name: str) -> list[Any]:
    """One value for each item; None where there is none."""
    if values is None:
        return [None] * n
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise UserError(f"`{name}` must be a list, one for each of `ids`, not {type(values).__name__}")
    found = list(values)
    if len(found) != n:
        raise UserError(f"`{name}` has {len(found)} entries for {n} items")
    return found


def _given_vectors(catalogue: Catalogue, vectors: Any, ids: list[str]) -> dict[str, Tensor]:
    """Ready-made features by modality, checked."""
    modalities = catalogue.modalities
    if vectors is None:
        return {}
    if not isinstance(vectors, Mapping):
        if len(modalities) != 1:
            raise UserError(f"`vectors` must say of which modality they are: {{{', '.join(modalities)}: array}}")
        vectors = dict.fromkeys(modalities, vectors)
    features = {}
    for name, rows in vectors.items():
        if name not in modalities:
            raise UserError(f"the model reads no modality {name!r:.60}; it reads {', '.join(modalities)}")
        try:
            array = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"the {name} vectors must be numbers, a row of them for each item") from error
        wanted = len(ids), modalities[name].width
        if array.shape != wanted:
            shape = " x ".join(map(str, array.shape)) or "one number"
            raise UserError(f"the {name} vectors must be {wanted[0]} x {wanted[1]} numbers, not {shape}")
        array, bad = as_type(array, np.float32)
        if bad is not None:
            raise UserError(f"the {name} vector of '{ids[bad]:.100}' holds NaN or infinite numbers (as float32)")
        if len(large := np.flatnonzero((np.abs(array) > _LARGEST).any(1))):
            raise UserError(
                f"the {name} vector of '{ids[int(large[0])]:.100}' holds numbers beyond {_LARGEST:g}, whose squares "
                f"are too large to be added up; give vectors of the scale of the data set's"
            )
        features[name] = torch.from_numpy(array)
    return features


def _check_content(catalogue: Catalogue, features: Mapping[str, Tensor], ids: list[str]) -> None:
    """Refuse items about whose content nothing is known."""
    present = torch.zeros(len(ids), dtype=torch.bool)
    for rows in features.values():
        present |= rows.any(1)
    if not present.all():
        item, reads = ids[int(present.int().argmin())], ", ".join(catalogue.modalities)
        raise UserError(f"nothing is known about the content of '{item:.100}': give it what the model reads, {reads}")

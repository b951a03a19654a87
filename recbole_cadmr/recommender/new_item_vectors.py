"""Texts, pictures and sounds of products that came after training to vectors, by what made those of the data set."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.prepare.texts import one_line
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract import places
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.recommender.catalogue import Catalogue

ARGUMENTS = {"text": "texts", "image": "pictures", "audio": "sounds"}  # of ``Recommender.add_items``, by kind
_PLACE = {"text": "text_model", "image": "weights", "audio": "audio_model"}  # the argument that says where it lies
_LONGEST = 100_000  # characters of a text that are read, far more than text models do
_FEW = 64  # texts that are encoded one by one
_log = logging.getLogger("recbole_cadmr")


def with_encoded(
    catalogue: Catalogue,
    ids: list[str],
    columns: Mapping[str, Sequence[Any]],
    features: Mapping[str, Tensor],
    encoders: Mapping[str, str | None],
    cache: VectorCache | None = None,
) -> dict[str, Tensor]:
    """Ready-made ``features`` by modality, and those of texts, pictures and sounds of the items without them.

    Args:
        columns: by argument (:data:`ARGUMENTS`), a value of each item, None for none.
        encoders: where the text model (``text``), the image model or its weights (``image``) and the audio model
            (``audio``) lie, if no longer where they were.

    Raises:
        UserError: if something cannot be read or is given twice, or what made the data set's vectors is not there.
    """
    whole = dict(features)
    for kind, argument in ARGUMENTS.items():
        if any(value is not None for value in columns[argument]):
            encode, found = _encoded_texts if kind == "text" else _encoded_files, {}
            those = _to_encode(catalogue, kind, argument, columns[argument], features, ids)
            for name, values in those.items():
                encoder = catalogue.encoders[name]
                place = _place(encoder, encoders.get(kind), is_only=len(those) == 1)
                found[name] = encode(values, encoder, place, ids, cache)
                if name in whole:  # of which no item has both
                    found[name] += whole[name]
            whole |= found
    return whole


def checked_text(value: Any, name: str) -> str:
    """A text; "" for None."""
    if value is not None and not isinstance(value, str):
        raise UserError(f"`{name}` must hold texts, not {value!r:.100}")
    return value or ""


def _to_encode(
    catalogue: Catalogue,
    kind: str,
    argument: str,
    values: Sequence[Any],
    features: Mapping[str, Tensor],
    ids: Sequence[str],
) -> dict[str, list[Any]]:
    """What is encoded of texts, pictures or sounds, by modality: of the items without a vector of it, else None."""
    known = [name for name, e in catalogue.encoders.items() if e.kind == kind and name in catalogue.modalities]
    if not known:
        vectors = ", ".join(catalogue.modalities) or "nothing"
        raise UserError(
            f"{argument} cannot be encoded: the data set does not say what made vectors of them; give vectors of "
            f"what the model reads, {vectors}"
        )
    vector_of = {name: features[name].any(1).tolist() if name in features else [False] * len(ids) for name in known}
    for item, value, *has_vector in zip(ids, values, *vector_of.values()):
        if value is not None and not (isinstance(value, str) and not value) and all(has_vector):
            what = " and ".join(known)
            raise UserError(f"{argument} and vectors both give the modality {what} of '{item:.100}'; give one of them")
    those = {name: [None if has else value for value, has in zip(values, vector_of[name])] for name in known}
    return {name: rest for name, rest in those.items() if any(value is not None for value in rest)}


def _place(encoder: Encoder, given: str | None, is_only: bool) -> Path | None:
    """Where an encoder lies on this machine; None for one that its library knows by name.

    Args:
        given: what the user says; of several encoders it is that of the one whose place is not known.

    Raises:
        UserError: if nobody says.
    """
    former = encoder.former_place
    place = former if former is not None and former.exists() else places.noted(encoder.kind, encoder.card)
    if given is not None and (is_only or (encoder.is_local and place is None)):
        return Path(given)
    if not encoder.is_local:
        return None
    if place is None:
        name = Path(encoder.weights or encoder.model).name
        made_by = ", ".join(f"{what} {value}" for what, value in encoder.card.items())
        raise UserError(
            f"the vectors of the data set were made by '{name}' ({made_by}), which is not known on this machine; say "
            f"by `{_PLACE[encoder.kind]}` where it lies"
        )
    return place


def _encoded_texts(
    values: Sequence[Any], encoder: Encoder, place: Path | None, ids: list[str], cache: VectorCache | None
) -> Tensor:
    from recbole_cadmr.extract.text import BATCH, extract_text

    texts = [one_line(checked_text(value, "texts")) for value in values]
    if n_long := sum(len(text) > _LONGEST for text in texts):
        _log.warning(f"of {n_long:,} texts with more than {_LONGEST:,} characters only these are read")
    with tempfile.TemporaryDirectory() as folder:
        # Batches are filled up to their size; of few texts that would be most of the work.
        size = 1 if len(texts) < _FEW else BATCH
        how: dict[str, Any] = {"dtype": encoder.dtype, "batch_size": size, "cache": cache, "usual_will_do": True}
        read = [text[:_LONGEST] for text in texts]
        found = extract_text(read, Path(folder), model=encoder.model if place is None else str(place), **how)
        return _checked(found, encoder, _PLACE["text"])


def _encoded_files(
    values: Sequence[Any], encoder: Encoder, place: Path | None, ids: list[str], cache: VectorCache | None
) -> Tensor:
    """Vectors of pictures or of sounds."""
    from recbole_cadmr.extract.registry import extract, extractor_of

    argument = ARGUMENTS[encoder.kind]
    noun = argument.removesuffix("s")
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path | None] = []
        for number, (value, item) in enumerate(zip(values, ids)):
            if isinstance(value, (bytes, bytearray)):
                path = Path(folder) / f"{number}.{noun}"
                path.write_bytes(value)
                paths.append(path)
            elif value is None or isinstance(value, (str, os.PathLike)):
                paths.append(None if value is None else Path(value))
                if value is not None and not Path(value).is_file():
                    raise UserError(f"there is no {noun} {str(value)!r:.200} of '{item:.100}'")
            else:
                raise UserError(f"`{argument}` must hold names of files or their bytes, not {type(value).__name__}")
        is_by_name = extractor_of(encoder.kind, encoder.model) == "torchvision"
        model = encoder.model if is_by_name or place is None else str(place)
        how: dict[str, Any] = {"dtype": encoder.dtype, "cache": cache, "weights": place}
        found = extract(encoder.kind, paths, Path(folder) / "work", model, **how)
        if found.damaged:
            raise UserError(f"the {noun} of '{ids[found.damaged[0]]:.100}' cannot be read as a {noun}")
        return _checked(found, encoder, _PLACE[encoder.kind])


def _checked(found: Any, encoder: Encoder, argument: str) -> Tensor:
    if places.identity(encoder.kind, found.card) != places.identity(encoder.kind, encoder.card):
        raise UserError(
            f"the {encoder.kind} model {encoder.named().model} is not the one that made the data set: its weights are "
            f"others; name the right one by `{argument}`"
        )
    return torch.from_numpy(np.load(found.features, allow_pickle=False).astype(np.float32))

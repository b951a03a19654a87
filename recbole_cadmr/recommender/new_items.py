"""Products that came after training: their content to features, and a recommender that knows them."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.prepare.interactions import is_usable
from recbole_cadmr.data.prepare.pictures import find_pictures, need_folder
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.tables import read_rows
from recbole_cadmr.data.prepare.texts import as_it_stands, one_line
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract import places
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.sources import TOO_LITTLE

_LONGEST = 100_000  # characters of a text that are read, far more than text models do
_log = logging.getLogger("recbole_cadmr")
_LARGEST = 1e15  # of a number of a vector: sums of squares of larger ones leave float32
_FEW = 64  # texts that are encoded one by one
_ARGUMENT = {"text": "texts", "image": "pictures", "audio": "sounds"}
_PLACE = {"text": "text_model", "image": "weights", "audio": "audio_model"}  # the argument that says where it lies


@dataclass(frozen=True)
class Columns:
    """How the columns of a file of products are called.

    Attributes:
        texts: those that make an item's text, all of which must be there.
        texts_of_set: those that made the texts of the data set, if that says so, which are read if none are named;
            where none of them is there, ``text`` is. Of a data set that does not say so it is the title after that.
        picture: the one that names pictures, if none is given the one of the data set, or ``picture``.
        sound: the same of sounds.
    """

    item: str = "item_id"
    title: str = "title"
    texts: Sequence[str] = ()
    texts_of_set: Sequence[str] = ()
    picture: str = "picture"
    sound: str = "sound"

    @classmethod
    def of(
        cls,
        encoders: Mapping[str, Encoder],
        item: str,
        title: str,
        texts: Sequence[str],
        picture: str | None,
        sound: str | None = None,
    ) -> Columns:
        """Those that are given, and those of the data set in place of others."""
        own = {encoder.kind: encoder.columns for encoder in encoders.values()}
        picture = picture or next(iter(own.get("image", ())), cls.picture)
        return cls(
            item, title, texts, own.get("text", ()), picture, sound or next(iter(own.get("audio", ())), cls.sound)
        )

    def of_texts(self, path: Path, there: Iterable[str]) -> Sequence[str]:
        """Those of ``there`` that make an item's text.

        Raises:
            UserError: if these are some of the data set's and others are not there.
        """
        if self.texts:
            return self.texts
        present = set(there)
        missing = [name for name in self.texts_of_set if name not in present]
        if not missing and self.texts_of_set:
            return self.texts_of_set
        if "text" in present:
            return ["text"]
        if not self.texts_of_set:
            return [name for name in (self.title,) if name in present]
        if len(missing) < len(self.texts_of_set):
            raise UserError(
                f"{path} has no column {' or '.join(missing)}, and the texts of the data set were made of "
                f"{', '.join(self.texts_of_set)}; add it, or say by --text_columns which ones make a text"
            )
        return []


def read_new_items(
    path: Path,
    modalities: Iterable[str],
    columns: Columns | None = None,
    images: Path | None = None,
    skipped: SkippedRows | None = None,
) -> dict[str, Any]:
    """What ``Recommender.add_items`` takes, of a csv, tsv, jsonl or parquet file: a row an item.

    Read are, as far as they are there, titles, texts, pictures, sounds and of each modality ``MODALITY_vector``
    (numbers).

    Args:
        images: where the pictures are, as of :func:`find_pictures`; if not given, and of sounds, paths from the folder
            of the file.
        skipped: counts what is left out, as ``prepare`` does: lines that cannot be read, rows without a usable id, all
            but the first of an item; and items without a picture.

    Raises:
        UserError: if the file cannot be read, lacks a column, has no row that can be used, or a vector is none.
    """
    columns, skipped = columns or Columns(), skipped or SkippedRows()
    named = {f"{name}_vector": name for name in modalities}
    optional = [columns.title, *columns.texts_of_set, "text", columns.picture, columns.sound, *named]
    rows = read_rows(path, skipped, [columns.item, *columns.texts], optional)
    usable = rows[rows[columns.item].map(is_usable).astype(bool)]
    if usable.empty:
        raise UserError(f"{path} holds no items" if rows.empty else f"{path} holds no item with a usable id")
    skipped.note("items without a usable id", n=len(rows) - len(usable))
    rows = usable.drop_duplicates(columns.item)
    skipped.note("repeated items", n=len(usable) - len(rows))
    products: dict[str, Any] = {"ids": rows[columns.item].tolist()}
    if columns.title in rows:
        products["titles"] = rows[columns.title].tolist()
    vectors = {named[name]: _numbers(path, name, rows[name]) for name in named if name in rows}
    if vectors:
        products["vectors"] = vectors
    if columns.texts or "text" in rows or "text" not in vectors:
        own = list(columns.of_texts(path, rows))
        if own:
            products["texts"] = [one_line(*texts) or None for texts in rows[own].to_numpy()]
    names = rows[columns.picture].tolist() if columns.picture in rows else None
    if images is not None:
        need_folder(images, "--images")  # that may have none yet of what is new today
        by_item = None if names is None else dict(zip(products["ids"], names))
        found = find_pictures(images, products["ids"], skipped, names=by_item)
        products["pictures"] = [found.get(item) for item in products["ids"]]
    elif names is not None:
        products["pictures"] = [path.parent / name if name else None for name in names]
    if columns.sound in rows:
        products["sounds"] = [path.parent / name if name else None for name in rows[columns.sound]]
    return products


def with_content(products: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Those of ``read_new_items`` of which there is some content, and how many others there were."""
    has_content = np.zeros(len(products["ids"]), dtype=bool)
    for name in _ARGUMENT.values():
        has_content |= np.array(
            [value is not None for value in products.get(name, [None] * len(has_content))], dtype=bool
        )
    for rows in products.get("vectors", {}).values():
        has_content |= np.array([any(row) for row in rows], dtype=bool)
    return _only(products, has_content)


def not_in(catalogue: Catalogue, products: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Those of ``read_new_items`` that a catalogue does not have yet, and how many others there were."""
    return _only(products, np.array([name not in catalogue.item_numbers for name in products["ids"]], dtype=bool))


def _only(products: Mapping[str, Any], chosen: np.ndarray) -> tuple[dict[str, Any], int]:
    kept: dict[str, Any] = {
        name: list(compress(values, chosen)) for name, values in products.items() if name != "vectors"
    }
    if vectors := products.get("vectors", {}):
        kept["vectors"] = {name: list(compress(rows, chosen)) for name, rows in vectors.items()}
    return kept, int((~chosen).sum())


def _numbers(path: Path, column: str, cells: pd.Series) -> list[list[float]]:
    """A vector a row, of numbers between blanks or commas; zeros of a row that has none."""
    vectors: list[list[float]] = []
    for row, cell in zip(cells.index + 1, cells):
        try:
            vectors.append([float(number) for number in cell.strip("[] ").replace(",", " ").split()])
        except ValueError as error:
            raise UserError(f"the {column} of {path} in row {row} holds something else than numbers") from error
    width = max(map(len, vectors))
    lengths = {len(vector) for vector in vectors if vector}
    if len(lengths) > 1:
        raise UserError(f"the {column} of {path} has vectors of {min(lengths)} and of {max(lengths)} numbers")
    return [vector or [0.0] * width for vector in vectors]


def with_items(
    parts: Parts,
    ids: list[str],
    texts: Iterable[str | None] | None,
    pictures: Iterable[Any] | None,
    vectors: Mapping[str, Any] | Any,
    titles: Iterable[str | None] | None,
    encoders: Mapping[str, str | None],
    cache: VectorCache | None = None,
    sounds: Iterable[Any] | None = None,
) -> Parts:
    """What a recommender is made of, with further items; see ``Recommender.add_items``.

    Args:
        encoders: where the text model (``text``), the image model or its weights (``image``) and the audio model
            (``audio``) lie, if no longer where they were.
    """
    if parts.source is None or not parts.source.takes_new_items:
        reason = TOO_LITTLE if parts.source is None else parts.source.reason
        raise UserError(f"{parts.engine.name} takes no new items: {reason}")
    catalogue = parts.catalogue
    _check_ids(catalogue, ids)
    columns = {
        name: _in_order(values, len(ids), name)
        for name, values in (("texts", texts), ("pictures", pictures), ("sounds", sounds), ("titles", titles))
    }
    features = _given_vectors(catalogue, vectors, ids)
    for kind, argument in _ARGUMENT.items():
        if any(value is not None for value in columns[argument]):
            encode, found = _encoded_texts if kind == "text" else _encoded_files, {}
            those = _to_encode(catalogue, kind, argument, columns[argument], features, ids)
            for name, values in those.items():
                encoder = catalogue.encoders[name]
                place = _place(encoder, encoders.get(kind), is_only=len(those) == 1)
                found[name] = encode(values, encoder, place, ids, cache)
                if name in features:  # of which no item has both
                    found[name] += features[name]
            features |= found
    _check_content(catalogue, features, ids)
    names = [as_it_stands(_checked_text(title, "titles")) for title in columns["titles"]]
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


def _checked_text(value: Any, name: str) -> str:
    """A text; "" for None."""
    if value is not None and not isinstance(value, str):
        raise UserError(f"`{name}` must hold texts, not {value!r:.100}")
    return value or ""


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
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            item = ids[int(np.flatnonzero(~np.isfinite(array).all(1))[0])]
            raise UserError(f"the {name} vector of '{item:.100}' holds NaN or infinite numbers (as float32)")
        if len(large := np.flatnonzero((np.abs(array) > _LARGEST).any(1))):
            raise UserError(
                f"the {name} vector of '{ids[int(large[0])]:.100}' holds numbers beyond {_LARGEST:g}, whose squares "
                f"are too large to be added up; give vectors of the scale of the data set's"
            )
        features[name] = torch.from_numpy(array)
    return features


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

    texts = [one_line(_checked_text(value, "texts")) for value in values]
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

    argument = _ARGUMENT[encoder.kind]
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
        how: dict[str, Any] = {"dtype": encoder.dtype, "cache": cache}
        found = extract(encoder.kind, paths, Path(folder) / "work", model, {"weights": place}, **how)
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


def _check_content(catalogue: Catalogue, features: Mapping[str, Tensor], ids: list[str]) -> None:
    """Refuse items about whose content nothing is known."""
    present = torch.zeros(len(ids), dtype=torch.bool)
    for rows in features.values():
        present |= rows.any(1)
    if not present.all():
        item, reads = ids[int(present.int().argmin())], ", ".join(catalogue.modalities)
        raise UserError(f"nothing is known about the content of '{item:.100}': give it what the model reads, {reads}")

"""Exports, read: checked by their hashes, whole in memory, nothing executed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import safetensors
import safetensors.torch
import scipy.sparse as sp
from msgspec import Meta
from torch import Tensor

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_bytes, refuse_links
from recbole_cadmr.layers.attention_scores import AttentionScores
from recbole_cadmr.recommender import export
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.export_sources import AttentionSource, FeatureMapSource
from recbole_cadmr.recommender.histories import PARTS, Histories
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.path_weights import PathWeights
from recbole_cadmr.recommender.source_files import ClosedFormValues, SourceValues, source_of
from recbole_cadmr.recommender.sources import Source, Unchanging
from recbole_cadmr.recommender.vectors_engine import VectorsEngine
from recbole_cadmr.recommender.weights_engine import WeightsEngine

_VERSIONS = (1, export.FORMAT_VERSION)  # 1: nothing but a closed form takes new items
_ALWAYS = (export.CARD, export.SETTINGS, export.USERS, export.ITEMS, export.HISTORIES)
_MOST_VERSION = 10**6
_SOMETIMES = (export.NEIGHBOURS, export.ENGINE, export.CONTENT)


class _File(msgspec.Struct):
    bytes: Annotated[int, Meta(ge=0, le=2**62)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Manifest(msgspec.Struct):
    files: dict[str, _File]


class _Term(msgspec.Struct):
    path: str
    modality: str
    scale: float


class _Engine(msgspec.Struct):
    """Of an engine what is no tensor."""

    kind: Literal["weights", "attention", "vectors"]
    modality_weights: dict[str, float] = {}
    terms: list[_Term] | None = None
    weight: float = 0.0
    n_candidates: Annotated[int, Meta(ge=1)] | None = None
    members: Annotated[int, Meta(ge=1, le=1000)] = 1
    n_scored: Annotated[int, Meta(ge=1)] | None = None
    recency: Annotated[float, Meta(ge=0, le=10)] = 0.0


class _Card(msgspec.Struct):
    model: str
    dataset: str
    engine: _Engine
    encoders: dict[str, Encoder] = {}
    source: SourceValues | None = None
    closed_form: ClosedFormValues | None = None  # of version 1


def is_export(path: Path) -> bool:
    """Whether a path is the folder of an export, in whatever state."""
    return (path / export.MANIFEST).is_file()


def read_export(folder: Path) -> Parts:
    """What a recommender is made of, out of the folder of an export, or of a link to one.

    A link is followed once, so that all files are of one export whenever it is changed to another.

    Raises:
        UserError: if the export was cut short or changed, or is of another version.
    """
    folder = folder.resolve()
    refuse_links(folder)
    manifest = read_bytes(folder / export.MANIFEST)
    files = _checked_files(folder, manifest)
    with _refusing(folder):
        content = {name: msgspec.json.decode(files[name]) for name in (export.CARD, export.SETTINGS)}
        described = msgspec.convert(content[export.CARD], _Card)
        tensors, features = (
            safetensors.torch.load(files[name]) if name in files else {} for name in (export.ENGINE, export.CONTENT)
        )
        order = content[export.SETTINGS].get("modalities") or []
        catalogue = replace(_catalogue(files, features, order), encoders=described.encoders)
        histories = _histories(files[export.HISTORIES], catalogue, described.engine.recency)
        values = described.source or described.closed_form
        source = source_of(values, described.model, tensors, catalogue.n_items) if values else Unchanging()
        engine = _engine(described, files, tensors, catalogue, histories, source)
    version = hashlib.sha256(manifest).hexdigest()[:12]
    card = {**content[export.CARD], "settings": content[export.SETTINGS], "version": version}
    return Parts(catalogue, histories, engine, card, source)


def _checked_files(folder: Path, manifest: bytes) -> dict[str, bytes]:
    """The content of the export's files by name."""
    file, again = folder / export.MANIFEST, "export the checkpoint again"
    try:
        content = msgspec.json.decode(manifest, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{file} was cut short or edited: it is not an object of JSON; {again}") from error
    if content.get("format") != export.FORMAT:
        raise UserError(f"{file} is not the manifest of an export of this package; {again}")
    version = content.get("format_version")
    if type(version) is not int or not 0 < version < _MOST_VERSION:
        raise UserError(f"{file} was edited: it names no format version; {again}")
    if version not in _VERSIONS:
        raise UserError(
            f"{folder} is an export of format version {version}, this package reads {export.FORMAT_VERSION}; {again}"
        )
    try:
        expected = msgspec.convert(content, _Manifest).files
    except msgspec.MsgspecError as error:
        raise UserError(f"{file} was edited: it does not give size and SHA-256 of each file; {again}") from error
    lacking = [name for name in _ALWAYS if name not in expected]
    if lacking or not set(expected) <= {*_ALWAYS, *_SOMETIMES}:
        raise UserError(f"{file} was edited: it does not name the files of an export; {again}")
    files = {}
    for name, identity in expected.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder} was cut short: {name} is missing; {again}")
        files[name] = read_bytes(folder / name)
        if len(files[name]) != identity.bytes:
            raise UserError(
                f"{folder} was cut short: {name} has {len(files[name]):,} of {identity.bytes:,} bytes; {again}"
            )
        if hashlib.sha256(files[name]).hexdigest() != identity.sha256:
            raise UserError(f"{folder / name} was changed after the export: its hash is another; {again}")
    return files


def _catalogue(files: Mapping[str, bytes], tensors: Mapping[str, Tensor], order: Sequence[str]) -> Catalogue:
    """Items and users, the modalities in their order in the data set."""
    users = _table(files[export.USERS]).to_pandas()["user_id"].to_numpy()
    items = _table(files[export.ITEMS]).to_pandas()
    item_ids = items["item_id"].to_numpy()
    texts = {name: column for name, column in items.items() if name.startswith("text:")}
    columns = {name.removeprefix("text:"): column.to_numpy() for name, column in texts.items()}
    table = pd.DataFrame(columns, index=pd.Index(item_ids, dtype=object), dtype=object)
    names = [name.removeprefix("features ") for name in tensors if name.startswith("features ")]
    modalities = {}
    for name in sorted(names, key=[*order, *names].index):
        features, present = tensors[f"features {name}"].float(), tensors[f"present {name}"]
        _expect(features.ndim == 2 and present.shape == (len(item_ids) + 1,) == features.shape[:1])
        modalities[name] = Modality(name, features, present)
    padding = np.array(["[PAD]"], dtype=object)
    return Catalogue(np.append(padding, users), np.append(padding, item_ids), table, modalities)


def _histories(content: bytes, catalogue: Catalogue, recency: float) -> Histories:
    table = _table(content, "user_id", "item_id", "part")
    users = _numbers(table["user_id"], catalogue.user_numbers)
    items = _numbers(table["item_id"], catalogue.item_numbers)
    parts = (*PARTS, export.ADDED, export.NOT_FITTED)
    part = _numbers(table["part"], {name: number for number, name in enumerate(parts)})
    shape = catalogue.n_users, catalogue.n_items
    matrices = []
    for number in range(len(parts)):
        row, column = users[part == number], items[part == number]
        matrices.append(sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape))
    *of_data_set, added, rest = matrices
    order = None
    if "order" in table.column_names:
        places, train = table["order"].to_numpy().astype(np.float32), part == 0
        _expect((places[train] >= 1).all() and np.isfinite(places[train]).all())
        order = sp.csr_matrix((places[train], (users[train], items[train])), shape=shape)
    _expect(order is not None or not recency)
    histories = Histories.of(of_data_set, {}, order, recency)
    for rows, refit in ((added, True), (rest, False)):
        histories = histories.with_added(rows, refit) if rows.nnz else histories
    return histories


def _engine(
    card: _Card,
    files: Mapping[str, bytes],
    tensors: Mapping[str, Tensor],
    catalogue: Catalogue,
    histories: Histories,
    source: Source,
) -> Engine:
    described, n_items = card.engine, catalogue.n_items
    if described.kind == "vectors":
        users, items, bias = tensors["users"], tensors["items"], tensors.get("item_bias")
        _expect(users.ndim == items.ndim == 2 and users.shape[1] == items.shape[1] and len(items) == n_items)
        _expect(len(users) == catalogue.n_users and (bias is None or bias.shape == (n_items,)))
        content = source.content(catalogue) if isinstance(source, FeatureMapSource) else None
        _expect(content is None or content.fits(users))
        return VectorsEngine(card.model, users, items, bias, content=content)
    weights = _weights(files[export.NEIGHBOURS], catalogue)
    paths = None
    if described.terms is not None:
        terms = {}
        for number, term in enumerate(described.terms):
            values = tensors[f"term {number}"].float().numpy()
            if (places := tensors.get(f"places of term {number}")) is not None:
                given, values = values, np.zeros(len(weights.data), dtype=np.float32)
                values[places.numpy()] = given
            _expect(values.shape == weights.data.shape)
            terms[term.path, term.modality] = values * np.float32(term.scale)
        paths = PathWeights(weights.indptr.copy(), weights.indices.copy(), terms, weights.data.copy())
    engine = WeightsEngine(card.model, weights, None, paths, described.modality_weights, described.n_scored)
    if described.kind == "weights":
        return engine
    if isinstance(source, AttentionSource):
        attention = source.scores(catalogue, histories)
        return AttentionEngine(card.model, engine, attention, described.weight, described.n_candidates)
    members = [(tensors[f"query {number}"], tensors[f"key {number}"]) for number in range(described.members)]
    _expect(all(part.ndim == 2 and len(part) == n_items - 1 for member in members for part in member))
    return AttentionEngine(card.model, engine, AttentionScores(members), described.weight, described.n_candidates)


def _weights(content: bytes, catalogue: Catalogue) -> sp.csr_matrix:
    table = _table(content, "item", "neighbour")
    item, neighbour = (_numbers(table[name], catalogue.item_numbers) - 1 for name in ("item", "neighbour"))
    values = table["weight"].to_numpy().astype(np.float32)
    _expect(np.isfinite(values).all())
    n_items = catalogue.n_items - 1
    indptr = np.append(0, np.bincount(item, minlength=n_items).cumsum())
    if len(item) and (np.diff(item) < 0).any():  # by another writer
        order = np.argsort(item, kind="stable")
        neighbour, values = neighbour[order], values[order]
    return sp.csr_matrix((values, neighbour.astype(np.int32), indptr.astype(np.int32)), (n_items, n_items))


def _numbers(column: pa.ChunkedArray, numbers: Mapping[str, int]) -> np.ndarray:
    """The numbers of a column of ids; KeyError if there is another one."""
    parts = [np.zeros(0, np.int64)]
    for chunk in column.chunks:
        known = np.array([numbers[text] for text in chunk.dictionary.to_pylist()], dtype=np.int64)
        parts.append(known[chunk.indices.to_numpy()])
    return np.concatenate(parts)


def _table(content: bytes, *by_number: str) -> pa.Table:
    """The table of a parquet file, columns of texts ``by_number`` of the distinct ones."""
    # In chunks as they were written; those of read_table are smaller, and each repeats the texts.
    return pa.parquet.ParquetFile(io.BytesIO(content), read_dictionary=by_number).read()


def _expect(condition: Any) -> None:
    if not condition:
        raise ValueError("its parts do not fit together")


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Raise :class:`UserError` for what the readers raise within."""
    try:
        yield
    except (
        *(msgspec.MsgspecError, pa.ArrowException, safetensors.SafetensorError, UnicodeDecodeError, RecursionError),
        *(KeyError, ValueError, TypeError, AttributeError, IndexError, OSError),  # OSError: of parquet
    ) as error:
        said = "its parts do not fit together"  # what Python says of them helps nobody
        if isinstance(error, (msgspec.MsgspecError, pa.ArrowException, safetensors.SafetensorError)):
            said = " ".join(str(error).replace("`", "'").split())[:200]
        raise UserError(f"{folder} is damaged or was edited: {said}; export the checkpoint again") from error

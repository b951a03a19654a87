"""Import a folder in the layout of the MMRec toolbox: NAME.inter, *_feat*.npy, *_knn*.npz; its split or another."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cadmr.arrays import map_rows
from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.data.prepare.content import Features, Prepared
from recbole_cadmr.data.prepare.interactions import clean
from recbole_cadmr.data.prepare.options import NONE, add_options, read_options
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.prepare.split import PARTS, SPLITS, split_parts
from recbole_cadmr.data.prepare.vectors import check_vectors, named_files, rows_of_zeros
from recbole_cadmr.data.times import read_times
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file

_ARRAYS = (".npy", ".npz", ".pt", ".pth", ".pkl", ".h5", ".mat")
_OPTIONAL = {"rating", "timestamp"}
OWN = "own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare mmrec``."""
    parser.add_argument("--source", required=True, type=Path, metavar="DIR", help="the folder to import")
    add_options(parser, only=("name", "data_path", "seed"))
    parser.add_argument(
        "--split", default=OWN, choices=(OWN, *SPLITS), help="how to hold out (default: the split that came with it)"
    )
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="MODALITY=FILE",
        help="arrays not named MODALITY_feat*.npy or MODALITY_knn*.npz, as in text=MiniLM.npy; or none",
    )


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder.

    The source holds one ``*.inter`` (tab separated, columns ``userID itemID [rating timestamp] x_label``; label 0 is
    train, 1 validation, 2 test), for each modality ``MODALITY_feat*.npy`` (rows by item id, float16, 32 or 64) or
    ``MODALITY_knn*.npz`` (``idx`` and ``cos`` of the nearest items) or both. Ids stay as they are. The same input
    gives the same bytes.

    Raises:
        UserError: if a file is missing or malformed, features do not fit the items, or the data set exists.
    """
    from recbole_cadmr.data.prepare.write import deliver  # heavy: torch and plotly

    source, split, skipped = arguments.source, arguments.split, SkippedRows()
    if not source.is_dir():
        raise UserError(f"there is no folder {source}")
    inter_files = sorted(source.glob("*.inter"))
    if len(inter_files) != 1:
        raise UserError(f"{source} must hold one .inter file, not {len(inter_files)}")
    (inter,) = inter_files
    options = read_options(arguments, inter.stem)
    interactions = _read_interactions(inter)
    parts = _parts(interactions, split, options.seed, inter, skipped)
    features = None if arguments.features is None else features_of(arguments.features)
    modalities = _find_features(source, features, skipped)
    items = sorted(interactions["itemID"].unique())
    read = [_read(modality, items, skipped) for modality in modalities]
    prepared = Prepared(
        options.name,
        parts,
        titles={},
        features=read,
        origin="Imported from a folder in the layout of the MMRec toolbox, with "
        + ("the split that came with it." if split == OWN else f"a split of its own: {split}, seed {options.seed}."),
        licence="Its licence is that of its source.",
        sources=[inter, *(path for modality in modalities for path in (modality.vectors, modality.graph) if path)],
        notes=skipped.lines(),
        steps={"split": "as it came" if split == OWN else f"{split}, seed {options.seed}"},
        settings={"data_note": "derived features"} if _derived(modalities) else {},
    )
    with working_folder(options.folder) as work:
        return deliver(prepared, options.folder, work)


def features_of(texts: Sequence[str]) -> dict[str, Path]:
    """Files by modality from ``MODALITY=FILE``; ``none`` alone means no file at all."""
    return {} if list(texts) == [NONE] else named_files(texts, "--features")


@dataclass(frozen=True)
class _Files:
    """Feature vectors and nearest neighbours of one modality, rows by item id."""

    name: str
    vectors: Path | None
    graph: Path | None


def _read_interactions(path: Path) -> pd.DataFrame:
    need_file(path)
    table = read_table(path)
    needed = ["userID", "itemID", "x_label"]
    if not set(needed) <= set(table.columns) <= {*needed, *_OPTIONAL}:
        raise UserError(f"{path} must have the columns userID, itemID, x_label (and rating, timestamp), tab separated")
    for column in table.columns:
        if column in needed:
            # As written: a number that reads as another one ("07", "1e3") would become another id.
            right = table[column].str.fullmatch("[012]" if column == "x_label" else "0|[1-9][0-9]{0,17}")
        else:
            right = np.isfinite(pd.to_numeric(table[column], errors="coerce"))
        if not right.all():
            line = right.idxmin()
            raise UserError(f"{path} line {line + 2} is malformed: {column} cannot be {table[column][line]!r}")
    table = table.astype(dict.fromkeys(needed, np.int64))
    if not (table["x_label"] == 0).any():
        raise UserError(f"{path} has no train interaction (x_label 0)")
    return table


def _find_features(source: Path, named: Mapping[str, Path] | None, skipped: SkippedRows) -> list[_Files]:
    """The files that a modality is read from: those named with ``--features``, and those named as in the toolbox."""
    if named is not None and not named:
        return []
    vectors = _by_modality(sorted(source.glob("*_feat*.npy")), "_feat")
    graphs = _by_modality(sorted(source.glob("*_knn*.npz")), "_knn")
    for name, file in (named or {}).items():
        path = file if file.exists() else source / file
        check_vectors(name, file, (".npy", ".npz"))
        (graphs if path.suffix == ".npz" else vectors)[name] = path
    taken = {os.path.realpath(path) for path in (*vectors.values(), *graphs.values())}
    arrays = [file for file in sorted(source.iterdir()) if file.suffix in _ARRAYS]
    others = [file for file in arrays if os.path.realpath(file) not in taken]
    if others and not taken:
        raise UserError(
            f"{source} holds no MODALITY_feat*.npy and no MODALITY_knn*.npz; say of which modality its arrays are, as "
            f"in --features text={others[0].name} (there are {', '.join(file.name for file in others[:9])}), or give "
            f"--features {NONE}"
        )
    for file in others:
        skipped.note("arrays that are not used; name them with --features MODALITY=FILE", file.name)
    # text before image before others, as tables name them
    names = sorted(vectors.keys() | graphs.keys(), key=lambda name: ({"text": 0, "image": 1}.get(name, 2), name))
    return [_Files(name, vectors.get(name), graphs.get(name)) for name in names]


def _by_modality(files: list[Path], mark: str) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for file in files:
        name = file.name.split(mark)[0]
        if name in by_name:
            raise UserError(f"{by_name[name].name} and {file.name} are both of the modality '{name}'; keep one of them")
        check_vectors(name, file, (".npy", ".npz"))
        by_name[name] = file
    return by_name


def _read(files: _Files, items: Sequence[int], skipped: SkippedRows) -> Features:
    """One modality: the rows of all items that have it, even without interactions.

    Every item must have a row, as rows are addressed by item id; a row of zeros means that an item lacks the modality.
    """
    from recbole_cadmr.data.graph import read_graph, rows_of

    vectors = map_rows(files.vectors) if files.vectors else None
    if files.vectors and vectors is not None:
        _enough(files.vectors, len(vectors), items)
        missing = rows_of_zeros(files.vectors, vectors)
    graph = read_graph(files.graph, None if vectors is None else len(vectors)) if files.graph else None
    if graph is not None:
        _enough(files.graph, len(graph[0]), items)
        if vectors is None:  # an item that has no neighbours and is nobody's neighbour
            missing = (graph[0] < 0).all(axis=1) & ~np.isin(np.arange(len(graph[0])), graph[0])
    if missing[items].all():
        raise UserError(f"the {files.name} features hold a row of zeros for every item; take {files.name} out")
    zeros = int(missing[items].sum())
    skipped.note(f"items whose {files.name} features are a row of zeros, so that they lack {files.name}", n=zeros)
    skipped.note(f"rows of {files.name} features whose item has no interaction", n=len(missing) - len(items))
    kept = np.flatnonzero(~missing)
    if graph is not None:
        graph = rows_of(*graph, kept)
    made_by = "derived from the original vectors" if _derived([files]) else ""
    return Features(files.name, list(map(str, kept)), files.vectors, kept, graph, made_by)


def _parts(
    interactions: pd.DataFrame, split: str, seed: int, path: Path, skipped: SkippedRows
) -> dict[str, pd.DataFrame]:
    columns = {"userID": "user_id", "itemID": "item_id"}
    table = interactions.rename(columns=columns).astype(dict.fromkeys(columns.values(), str))
    if split == OWN:
        pairs, train = pd.MultiIndex.from_frame(table[["user_id", "item_id"]]), table["x_label"] == 0
        repeated = int(pairs[~train].isin(pairs[train]).sum())
        skipped.note("held-out interactions that repeat one of the train part", n=repeated)
    else:
        if "timestamp" in table:
            table["timestamp"] = read_times(table["timestamp"], f"the time column of {path.name}").values
        return split_parts(clean(table, skipped), split, seed, skipped)
    return {part: table[table["x_label"] == label] for label, part in enumerate(PARTS)}


def _enough(path: Path | None, n_rows: int, items: Sequence[int]) -> None:
    if n_rows <= max(items):
        raise UserError(f"{path} has {n_rows} rows, but items are numbered up to {max(items)}")


def _derived(modalities: list[_Files]) -> bool:
    return any(modality.vectors and "derived" in modality.vectors.name for modality in modalities)

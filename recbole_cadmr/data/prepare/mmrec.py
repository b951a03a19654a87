"""Import a folder in the layout of the MMRec toolbox: NAME.inter, *_feat*.npy, *_knn*.npz; its split or another."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cadmr.arguments import seed
from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.data.graph import read_graph
from recbole_cadmr.data.prepare.content import Features
from recbole_cadmr.data.prepare.origin import Origin
from recbole_cadmr.data.prepare.split import PARTS, SPLITS
from recbole_cadmr.data.prepare.write import Prepared, write_data_set
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside

# Endings that RecBole reads itself, and the settings of the data set.
_RESERVED = {"inter", "item", "user", "kg", "link", "net", "yaml"}
_OPTIONAL = {"rating", "timestamp"}
OWN = "own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare mmrec``."""
    parser.add_argument("--source", required=True, type=Path, metavar="DIR", help="the folder to import")
    parser.add_argument("--name", help="name of the data set (default: that of the .inter file)")
    parser.add_argument("--data_path", default="dataset", type=Path, help="folder of the data sets (default: dataset)")
    parser.add_argument(
        "--split", default=OWN, choices=(OWN, *SPLITS), help="how to hold out (default: the split that came with it)"
    )
    parser.add_argument("--seed", default=2020, type=seed, help="of a split other than its own (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    return prepare_mmrec(arguments.source, arguments.name, arguments.data_path, arguments.split, arguments.seed)


@dataclass(frozen=True)
class _Files:
    """Feature vectors and nearest neighbours of one modality, rows by item id."""

    name: str
    vectors: Path | None
    graph: Path | None


def prepare_mmrec(
    source: Path, name: str | None = None, data_path: Path = Path("dataset"), split: str = OWN, seed: int = 2020
) -> Path:
    """Write ``data_path/NAME`` from a folder in the layout of the MMRec toolbox.

    The folder holds one ``*.inter`` (tab separated, columns ``userID itemID [rating timestamp] x_label``; label 0 is
    train, 1 validation, 2 test), for each modality ``MODALITY_feat*.npy`` (rows by item id, float16, 32 or 64) or
    ``MODALITY_knn*.npz`` (``idx`` and ``cos`` of the nearest items) or both. Ids stay as they are. The same input
    gives the same bytes.

    Args:
        split: ``own`` keeps the labels; any of ``SPLITS`` draws others by ``seed`` from all interactions.

    Raises:
        UserError: if a file is missing or malformed, features do not fit the items, or the data set is there already.
    """
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"there is no folder {source}")
    found = sorted(source.glob("*.inter"))
    if len(found) != 1:
        raise UserError(f"{source} must hold one .inter file, not {len(found)}")
    name = name or found[0].stem
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"a data set is named by one word such as 'baby', not {name!r}")
    interactions = _read_interactions(found[0])
    parts = _parts(interactions, split, seed)
    modalities = _find_features(source)
    for modality in modalities:
        _check(modality, interactions["itemID"])
    features = [_features(modality) for modality in modalities]
    settings: dict[str, object] = {"data_note": "derived features"} if _derived(modalities) else {}
    origin = Origin(
        "Imported from a folder in the layout of the MMRec toolbox, with "
        + ("the split that came with it." if split == OWN else f"a split of its own: {split}, seed {seed}."),
        "Its licence is that of its source.",
        [found[0], *(path for modality in modalities for path in (modality.vectors, modality.graph) if path)],
    )
    with folder_aside(Path(data_path) / name) as folder:
        write_data_set(folder, Prepared(name, parts, {}, features, settings), origin)
    return Path(data_path) / name


def _read_interactions(path: Path) -> pd.DataFrame:
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


def _find_features(source: Path) -> list[_Files]:
    vectors = _by_modality(sorted(source.glob("*_feat*.npy")), "_feat")
    graphs = _by_modality(sorted(source.glob("*_knn*.npz")), "_knn")
    # text before image before others, as tables name them
    names = sorted(vectors.keys() | graphs.keys(), key=lambda name: ({"text": 0, "image": 1}.get(name, 2), name))
    return [_Files(name, vectors.get(name), graphs.get(name)) for name in names]


def _by_modality(files: list[Path], mark: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = file.name.split(mark)[0]
        if name in found:
            raise UserError(f"{found[name].name} and {file.name} are both of the modality '{name}'; keep one of them")
        if not name.isidentifier():
            raise UserError(f"{file} does not begin with the name of a modality")
        if name in _RESERVED:
            raise UserError(f"{file} cannot be the modality '{name}', whose file RecBole reads as its own; rename it")
        found[name] = file
    return found


def _check(modality: _Files, items: pd.Series) -> None:
    """Every item must have its row: rows are found by item id."""
    n_rows = None
    if modality.vectors:
        vectors = _load(modality.vectors)
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or 0 in vectors.shape:
            raise UserError(f"{modality.vectors} must hold a 2-D array of real numbers, one row an item")
        # A sum is finite only if its terms are; one pass, no mask of the same size.
        if not np.isfinite(vectors.sum(dtype=np.float64)):
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise UserError(f"{modality.vectors} holds NaN or infinite numbers, first in row {bad}")
        n_rows = _enough(modality.vectors, len(vectors), items)
    if modality.graph:
        _enough(modality.graph, len(read_graph(modality.graph, n_rows)[0]), items)


def _enough(path: Path, n_rows: int, items: pd.Series) -> int:
    if n_rows <= items.max():
        raise UserError(f"{path} has {n_rows} rows, but items are numbered up to {items.max()}")
    return n_rows


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged, or not an array of numbers") from error


def _parts(interactions: pd.DataFrame, split: str, seed: int) -> dict[str, pd.DataFrame]:
    columns = {"userID": "user_id", "itemID": "item_id"}
    table = interactions.rename(columns=columns).astype(dict.fromkeys(columns.values(), str))
    if split != OWN:
        if "timestamp" in table:
            table["timestamp"] = pd.to_numeric(table["timestamp"])
        table["x_label"] = SPLITS[split](table, np.random.default_rng(seed))
    return {part: table[table["x_label"] == label] for label, part in enumerate(PARTS)}


def _features(modality: _Files) -> Features:
    """The modality as it is: all rows, also those of items that nobody chose."""
    graph = read_graph(modality.graph) if modality.graph else None
    rows = len(graph[0]) if graph else len(_load(modality.vectors)) if modality.vectors else 0
    made_by = "derived from the original vectors" if _derived([modality]) else ""
    return Features(modality.name, [str(row) for row in range(rows)], modality.vectors, None, graph, made_by)


def _derived(modalities: list[_Files]) -> bool:
    return any(modality.vectors and "derived" in modality.vectors.name for modality in modalities)

"""Import a folder in the layout of the MMRec toolbox (NAME.inter, *_feat*.npy, *_knn*.npz), keeping its split."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from recbole_cadmr.data.atomic import write_atomic
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, sha256_of

PARTS = ("train", "valid", "test")
_OPTIONAL = {"rating": "rating:float", "timestamp": "timestamp:float"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``prepare mmrec``."""
    parser.add_argument("--source", required=True, type=Path, metavar="DIR", help="the folder to import")
    parser.add_argument("--name", help="name of the data set (default: that of the .inter file)")
    parser.add_argument("--data_path", default="dataset", type=Path, help="folder of the data sets (default: dataset)")


def run(arguments: argparse.Namespace) -> Path:
    """Write the data set and return its folder."""
    return prepare_mmrec(arguments.source, arguments.name, arguments.data_path)


@dataclass(frozen=True)
class _Features:
    """Feature vectors and nearest neighbours of one modality, rows by item id."""

    name: str
    vectors: Path | None
    graph: Path | None


def prepare_mmrec(source: Path, name: str | None = None, data_path: Path = Path("dataset")) -> Path:
    """Write ``data_path/NAME`` from a folder in the layout of the MMRec toolbox.

    The folder holds one ``*.inter`` (tab separated, columns ``userID itemID [rating timestamp] x_label``; label 0 is
    train, 1 validation, 2 test), for each modality ``MODALITY_feat*.npy`` (rows by item id, float16, 32 or 64) or
    ``MODALITY_knn*.npz`` (``idx`` and ``cos`` of the nearest items) or both. Ids stay as they are. The same input
    gives the same bytes.

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
    interactions = _read_interactions(found[0])
    modalities = _find_features(source)
    for modality in modalities:
        _check(modality, interactions["itemID"])
    with folder_aside(Path(data_path) / name) as folder:
        _write(folder, name, interactions, modalities)
        card = _card(name, interactions, modalities, [found[0], *_files(modalities)])
        (folder / "dataset_card.md").write_text(card, encoding="utf-8", newline="\n")
    return Path(data_path) / name


def _read_interactions(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is malformed: {str(error).split('error:')[-1].strip()}") from error
    needed = ["userID", "itemID", "x_label"]
    if not set(needed) <= set(table.columns) <= {*needed, *_OPTIONAL}:
        raise UserError(f"{path} must have the columns userID, itemID, x_label (and rating, timestamp), tab separated")
    for column in table.columns:
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = ~np.isfinite(numbers)
        if column in needed:
            wrong |= (numbers < 0) | (numbers % 1 != 0)
        if column == "x_label":
            wrong |= numbers > 2
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0])
            raise UserError(f"{path} line {line + 2} is malformed: {column} cannot be {table[column].iloc[line]!r}")
        if column in needed:
            table[column] = numbers.astype(np.int64)
    if not (table["x_label"] == 0).any():
        raise UserError(f"{path} has no train interaction (x_label 0)")
    return table


def _find_features(source: Path) -> list[_Features]:
    vectors = _by_modality(sorted(source.glob("*_feat*.npy")), "_feat")
    graphs = _by_modality(sorted(source.glob("*_knn*.npz")), "_knn")
    # text before image before others, as tables name them
    names = sorted(vectors.keys() | graphs.keys(), key=lambda name: ({"text": 0, "image": 1}.get(name, 2), name))
    return [_Features(name, vectors.get(name), graphs.get(name)) for name in names]


def _by_modality(files: list[Path], mark: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = file.name.split(mark)[0]
        if name in found:
            raise UserError(f"{found[name].name} and {file.name} are both of the modality '{name}'; keep one of them")
        if not name.isidentifier():
            raise UserError(f"{file} does not begin with the name of a modality")
        found[name] = file
    return found


def _check(modality: _Features, items: pd.Series) -> None:
    """Every item must have its row: rows are found by item id."""
    for path in filter(None, (modality.vectors, modality.graph)):
        arrays = _load(path)
        n_rows = len(arrays[0])
        if n_rows <= items.max():
            raise UserError(f"{path} has {n_rows} rows, but items are numbered up to {items.max()}")
        for array in arrays:
            if array.ndim != 2 or array.dtype.kind not in "fiu" or len(array) != n_rows:
                raise UserError(f"{path} must hold 2-D arrays of numbers, one row an item")
            if array.dtype.kind == "f" and not np.isfinite(array.sum(dtype=np.float64)):
                bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
                raise UserError(f"{path} holds NaN or infinite numbers, first in row {bad}")
        if path is modality.graph and not (arrays[0].min() >= 0 and arrays[0].max() < n_rows):
            raise UserError(f"{path} names neighbours that are no items")


def _load(path: Path) -> list[np.ndarray]:
    try:
        if path.suffix == ".npy":
            return [np.load(path, mmap_mode="r", allow_pickle=False)]
        with np.load(path, allow_pickle=False) as archive:
            return [archive["idx"], archive["cos"]]
    except KeyError as error:
        raise UserError(f"{path} must hold the arrays idx and cos") from error
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged, or not an array of numbers") from error
    except Exception as error:  # zipfile and zlib have errors of their own for damaged archives
        raise UserError(f"{path} is damaged") from error


def _write(folder: Path, name: str, interactions: pd.DataFrame, modalities: list[_Features]) -> None:
    kept = [column for column in _OPTIONAL if column in interactions]
    columns = ["user_id:token", "item_id:token", *(_OPTIONAL[column] for column in kept)]
    for label, part in enumerate(PARTS):
        rows = interactions[interactions["x_label"] == label][["userID", "itemID", *kept]].astype(str)
        write_atomic(folder / f"{name}.{part}.inter", columns, map("\t".join, rows.itertuples(index=False)))
    for modality in modalities:
        n_rows = len(_load(modality.vectors or modality.graph)[0])  # type: ignore[arg-type]  # one of them is there
        write_atomic(folder / f"{name}.{modality.name}", ["item_id:token"], map(str, range(n_rows)))
        if modality.vectors:
            np.save(folder / f"{name}.{modality.name}.npy", _load(modality.vectors)[0], allow_pickle=False)
        if modality.graph:
            idx, cos = _load(modality.graph)
            np.savez(folder / f"{name}.{modality.name}.knn.npz", idx=idx.astype(np.int32), cos=cos.astype(np.float32))
    settings: dict[str, object] = {
        "benchmark_filename": list(PARTS),
        "mask_valid_at_test": False,
        "modalities": [modality.name for modality in modalities if modality.vectors],
        "item_graphs": [modality.name for modality in modalities if modality.graph],
    }
    if _derived(modalities):
        settings["data_note"] = "derived features"
    head = "# How this data set is meant to be read; applied over the package's settings and under config files.\n"
    text = head + yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8", newline="\n")


def _derived(modalities: list[_Features]) -> bool:
    return any(modality.vectors and "derived" in modality.vectors.name for modality in modalities)


def _files(modalities: list[_Features]) -> list[Path]:
    return [path for modality in modalities for path in (modality.vectors, modality.graph) if path]


def _card(name: str, interactions: pd.DataFrame, modalities: list[_Features], sources: list[Path]) -> str:
    users, items = interactions["userID"].nunique(), interactions["itemID"].nunique()
    counts = [int((interactions["x_label"] == label).sum()) for label in range(3)]
    without = items - interactions["itemID"][interactions["x_label"] == 0].nunique()
    lines = [
        f"# Data set `{name}`\n",
        "Imported from a folder in the layout of the MMRec toolbox, with the split that came with it.",
        "Its licence is that of its source.\n",
        "| | |\n|---|---|",
        f"| users | {users:,} |\n| items | {items:,} |",
        f"| train / validation / test interactions | {counts[0]:,} / {counts[1]:,} / {counts[2]:,} |",
        f"| density | {sum(counts) / users / items:.4%} |",
        f"| items in no train interaction | {without} |\n",
        "| modality | features | item graph |\n|---|---|---|",
    ]
    for modality in modalities:
        vectors = "none"
        if modality.vectors:
            array = _load(modality.vectors)[0]
            vectors = f"{array.shape[1]}-D {array.dtype}" + (" (derived)" if "derived" in modality.vectors.name else "")
        graph = f"{_load(modality.graph)[0].shape[1]} nearest items" if modality.graph else "none"
        lines.append(f"| {modality.name} | {vectors} | {graph} |")
    lines += ["\n## Sources\n", "| file | SHA-256 |\n|---|---|"]
    lines += [f"| `{path.name}` | `{sha256_of(path)}` |" for path in sources]
    return "\n".join(lines) + "\n"

"""RecBole's ``Dataset`` with modality features and item graphs, aligned with its items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_cadmr.data.atomic import read_header, read_table
from recbole_cadmr.data.feature_file import FeatureFile, read_features
from recbole_cadmr.data.graph import ItemGraph, align_graph, cached_nearest_items, read_graph
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError


class MultimodalDataset(Dataset):
    """Interactions through RecBole's atomic files, features through ``NAME.MODALITY`` (see ``data.feature_file``).

    Features are read by this class, not by RecBole: they are aligned by token once ids are remapped and items are
    filtered, so that an item without features is masked and a feature without interactions adds no item.
    """

    @property
    def modality_names(self) -> list[str]:
        """Modalities with features, in the order of the setting."""
        return list(self.config["modalities"] or [])

    @property
    def graph_names(self) -> list[str]:
        """Modalities with an item graph."""
        return list(self.config["item_graphs"] or [])

    def modality(self, name: str) -> Modality:
        """Features of one modality, read when first asked for.

        Raises:
            UserError: if its files are missing or do not fit.
        """
        if name not in self._modalities:
            self._modalities[name] = self._read_modality(name)
        return self._modalities[name]

    def modalities(self) -> dict[str, Modality]:
        """Features of all modalities by name."""
        return {name: self.modality(name) for name in self.modality_names}

    def item_graph(self, name: str) -> ItemGraph | None:
        """The item graph that came with a modality, or None."""
        if name not in self.graph_names:
            return None
        if name not in self._graphs:
            self._graphs[name] = self._read_graph(name)
        return self._graphs[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items by one modality: of the graph that came with it if it has as many."""
        graph = self.item_graph(name)
        if graph is None or graph.idx.shape[1] < min(k, int(self.modality(name).present.sum()) - 1):
            graph = cached_nearest_items(self.modality(name), k)
        return graph

    def feature_files(self) -> list[Path]:
        """The files that features and graphs are read from."""
        names = dict.fromkeys(self.modality_names + self.graph_names)
        files = [self._file(name, ending) for name in names for ending in ("", ".npy", ".knn.npz")]
        return [file for file in files if file.is_file()]

    # What RecBole's constructor calls.

    def _get_preset(self) -> None:
        super()._get_preset()
        # RecBole's copies of a data set (its train, validation and test parts) share these.
        self._modalities: dict[str, Modality] = {}
        self._graphs: dict[str, ItemGraph] = {}

    def _load_data(self, token: str, dataset_path: str) -> None:
        parts = self.benchmark_filename_list
        if parts and len(parts) != 3:
            raise UserError(f"benchmark_filename must name the train, validation and test part, not {parts}")
        for part in parts or [None]:
            file = Path(dataset_path) / (f"{token}.inter" if part is None else f"{token}.{part}.inter")
            if not file.is_file():
                raise UserError(f"there is no interaction file {file}; prepare the data set again")
        super()._load_data(token, dataset_path)
        self._check_interactions()

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        """RecBole's reading of an atomic file, but for tokens like ``NA`` or with quotes, which stay what they are."""
        load_col, unload_col = self._get_load_and_unload_col(source)
        if load_col == set():
            if source == FeatureSource.INTERACTION:
                raise UserError(f"load_col must name the columns of inter: {self.uid_field} and {self.iid_field}")
            return None
        path, separator, encoding = Path(filepath), self.config["field_separator"], self.config["encoding"] or "utf-8"
        types = _column_types(path, read_header(path, separator, encoding))
        used = {f: t for f, t in types.items() if (load_col is None or f in load_col) and f not in (unload_col or ())}
        ids = [field for field in (self.uid_field, self.iid_field) if field in used]
        if source == FeatureSource.INTERACTION:
            ids = [self.uid_field, self.iid_field]
        for field in ids:
            if used.get(field) != FeatureType.TOKEN:
                raise UserError(f"{path} must have a column {field}:token in its header")
        if not used:
            return None
        table = read_table(path, separator, encoding)
        table.columns = pd.Index(types)
        for field in ids:
            if (table[field] == "").any():
                raise UserError(f"{path} line {(table[field] == '').idxmax() + 2} is malformed: its {field} is empty")
        for field, kind in used.items():
            self.field2source[field], self.field2type[field] = source, kind
            if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                self.field2bucketnum[field] = 2
        return pd.DataFrame({f: self._values(path, table[f], kind) for f, kind in used.items()}).reset_index(drop=True)

    def _values(self, path: Path, text: pd.Series, kind: FeatureType) -> pd.Series:
        """A column of text as RecBole wants it; an empty field of an attribute is a missing value."""
        self.field2seqlen[text.name] = 1
        if kind == FeatureType.TOKEN:
            return text.where(text != "", np.nan)
        if kind == FeatureType.FLOAT:
            return _numbers(path, text)
        separator, longest = self.config["seq_separator"], (self.config["seq_len"] or {}).get(text.name)
        rows = text.map(lambda row: list(filter(None, row.split(separator)))[:longest])
        self.field2seqlen[text.name] = int(rows.map(len).max()) if len(rows) else 0
        if kind == FeatureType.FLOAT_SEQ:
            flat = _numbers(path, rows.explode().dropna())
            sizes = rows.map(len).cumsum().to_numpy()
            return pd.Series(np.split(flat.to_numpy(), sizes[:-1]) if len(rows) else [], rows.index, dtype=object)
        return rows.map(np.array)

    def _reset_index(self) -> None:
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                raise UserError(
                    f"filtering leaves nothing of {self.dataset_name}; loosen user_inter_num_interval, "
                    f"item_inter_num_interval or val_interval"
                )
        super()._reset_index()

    def _check_interactions(self) -> None:
        files = self.benchmark_filename_list
        n_train = self.file_size_list[0] if files else len(self.inter_feat)
        if not n_train:
            raise UserError(f"the train part of {self.dataset_name} is empty; prepare the data set again")
        pairs = self.inter_feat.duplicated([self.uid_field, self.iid_field]).sum()
        if pairs:
            self.logger.warning(f"{pairs} interactions of {self.dataset_name} repeat a user and an item")
        if files:
            users = self.inter_feat[self.uid_field]
            late = set(users[n_train:]) - set(users[:n_train])
            if late:
                plural = "user has" if len(late) == 1 else "users have"
                self.logger.warning(f"{len(late)} {plural} held-out interactions only; they are kept")

    def _preload_weight_matrix(self) -> None:
        super()._preload_weight_matrix()
        if self.config["model_is_multimodal"]:
            if not self.modality_names:
                raise UserError(
                    f"{self.config['model']} needs item features, but {self.dataset_name} names none; "
                    f"list them in the setting modalities, or choose a model without features"
                )
            self.modalities()

    # Features

    def _file(self, name: str, ending: str = "") -> Path:
        return Path(self.dataset_path) / f"{self.dataset_name}.{name}{ending}"

    def _item_ids(self, file: FeatureFile) -> np.ndarray:
        """Item id of each row of a feature file, 0 for items without interactions."""
        known = self.field2token_id[self.iid_field]
        return np.fromiter((known.get(token, 0) for token in file.tokens), dtype=np.int64, count=len(file.tokens))

    def _read_modality(self, name: str) -> Modality:
        file = read_features(self._file(name), name, self.iid_field)
        if file.rows is None:
            raise UserError(f"{file.path}.npy, the vectors of {file.path}, is missing")
        ids = self._item_ids(file)
        used = np.flatnonzero(ids)
        if not len(used):
            raise UserError(
                f"{file.path} names no item of {self.dataset_name}; its ids must be those of the .inter files"
            )
        features = torch.zeros(self.item_num, file.rows.shape[1])
        view, step = features.numpy(), max(1, 2**20 // file.rows.shape[1])
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused below
            for start in range(0, len(used), step):  # in blocks, so that no second copy is made
                rows = used[start : start + step]
                view[ids[rows]] = _mapped_anew(file.rows)[rows]
        # A sum is finite only if its terms are; one pass, no mask of the same size.
        if not np.isfinite(view.sum(dtype=np.float64)):
            bad = next(row for row in used if not np.isfinite(view[ids[row]]).all())
            raise UserError(
                f"the features of {file.path} hold NaN or infinite numbers, first for item '{file.tokens[bad]}'"
            )
        present = torch.zeros(self.item_num, dtype=torch.bool)
        present[torch.from_numpy(ids[used])] = True
        return Modality(name, features, present)

    def _read_graph(self, name: str) -> ItemGraph:
        file = read_features(self._file(name), name, self.iid_field)
        path = self._file(name, ".knn.npz")
        if not path.is_file():
            raise UserError(f"there is no item graph {path}; remove '{name}' from the setting item_graphs")
        idx, cos = map(torch.from_numpy, read_graph(path, len(file.tokens)))
        own = torch.from_numpy(self._item_ids(file))
        return align_graph(idx, cos, own, own.nonzero().squeeze(1), self.item_num)


def _mapped_anew(rows: np.ndarray) -> np.ndarray:
    """The same rows; the pages read through a mapping of their own are given back with it."""
    if isinstance(rows, np.memmap) and rows.filename:
        return np.load(rows.filename, mmap_mode="r", allow_pickle=False)
    return rows


def _column_types(path: Path, header: list[str]) -> dict[str, FeatureType]:
    """Type of each column of an atomic file by name."""
    columns = [name.split(":") for name in header]
    kinds = {kind.value: kind for kind in FeatureType}
    if not all(len(column) == 2 and column[1] in kinds for column in columns):
        raise UserError(f"{path} must have a header such as user_id:token, item_id:token, not {' '.join(header)!r}")
    return {name: kinds[kind] for name, kind in columns}


def _numbers(path: Path, text: pd.Series) -> pd.Series:
    """The numbers of a column of text, NaN where it is empty; its index says which line."""
    text = text.where(text != "", "nan")
    try:
        return text.astype(np.float64)
    except ValueError as error:
        wrong = pd.to_numeric(text, errors="coerce").isna() & (text.str.lower() != "nan")
        line, found = wrong.idxmax() + 2, text[wrong].iloc[0]
        raise UserError(f"{path} line {line} is malformed: {text.name} cannot be {found!r}") from error

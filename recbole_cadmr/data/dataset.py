"""RecBole's ``Dataset`` with modality features and item graphs, aligned with its items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_cadmr.data.feature_file import FeatureFile, read_features
from recbole_cadmr.data.graph import ItemGraph, align_graph
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
        for part in self.benchmark_filename_list or [None]:
            file = Path(dataset_path) / (f"{token}.inter" if part is None else f"{token}.{part}.inter")
            if not file.is_file():
                raise UserError(f"there is no interaction file {file}; prepare the data set again")
        super()._load_data(token, dataset_path)
        self._check_interactions()

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        """RecBole's reading of an atomic file, but for tokens like ``NA`` or with quotes, which stay what they are."""
        load_col, unload_col = self._get_load_and_unload_col(source)
        if load_col == set():
            return None
        columns = self._header(filepath)
        if any(kind in ("token_seq", "float_seq") for _, kind in columns):
            return super()._load_feat(filepath, source)
        used = [(f, k) for f, k in columns if (load_col is None or f in load_col) and f not in (unload_col or ())]
        if source == FeatureSource.INTERACTION:
            for field in (self.uid_field, self.iid_field):
                if field not in dict(used):
                    raise UserError(f"{filepath} must have a column {field}:token in its header")
        if not used:
            return None
        for field, kind in used:
            self.field2source[field] = source
            self.field2type[field] = FeatureType(kind)
            self.field2seqlen[field] = 1
            if kind == "float":
                self.field2bucketnum[field] = 2
        return self._read_table(filepath, [field for field, _ in columns])[[field for field, _ in used]].astype(
            {field: np.float64 for field, kind in used if kind == "float"}
        )

    def _header(self, filepath: str) -> list[tuple[str, str]]:
        try:
            with open(filepath, encoding=self.config["encoding"] or "utf-8-sig") as file:
                head = file.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{filepath} is not UTF-8 text") from error
        columns = [tuple(name.split(":")) for name in head.split(self.config["field_separator"])]
        kinds = {kind.value for kind in FeatureType}
        if not all(len(column) == 2 and column[1] in kinds for column in columns):
            raise UserError(f"{filepath} must begin with a header such as user_id:token, item_id:token, not {head!r}")
        return columns  # type: ignore[return-value]  # all are pairs, as checked

    def _read_table(self, filepath: str, columns: list[str]) -> pd.DataFrame:
        try:
            table = pd.read_csv(
                filepath,
                sep=self.config["field_separator"],
                header=0,
                dtype=str,
                keep_default_na=False,
                quoting=3,  # csv.QUOTE_NONE: a quote is a character like any other
                encoding=self.config["encoding"] or "utf-8-sig",
                on_bad_lines="error",
            )
        except pd.errors.ParserError as error:
            raise UserError(
                f"{filepath} is malformed: {str(error).removeprefix('Error tokenizing data. C error: ').strip()}"
            ) from error
        except (UnicodeDecodeError, ValueError) as error:
            raise UserError(f"{filepath} cannot be read: {error}") from error
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus first column for an index
            raise UserError(f"{filepath} line 2 is malformed: it must have {len(columns)} columns")
        table.columns = columns
        empty = table.isna() | (table == "")
        if empty.to_numpy().any():
            number = int(np.flatnonzero(empty.any(axis=1))[0]) + 2
            raise UserError(f"{filepath} line {number} is malformed: it must have {len(columns)} columns")
        return table

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
        view, step = features.numpy(), max(1, 2**22 // file.rows.shape[1])
        for start in range(0, len(used), step):  # in blocks, so that no second copy is made
            rows = used[start : start + step]
            view[ids[rows]] = file.rows[rows]
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
        try:
            with np.load(path, allow_pickle=False) as archive:
                idx, cos = archive["idx"], archive["cos"]
        except FileNotFoundError as error:
            raise UserError(f"there is no item graph {path}; remove '{name}' from the setting item_graphs") from error
        except (ValueError, KeyError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged or does not hold the arrays idx and cos") from error
        fits = idx.ndim == 2 and idx.shape == cos.shape and len(idx) == len(file.tokens) and idx.dtype.kind in "iu"
        if not fits or not np.isfinite(cos).all() or idx.min() < -1 or idx.max() >= len(file.tokens):
            raise UserError(f"{path} must hold idx and cos of {len(file.tokens)} rows, with rows of {file.path} in idx")
        own = torch.from_numpy(self._item_ids(file))
        idx, cos = torch.from_numpy(idx.astype(np.int64)), torch.from_numpy(cos.astype(np.float32))
        return align_graph(idx, cos, own, own.nonzero().squeeze(1), self.item_num)

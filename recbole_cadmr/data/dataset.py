"""RecBole's ``Dataset`` with modality features and item graphs, aligned with its items."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from recbole_cadmr.arrays import map_rows, missing_rows
from recbole_cadmr.data.controls import NOISE, changes, controlled, noise
from recbole_cadmr.data.feature_file import FeatureFile, read_features
from recbole_cadmr.data.graph import NEAREST, ItemGraph, align_graph, known_or_nearest, read_graph, with_items
from recbole_cadmr.data.interactions import InteractionDataset
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import cache_folder
from recbole_cadmr.memory import free_bytes

_MAPPED = 2**30  # bytes from which on a table of features is mapped


class MultimodalDataset(InteractionDataset):
    """Interactions as of :class:`InteractionDataset`, features through ``NAME.MODALITY`` (see ``data.feature_file``).

    Features are read by this class, not by RecBole: they are aligned by token once ids are remapped and items are
    filtered, so that an item without features is masked and a feature without interactions adds no item.
    """

    @classmethod
    def of(cls, dataset: Dataset, config: Any) -> MultimodalDataset:
        """A data set, or a part of one, as RecBole's own class has read and split it, with what this class has beside.

        Args:
            config: the settings by which features are read and models are measured.
        """
        own = cls.__new__(cls)
        own.__dict__.update(vars(dataset), config=config)
        own._set_up()
        return own

    @property
    def modality_names(self) -> list[str]:
        """Modalities with features, in the order of the setting."""
        return [*(self.config["modalities"] or []), *([NOISE] if NOISE in self._controls else [])]

    @property
    def _controls(self) -> Mapping[str, Any]:
        return self.config["content_controls"] or {}

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
            if name == NOISE and NOISE in self._controls:
                self._modalities[name] = noise(self._controls, self.item_num)
            else:
                modality = self._read_modality(name)
                is_content = name in self.modality_names  # a model may be asked about what it does not read
                self._modalities[name] = controlled(modality, self._controls) if is_content else modality
        return self._modalities[name]

    def modalities(self) -> dict[str, Modality]:
        """Features of all modalities by name."""
        return {name: self.modality(name) for name in self.modality_names}

    def item_graph(self, name: str) -> ItemGraph | None:
        """The item graph that came with a modality, or None; of vectors that controls have changed there is none."""
        if name not in self.graph_names or changes(self._controls, name):
            return None
        if name not in self._graphs:
            self._graphs[name] = self._read_graph(name)
        return self._graphs[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items by one modality: of the graph that came with it if it has as many."""
        return known_or_nearest(self.known_graph(name), self.modality(name), k)

    def known_graph(self, name: str) -> ItemGraph | None:
        """The item graph of a modality, with items that were added, or None if there is none without a search."""
        return self._extended_graphs[name] if name in self._extended_graphs else self.item_graph(name)

    def with_items(self, tokens: Sequence[str], modalities: Mapping[str, Modality], graphs: bool) -> MultimodalDataset:
        """The same with items that nobody has, numbered behind the others.

        Args:
            modalities: the features of all items, the new ones included.
            graphs: whether the graphs of nearest items are wanted, too.
        """
        extended = copy(self)
        ids = np.append(self.field2id_token[self.iid_field].astype(object), np.array(tokens, dtype=object))
        extended.field2id_token = {**self.field2id_token, self.iid_field: ids}
        numbers = dict(zip(tokens, range(self.item_num, len(ids))))
        extended.field2token_id = {
            **self.field2token_id,
            self.iid_field: {**self.field2token_id[self.iid_field], **numbers},
        }
        extended.new_item_count = self.new_item_count + len(tokens)
        extended.added_item_count = self.added_item_count + len(tokens)
        extended._modalities, extended._graphs = dict(modalities), {}
        extended._extended_graphs = {
            name: with_items(self.known_graph(name) or self.nearest_items(name, NEAREST), modalities[name])
            for name in (self.modality_names if graphs else ())
        }
        return extended

    def with_pairs(self, users: Sequence[str], user: np.ndarray, item: np.ndarray) -> MultimodalDataset:
        """The same with further users, and interactions of users and items by their numbers, after all others."""
        extended = copy(self)
        ids = np.append(self.field2id_token[self.uid_field].astype(object), np.array(users, dtype=object))
        extended.field2id_token = {**self.field2id_token, self.uid_field: ids}
        numbers = dict(zip(users, range(self.user_num, len(ids))))
        extended.field2token_id = {
            **self.field2token_id,
            self.uid_field: {**self.field2token_id[self.uid_field], **numbers},
        }
        new = {self.uid_field: user, self.iid_field: item}
        if self.time_field in self.inter_feat:
            new[self.time_field] = np.full(len(user), np.inf, np.float32)
        columns = {name: torch.cat([self.inter_feat[name], torch.from_numpy(ids)]) for name, ids in new.items()}
        extended.inter_feat = Interaction(columns)
        return extended

    def with_histories(self, histories: Sequences) -> MultimodalDataset:
        """The same, whose users are joined with what they have chosen before, as models of sequences read it."""
        extended = copy(self)
        extended._histories = histories
        return extended

    def join(self, df: Interaction) -> Interaction:
        """RecBole's: an interaction with what is known about its users and items, histories among it."""
        joined = super().join(df)
        if self._histories is not None and self.uid_field in joined:
            joined.update(self._histories.interaction(joined[self.uid_field], self.config))
        return joined

    def domains(self) -> torch.Tensor | None:
        """The domain of each item, 1 or 2 in the order of their names and 0 of the padding item; None without domains.

        Raises:
            UserError: if the column is not loaded, an item has no domain, or there are not two.
        """
        field = self.config["domain_field"]
        if field is None:
            return None
        if self.item_feat is None or field not in self.item_feat or self.field2type[field] != FeatureType.TOKEN:
            raise UserError(
                f"domain_field: no column {field}:token of {self.dataset_name}.item is loaded; name it in load_col"
            )
        codes = self.item_feat[field].numpy()
        if not codes[1:].all():
            token = self.id2token(self.iid_field, 1 + int(np.argmin(codes[1:])))
            raise UserError(f"domain_field: the item {token!r:.60} of {self.dataset_name} has no {field}")
        used, domain = np.unique(codes[1:], return_inverse=True)
        names = self.id2token(field, used)
        if len(used) != 2:
            raise UserError(f"domain_field: the items of {self.dataset_name} lie in {len(used)} domains, not in two")
        return torch.from_numpy(np.append(0, 1 + np.argsort(np.argsort(names))[domain]))

    def coverage(self) -> dict[str, dict[str, int]]:
        """Of each modality read so far: ``items`` that have it, ``of`` how many, and the ``width`` of a vector."""
        return {
            name: {"items": int(modality.present.sum()), "of": self.item_num - 1, "width": modality.width}
            for name, modality in self._modalities.items()
        }

    def feature_files(self) -> list[Path]:
        """The files that features and graphs are read from."""
        names = dict.fromkeys(self.modality_names + self.graph_names)
        files = [self._file(name, ending) for name in names for ending in ("", ".npy", ".knn.npz")]
        return [file for file in files if file.is_file()]

    # What RecBole's constructor calls.

    def _set_up(self) -> None:
        super()._set_up()
        # RecBole's copies of a data set (its train, validation and test parts) share these.
        self._modalities: dict[str, Modality] = {}
        self._graphs: dict[str, ItemGraph] = {}
        self._extended_graphs: dict[str, ItemGraph] = {}
        self._histories: Sequences | None = None

    def _preload_weight_matrix(self) -> None:
        super()._preload_weight_matrix()
        for setting, names in (("modalities", self.modality_names), ("item_graphs", self.graph_names)):
            if len(set(names)) < len(names):
                raise UserError(f"{setting} of {self.dataset_name} names one twice: {', '.join(names)}")
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

    def _read_features(self, name: str) -> FeatureFile:
        return read_features(self._file(name), name, self.iid_field)

    def _item_ids(self, file: FeatureFile) -> np.ndarray:
        """Item id of each row of a feature file, 0 for items without interactions."""
        ids = self.field2token_id[self.iid_field]
        return np.fromiter((ids.get(token, 0) for token in file.tokens), dtype=np.int64, count=len(file.tokens))

    def _read_modality(self, name: str) -> Modality:
        file = self._read_features(name)
        if file.rows is None:
            raise UserError(f"{file.path}.npy, the vectors of {file.path}, is missing")
        ids = self._item_ids(file)
        used = np.flatnonzero(ids)
        if not len(used):
            raise UserError(
                f"{file.path} names no item of {self.dataset_name}; its ids must be those of the .inter files"
            )
        width = file.rows.shape[1]
        (view, mapping), step = _table(file.path, self.item_num, width), max(1, 2**20 // width)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused below
            for start in range(0, len(used), step):  # in blocks, so that no second copy is made
                rows = used[start : start + step]
                view[ids[rows]] = _mapped_anew(file.rows)[rows]
        try:
            present = torch.from_numpy(~missing_rows(view))
        except ValueError as error:
            token = self.field2id_token[self.iid_field][error.args[0]]
            message = f"the features of {file.path} hold NaN or infinite numbers, first for item '{token}'"
            raise UserError(message) from error
        covered = int(present.sum())
        if not covered:
            raise UserError(f"the features of {file.path} are zeros for every item; remove '{name}' from modalities")
        if covered < len(used):
            zeros = len(used) - covered
            self.logger.warning(f"{zeros:,} items have a row of zeros in {file.path.name}: they lack {name}")
        if len(used) < len(ids):
            self.logger.info(f"{file.path.name} names {len(ids) - len(used):,} items that have no interaction")
        return Modality(name, torch.from_numpy(view), present, mapping)

    def _read_graph(self, name: str) -> ItemGraph:
        file = self._read_features(name)
        path = self._file(name, ".knn.npz")
        if not path.is_file():
            raise UserError(f"there is no item graph {path}; remove '{name}' from the setting item_graphs")
        idx, cos = map(torch.from_numpy, read_graph(path, len(file.tokens)))
        own = torch.from_numpy(self._item_ids(file))
        if file.rows is not None:  # an item whose vector is zeros is no neighbour, whatever the graph says
            own = torch.where(self.modality(name).present[own], own, 0)
        return align_graph(idx, cos, own, self.item_num)


def _table(path: Path, n_items: int, width: int) -> tuple[np.ndarray, mmap.mmap | None]:
    """float32 zeros [n_items, width] for the features of ``path``, and what maps them if they are large.

    A large table lies in a file without a name: where memory is short the system takes its pages back.

    Raises:
        UserError: if there is no room for it.
    """
    needed = 4 * n_items * width
    if needed >= _MAPPED:
        cache = cache_folder()
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache) as file:
                os.posix_fallocate(file.fileno(), 0, needed)  # a disk that is full later on would be a crash
                mapping = mmap.mmap(file.fileno(), needed)
                return np.frombuffer(mapping, np.float32).reshape(n_items, width), mapping
        except (OSError, AttributeError):  # no room, or a system that cannot reserve it: as a small one
            pass
    if needed > free_bytes():
        raise UserError(
            f"the {width:,}-D features of {path} need {needed:,} bytes, but {free_bytes():,} are free in memory"
        )
    return np.zeros((n_items, width), dtype=np.float32), None


def _mapped_anew(rows: np.ndarray) -> np.ndarray:
    """The same rows; the pages read through a mapping of their own are given back with it."""
    if isinstance(rows, np.memmap) and rows.filename:
        return map_rows(Path(rows.filename))
    return rows

"""Interactions filtered, put in order and split by the numbers and dates of their files, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType

from recbole_cadmr.data.atomic_dataset import AtomicDataset
from recbole_cadmr.data.exact import parse_intervals, within
from recbole_cadmr.errors import UserError, refusals_of


class InteractionDataset(AtomicDataset):
    """Interactions through RecBole's atomic files.

    Filters, the removal of repeated interactions and the order of time go by the numbers and dates of the file, not by
    the float32 they become in RecBole's tensors; rows of the same time keep the order of the file.
    """

    # Filtering

    def _data_filtering(self) -> None:
        self._left_out_by("rm_dup_inter", self._remove_duplication)
        self._left_out_by("val_interval", self._filter_by_field_value)
        self._left_out_by("filter_inter_by_user_or_item", self._filter_inter_by_user_or_item)
        self._left_out_by("user_inter_num_interval and item_inter_num_interval", self._filter_by_inter_num)
        self._rows = self.inter_feat.index
        self._reset_index()

    def _left_out_by(self, setting: str, step: Callable[[], None]) -> None:
        """Take a step, and log what it leaves out."""
        ids = [self.uid_field, self.iid_field]
        before = [len(self.inter_feat), *self.inter_feat[ids].nunique()]
        step()
        after = [len(self.inter_feat), *self.inter_feat[ids].nunique()]
        if after != before:
            rows, users, items = (f"{old - new:,} of {old:,}" for old, new in zip(before, after))
            self.logger.warning(
                f"{rows} interactions of {self.dataset_name}, {users} users and {items} items are left out by {setting}"
            )

    def _remove_duplication(self) -> None:
        keep = self.config["rm_dup_inter"]
        if keep is None:
            return
        rows = self.inter_feat
        if self.time_field in rows:
            rows = rows.loc[self._time_order(rows.index)]
        else:
            self.logger.warning(f"rm_dup_inter: no times are loaded, so that {keep} means {keep} in the file")
        self.inter_feat = rows.drop_duplicates([self.uid_field, self.iid_field], keep=keep)

    def _filter_by_field_value(self) -> None:
        for field, wanted in (self.config["val_interval"] or {}).items():
            for feat in self.field2feats(field):
                if self.field2type[field] == FeatureType.TOKEN:
                    kept = feat.index[feat[field].isin([str(token) for token in wanted])]
                else:
                    exact = feat[field].dropna()
                    if feat is self.inter_feat:
                        exact = self._exact[field]
                        exact = exact[exact.index.isin(feat.index)]
                    kept = exact.index[within(exact, parse_intervals(wanted))]
                feat.drop(index=feat.index.difference(kept), inplace=True)

    def _reset_index(self) -> None:
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                raise UserError(
                    f"filtering leaves nothing of {self.dataset_name}; loosen user_inter_num_interval, "
                    f"item_inter_num_interval or val_interval"
                )
        super()._reset_index()

    def _fill_nan(self) -> None:
        for name in self.feat_name_list:
            rows = getattr(self, name)
            if name != "inter_feat":
                rows = rows.iloc[1:]  # the first is the padding, of which nothing is known
            for field, missing in rows.isna().sum().items():
                if missing and self.field2type[field] == FeatureType.FLOAT:
                    where = f"{name.removesuffix('_feat')} of {self.dataset_name}"
                    self.logger.warning(f"{missing:,} missing values of {field} in {where} become the mean of others")
        super()._fill_nan()

    def pair_ids(self) -> torch.Tensor:
        """A number for the user and the item of each interaction, of tensors."""
        return self.inter_feat[self.uid_field] * self.item_num + self.inter_feat[self.iid_field]

    # Order and split

    def build(self) -> list[InteractionDataset]:
        """RecBole's parts of the set: train, validation, test."""
        with refusals_of("recbole", f"split {self.dataset_name} with these settings"):
            return super().build()

    def _time_order(self, rows: pd.Index) -> pd.Index:
        """The rows in the order of time, as they are written; of one time, in the order of the file.

        Raises:
            UserError: if no times are loaded, or some are missing.
        """
        if self.time_field not in self._exact:
            raise UserError(
                f"order TO goes by the times in the column {self.time_field} of {self.dataset_name}, which is not "
                f"loaded; name it in load_col, as in {{inter: [{self.uid_field}, {self.iid_field}, "
                f"{self.time_field}]}}, or name another column by TIME_FIELD"
            )
        rows, times = rows.sort_values(), self._exact[self.time_field]
        missing = rows.difference(times.index)
        if len(missing):
            raise UserError(
                f"{len(missing):,} of {len(rows):,} interactions of {self.dataset_name} have no {self.time_field}, the "
                f"first in line {self._lines[missing[0]]}; take these lines out, or leave {self.time_field} out of "
                f"load_col and choose another order than TO"
            )
        return times.loc[rows].sort_values(kind="stable").index

    def _change_feat_format(self) -> None:
        # RecBole sorts what has become float32; here the rows are in order before.
        if self._in_order_of_time:
            order = self._time_order(self._rows)
            self.inter_feat = self.inter_feat.iloc[self._rows.get_indexer(order)]
            self._rows = order
        super()._change_feat_format()

    def sort(self, by: Any, ascending: Any = True) -> None:
        """RecBole's, but for the order of time, which the rows are in already when ``build`` asks for it."""
        if not (self._in_order_of_time and by == self.time_field):
            super().sort(by, ascending)

    def time_based_split(self, ratios: Sequence[float], group_by: str) -> list[InteractionDataset]:
        """RecBole's split ``TS``: what is later than a moment for all is the test part, and of what is not, each user's
        first interactions are the train part; here by times as they are written, of rows that stand in their order.
        """
        train, valid, test = (ratio / sum(ratios) for ratio in ratios)
        times = self._exact[self.time_field].loc[self._rows]
        last = times.iloc[int((len(times) - 1) * (1 - test))]
        late = (times > last).to_numpy()
        parts: list[list[int]] = [[], [], np.flatnonzero(late).tolist()]
        for rows in self._grouped_index(self.inter_feat[group_by].numpy()):
            early = [row for row in rows if not late[row]]
            n_train = int(len(early) * (train / ((train + valid) or 1)))
            parts[0] += early[:n_train]
            parts[1] += early[n_train:]
        self._drop_unused_col()
        return [self.copy(self.inter_feat[rows]) for rows in parts]

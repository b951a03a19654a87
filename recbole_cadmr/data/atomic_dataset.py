"""RecBole's ``Dataset`` that reads atomic files as they stand, and says what it cannot read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_cadmr.data.atomic import read_header, read_table
from recbole_cadmr.data.exact import exact_dates, exact_numbers, numbers
from recbole_cadmr.data.text_columns import stacked
from recbole_cadmr.errors import UserError, did_you_mean, refusals_of


class AtomicDataset(Dataset):
    """Interactions and attributes out of RecBole's atomic files, by the settings of columns.

    Attributes:
        new_item_count: items without any interaction, which have the highest ids.
        added_item_count: those of them that came after training.
    """

    inter_feat: Any
    field2seqlen: dict[str, int]

    def _get_preset(self) -> None:
        super()._get_preset()
        self._set_up()

    def _set_up(self) -> None:
        """Set what this class has beside RecBole's."""
        self.new_item_count = self.added_item_count = 0
        self._exact: dict[str, pd.Series] = {}  # columns of interactions as they are written, by the row read
        self._rows = pd.RangeIndex(0)  # which of the rows read are left
        self._lines = pd.RangeIndex(0)  # the line of each row read

    def _from_scratch(self) -> None:
        with refusals_of("recbole", f"read {self.dataset_name} with these settings"):
            super()._from_scratch()

    @property
    def _in_order_of_time(self) -> bool:
        return not self.benchmark_filename_list and self.config["eval_args"]["order"] == "TO"

    def _load_data(self, token: str, dataset_path: str) -> None:
        parts = self.benchmark_filename_list
        if parts is not None and (len(parts) != 3 or len(set(parts)) < 3 or any("/" in part for part in parts)):
            raise UserError(
                f"benchmark_filename must name three files, of the train, validation and test part, not {parts}"
            )
        for part in parts or [None]:
            file = Path(dataset_path) / (f"{token}.inter" if part is None else f"{token}.{part}.inter")
            if not file.is_file():
                raise UserError(f"there is no interaction file {file}; prepare the data set again")
        for source in ("user", "item"):
            file = Path(dataset_path) / f"{token}.{source}"
            if source in (self.config["load_col"] or ()) and not file.is_file():
                raise UserError(f"load_col names columns of {source}, but there is no file {file}")
        super()._load_data(token, dataset_path)
        n_train = self.file_size_list[0] if parts else len(self.inter_feat)
        if not n_train:
            raise UserError(f"the train part of {self.dataset_name} is empty; prepare the data set again")
        self._check_columns()

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        """RecBole's, but that the ids of the parts are put together as categories, not as texts."""
        if self.benchmark_filename_list is None:
            super()._load_inter_feat(token, dataset_path)
            return
        parts: list[pd.DataFrame] = []
        longest: defaultdict[str, int] = defaultdict(int)
        for part in self.benchmark_filename_list:
            rows = self._load_feat(str(Path(dataset_path) / f"{token}.{part}.inter"), FeatureSource.INTERACTION)
            parts += [] if rows is None else [rows]
            longest.update({field: max(longest[field], length) for field, length in self.field2seqlen.items()})
        self.inter_feat, self.file_size_list = stacked(parts), [len(part) for part in parts]
        self.field2seqlen = longest

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        """RecBole's reading of an atomic file, but for tokens like ``NA`` or with quotes, which stay what they are."""
        load_col, unload_col = self._get_load_and_unload_col(source)
        if load_col == set():
            if source == FeatureSource.INTERACTION:
                raise UserError(f"load_col must name the columns of inter: {self.uid_field} and {self.iid_field}")
            return None
        path, separator, encoding = Path(filepath), self.config["field_separator"], self.config["encoding"] or "utf-8"
        header = read_header(path, separator, encoding)
        types = _column_types(path, header)
        for setting, names in (("load_col", load_col), ("unload_col", unload_col)):
            unknown = sorted(set(names or ()) - types.keys() - {self.uid_field, self.iid_field})
            if unknown:
                raise UserError(f"{setting}: {path} has no column {unknown[0]}{did_you_mean(unknown[0], types)}")
        used = {f: t for f, t in types.items() if (load_col is None or f in load_col) and f not in (unload_col or ())}
        ids = [self.uid_field, self.iid_field]
        if source != FeatureSource.INTERACTION:
            ids = [self.uid_field if source == FeatureSource.USER else self.iid_field]
        for field in ids:
            if used.get(field) != FeatureType.TOKEN:
                near = "" if field in types else did_you_mean(field, types)
                loaded = "" if field not in types or field in used else ", and load_col and unload_col must load it"
                raise UserError(f"{path} must have a column {field}:token in its header{loaded}{near}")
        tokens = [field for field, kind in used.items() if kind == FeatureType.TOKEN]
        names = dict(zip(types, header))
        many = map(names.get, tokens) if source == FeatureSource.INTERACTION else ()
        table = read_table(path, separator, encoding, [names[field] for field in used], [*many])
        table.columns = pd.Index(used)
        for field in ids:
            if (table[field] == "").any():
                raise UserError(f"{path} line {(table[field] == '').idxmax() + 2} is malformed: its {field} is empty")
            if (table[field] == "[PAD]").any():  # it would be the row of nobody
                line = (table[field] == "[PAD]").idxmax() + 2
                raise UserError(f"{path} line {line} is malformed: its {field} is [PAD], which RecBole fills gaps with")
        for field, kind in used.items():
            self.field2source[field], self.field2type[field] = source, kind
            if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                self.field2bucketnum[field] = 2
        if source == FeatureSource.INTERACTION:
            self._keep_exact(path, table, used)
        elif repeated := int(table.duplicated(ids).sum()):
            self.logger.warning(f"{path} names {repeated:,} {ids[0]} again; the first line of each counts")
        return pd.DataFrame({f: self._values(path, table[f], kind) for f, kind in used.items()}).reset_index(drop=True)

    def _keep_exact(self, path: Path, table: pd.DataFrame, used: dict[str, FeatureType]) -> None:
        """Keep what is compared later on as it is written."""
        if self.benchmark_filename_list:
            return  # a set that comes split is neither filtered nor put in order
        compared = {field for field in self.config["val_interval"] or () if used.get(field) == FeatureType.FLOAT}
        if self._in_order_of_time or self.config["rm_dup_inter"]:
            compared |= {self.time_field} & used.keys()
        for field in compared:
            if used[field] not in (FeatureType.FLOAT, FeatureType.TOKEN):
                raise UserError(f"{path}: {field} is of type {used[field].value}, so that there is no order of time")
            read = exact_numbers if used[field] == FeatureType.FLOAT else exact_dates
            exact = read(path, table[field].astype(object))
            self._exact[field] = exact.set_axis(table.index.get_indexer(exact.index))
        self._lines = table.index + 2

    def _values(self, path: Path, text: pd.Series, kind: FeatureType) -> pd.Series:
        """A column of text as RecBole wants it; an empty field of an attribute is a missing value."""
        self.field2seqlen[text.name] = 1
        if kind == FeatureType.TOKEN:
            missing = text == ""
            return text.where(~missing, np.nan) if missing.any() else text
        if kind == FeatureType.FLOAT:
            return numbers(path, text)
        separator, longest = self.config["seq_separator"], (self.config["seq_len"] or {}).get(text.name)
        rows = text.map(lambda row: list(filter(None, row.split(separator)))[:longest])
        self.field2seqlen[text.name] = int(rows.map(len).max()) if len(rows) else 0
        if kind == FeatureType.FLOAT_SEQ:
            flat = numbers(path, rows.explode().dropna())
            sizes = rows.map(len).cumsum().to_numpy()
            return pd.Series(np.split(flat.to_numpy(), sizes[:-1]) if len(rows) else [], rows.index, dtype=object)
        return rows.map(np.array)

    def _get_remap_list(self, field_list: Any) -> list[tuple[pd.DataFrame, str, FeatureType]]:
        """RecBole's, and behind it the items of the catalogue that no interaction names."""
        remap_list = super()._get_remap_list(field_list)
        if self.iid_field in field_list and self.config["new_items"]:
            known = set(self.inter_feat[self.iid_field].unique())
            new = [item for item in self._ids_of_item_file() if item not in known]
            self.new_item_count = len(new)
            if new:
                table = pd.DataFrame({self.iid_field: np.array(new, dtype=object)})
                remap_list.append((table, self.iid_field, FeatureType.TOKEN))
        return remap_list

    def _ids_of_item_file(self) -> list[str]:
        file = Path(self.dataset_path) / f"{self.dataset_name}.item"
        if not file.is_file():
            raise UserError(f"new_items: there is no file {file} that names them; prepare the data set again")
        column = f"{self.iid_field}:token"
        separator, encoding = self.config["field_separator"], self.config["encoding"] or "utf-8"
        if column not in read_header(file, separator, encoding):
            raise UserError(f"{file} must have a column {column} in its header")
        return list(dict.fromkeys(read_table(file, separator, encoding, [column])[column]))

    def _remap(self, remap_list: list[tuple[pd.DataFrame, str, FeatureType]]) -> None:
        """RecBole's numbers of tokens, by their first row; of categories it is told the distinct ones alone."""
        distinct, numbered = [], []
        for feat, field, kind in remap_list:
            if isinstance(feat[field].dtype, pd.CategoricalDtype):
                places, tokens = pd.factorize(feat[field])
                table = pd.DataFrame({field: tokens.astype(object)})
                distinct.append((feat, field, places, table))
                feat = table
            numbered.append((feat, field, kind))
        super()._remap(numbered)
        for feat, field, places, table in distinct:
            feat[field] = np.append(table[field].to_numpy(), 0)[places]  # -1, what is missing, becomes 0

    def _check_columns(self) -> None:
        """Refuse settings that name a column which is not there, or is of a type that they cannot mean."""
        sequences = (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ)
        tokens, floats = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ), (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
        for setting, kinds in (
            ("val_interval", (FeatureType.TOKEN, FeatureType.FLOAT)),
            ("seq_len", sequences),
            ("normalize_field", floats),
            ("alias_of_user_id", tokens),
            ("alias_of_item_id", tokens),
        ):
            for field in self.config[setting] or ():
                self._check_column(setting, field, kinds)
        for source, fields in (self.config["unused_col"] or {}).items():
            known = getattr(self, f"{source}_feat", None)
            for field in fields:
                if known is None or field not in known:
                    raise UserError(f"unused_col: no column {field} of {source} is loaded; load_col names what is")
                if field in (self.uid_field, self.iid_field):
                    raise UserError(f"unused_col: {field} is always used")

    def _check_column(self, setting: str, field: str, kinds: Sequence[FeatureType]) -> None:
        kind = self.field2type.get(field)
        if kind is None:
            near = did_you_mean(field, self.field2type)
            raise UserError(f"{setting}: no column {field} of {self.dataset_name} is loaded; name it in load_col{near}")
        if kind not in kinds:
            allowed = " or ".join(allowed.value for allowed in kinds)
            raise UserError(f"{setting}: {field} is of type {kind.value} in {self.dataset_name}, not {allowed}")
        values = (self.config[setting] or {}).get(field) if setting == "val_interval" else None
        if values is not None and isinstance(values, str) != (kind == FeatureType.FLOAT):
            wanted = "an interval such as '[3,inf)'" if kind == FeatureType.FLOAT else "a list of those to keep"
            raise UserError(f"val_interval: {field} is of type {kind.value}; give {wanted}, not {values!r:.60}")


def _column_types(path: Path, header: list[str]) -> dict[str, FeatureType]:
    """Type of each column of an atomic file by name."""
    columns = [name.split(":") for name in header]
    kinds = {kind.value: kind for kind in FeatureType}
    if not all(len(column) == 2 and column[1] in kinds for column in columns):
        found = " ".join(header)
        raise UserError(f"{path} must have a header such as user_id:token, item_id:token, not {found!r:.200}")
    return {name: kinds[kind] for name, kind in columns}

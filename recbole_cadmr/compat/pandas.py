"""What RecBole's ``Dataset`` does to tables in ways that pandas 3 has changed."""

from __future__ import annotations

import functools
import warnings
from types import ModuleType
from typing import Any

import numpy as np


def fill_missing_values() -> bool:
    """Let RecBole's ``Dataset`` fill in what is missing where its chained ``fillna(inplace=True)`` changes a copy.

    It does from pandas 3 on: missing tokens and numbers would stay NaN without an error, and missing sequences end with
    one. https://github.com/RUCAIBox/RecBole/pull/2187
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pd.DataFrame({"field": [np.nan]})
        frame["field"].fillna(0, inplace=True)
    if frame["field"].notna().all():
        return False
    from recbole.data.dataset import dataset as module
    from recbole.utils import FeatureType

    original = module.Dataset._fill_nan

    @functools.wraps(original)
    def fill_nan(dataset: Any) -> None:
        for name in dataset.feat_name_list:
            table = getattr(dataset, name)
            for field in table:
                if dataset.field2type[field] == FeatureType.TOKEN:
                    table[field] = table[field].fillna(0)
                elif dataset.field2type[field] == FeatureType.FLOAT:
                    table[field] = table[field].fillna(table[field].mean())
        original(dataset)  # sequences that a table lacks

    def read_csv(*arguments: Any, **options: Any) -> Any:
        table = pd.read_csv(*arguments, **options)
        sequences = [name for name in table if str(name).endswith("_seq")]
        table[sequences] = table[sequences].fillna("")
        return table

    module.Dataset._fill_nan = fill_nan
    module.pd = ModuleType("pandas")
    vars(module.pd).update(vars(pd), read_csv=read_csv)
    return True


def restore_elementwise_agg() -> bool:
    """Let ``agg(len)`` of RecBole's ``Dataset`` count what is in each sequence of a column.

    From pandas 3 on it counts the sequences. https://github.com/RUCAIBox/RecBole/pull/2187
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts_each = isinstance(pd.Series([[1, 2], [3]]).agg(len), pd.Series)
    if counts_each:
        return False
    from recbole.data.dataset import dataset as module

    def length(values: Any) -> Any:
        return values.map(len) if isinstance(values, pd.Series) and values.dtype == object else len(values)

    vars(module)["len"] = length
    return True

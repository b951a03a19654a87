"""What RecBole fills in and counts, whatever pandas does."""

from __future__ import annotations

import inspect
import logging
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from recbole.data.dataset import Dataset
from recbole.data.dataset import dataset as recbole_dataset
from recbole.utils import FeatureType

from recbole_cadmr.compat.pandas import fill_missing_values, restore_elementwise_agg


@pytest.fixture
def chained_fillna_does_nothing():
    """As from pandas 3 on; pandas 2 does so if it is told to."""
    if int(pd.__version__.partition(".")[0]) >= 3:
        yield
    else:
        with pd.option_context("mode.copy_on_write", True):
            yield


def test_missing_values_are_filled_where_pandas_changes_a_copy(monkeypatch, chained_fillna_does_nothing, tmp_path):
    monkeypatch.setattr(Dataset, "_fill_nan", inspect.unwrap(Dataset._fill_nan))
    monkeypatch.setattr(recbole_dataset, "pd", pd)
    people = pd.DataFrame({"country": [np.nan, 3.0, np.nan], "age": [np.nan, 20.0, 40.0], "words": [np.nan, [1], [2]]})
    kinds = {"country": FeatureType.TOKEN, "age": FeatureType.FLOAT, "words": FeatureType.TOKEN_SEQ}
    dataset = SimpleNamespace(
        feat_name_list=["user_feat"], user_feat=people, field2type=kinds, logger=logging.getLogger("recbole")
    )
    assert fill_missing_values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Dataset._fill_nan(dataset)
    assert people["country"].tolist() == [0, 3, 0]
    assert people["age"].tolist() == [30, 20, 40]
    assert [list(words) for words in people["words"]] == [[], [1], [2]]
    (tmp_path / "items").write_text("item_id:token\twords:token_seq\na\tred blue\nb\t\n")
    items = recbole_dataset.pd.read_csv(tmp_path / "items", delimiter="\t")
    assert items["words:token_seq"].tolist() == ["red blue", ""]


@pytest.mark.skipif(int(pd.__version__.partition(".")[0]) >= 3, reason="chained fillna does nothing in this pandas")
def test_a_chained_fillna_that_works_is_left_alone(monkeypatch):
    own = inspect.unwrap(Dataset._fill_nan)
    monkeypatch.setattr(Dataset, "_fill_nan", own)
    assert not fill_missing_values()
    assert Dataset._fill_nan is own


def test_sequences_of_a_column_are_counted_one_by_one(monkeypatch):
    monkeypatch.setattr(recbole_dataset, "len", len, raising=False)
    restore_elementwise_agg()
    length = vars(recbole_dataset)["len"]
    assert pd.Series([[1, 2], [], [3]]).agg(length).tolist() == [2, 0, 1]
    assert length(pd.Series([True, False])) == 2 and length([1, 2, 3]) == 3

"""Departures from the protocol against counting by hand, and what a model is measured on that was trained on a leak."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.topk_lists import rank_test
from recbole_cadmr.study import departures
from recbole_cadmr.study.altered_data import altered, has_times
from recbole_cadmr.study.departures import Ranking, measure, measure_in_good_faith, metrics_of, on_parts_of
from recbole_cadmr.study.plan import Departure
from tests.micro import open_micro, write_micro


@pytest.fixture
def session(tmp_path):
    """A model whose scores are the same for all users: a 4, b 3, c 2, d 1."""
    session = open_micro(write_micro(tmp_path), "EASE", topk=[2], metrics=["Recall", "NDCG"])
    scores = torch.tensor([0.0, 4.0, 3.0, 2.0, 1.0])
    session.model.full_sort_predict = lambda interaction: scores.expand(len(interaction), -1).clone()
    return session


def test_the_protocol_is_that_of_a_run(session):
    measured = on_parts_of(session, session.config.data_folder, "micro")
    assert measured == pytest.approx(rank_test(session, 2)[0])


def test_parts_are_read_in_the_encoding_of_the_data_set(tmp_path):
    write_micro(tmp_path)
    for file in tmp_path.glob("micro/*.inter"):
        file.write_text(file.read_text().replace("dot", "dôt"), encoding="latin-1")
    session = open_micro(tmp_path, "EASE", topk=[2], metrics=["Recall"], encoding="latin-1")
    assert on_parts_of(session, session.config.data_folder, "micro") == pytest.approx(rank_test(session, 2)[0])


def test_the_protocol_leaves_validation_items_out_where_a_set_says_so(tmp_path):
    session = open_micro(write_micro(tmp_path), "EASE", topk=[2], metrics=["Recall"], mask_valid_at_test=True)
    assert "validation items left out, too" not in measure_in_good_faith(session)
    left_out = []
    places = departures._places
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(departures, "_places", lambda matrix, users: left_out.append(matrix) or places(matrix, users))
        on_parts_of(session, session.config.data_folder, "micro")
    assert {matrix.nnz for matrix in left_out} == {10}  # 8 train and 2 validation interactions


def test_known_answers(session):
    # Test: dot b, dot c (train d); eve a (no train). Train: ann ab, bob bc, cid acd; validation: ann c, bob a.
    by_departure = {name: figures["recall@2"] for name, figures in measure(session).items() if figures}
    assert by_departure["train items not left out"] == pytest.approx((0.5 + 1) / 2)  # dot: a, b; eve: a, b
    # Lists a, b of all; ann ab: 1, bob bc: 1/2, cid acd: 1/3, dot dbc: 1/3, eve a: 1.
    assert by_departure["train items count as hits"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 3 + 1) / 5)
    assert by_departure["validation items left out, too"] == pytest.approx((0.5 + 1) / 2)
    there = {name: bool(figures) for name, figures in measure_in_good_faith(session).items()}
    assert there.pop("validation items left out, too")
    # Of four items there are not 99 left, and no user has so many.
    assert len(there) == 5 and not any(there.values())


def test_sampled_items_are_those_of_no_part(session):
    # Ranked against one of the items that dot has in no part, which is a (above b and c), and one of eve's b, c, d.
    parts = (data._dataset for data in (session.train_data, session.valid_data, session.test_data))
    train, valid, test = (part.inter_matrix(form="csr").astype(bool) for part in parts)
    measured = metrics_of(session, Ranking(train, test, sampled=1), train + valid + test)
    assert measured["recall@2"] == pytest.approx((0.5 + 1) / 2)  # dot: a, b; eve: a first
    everybody = np.ones(test.shape[0], bool)
    everybody[int(np.flatnonzero(np.diff(test.indptr))[0])] = False
    alone = metrics_of(session, Ranking(train, test, users=everybody), train + valid + test)
    assert alone["recall@2"] == 1.0  # eve


def test_rows_that_hold_test_items_are_scored_in_place_of_the_users_own(tmp_path):
    session = open_micro(write_micro(tmp_path), "LinearCADMR", topk=[2], metrics=["Recall"], adaptive_fits=1)
    rows = []
    score = session.model.score_rows
    session.model.score_rows = lambda dense: (rows.append(dense.numpy().copy()), score(dense))[1]
    measured = measure(session)
    assert "validation and test items in the row" in measured
    of_test_users = np.concatenate(rows[-1:])  # dot: b, c, d; eve: a
    assert of_test_users.tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert sp.csr_matrix(rows[0]).nnz == 1  # validation items alone: dot d, eve nothing


def test_altered_parts(tmp_path):
    write_micro(tmp_path / "dataset")
    source = Config(
        "EASE", "micro", settings={"data_path": str(tmp_path / "dataset"), "topk": [2], "valid_metric": "Recall@2"}
    )
    name = altered(source, Departure("best epoch on test", parts={"valid": ["test"]}), tmp_path / "data")
    folder = tmp_path / "data" / name
    read = {file.name.removeprefix(name): file.read_text().splitlines() for file in folder.glob("*.inter")}
    assert read[".valid.inter"] == read[".test.inter"] == ["user_id:token\titem_id:token", "dot\tb", "dot\tc", "eve\ta"]
    assert len(read[".train.inter"]) == 9
    assert "data_note: 'micro altered for a study: best epoch on test'" in (folder / f"{name}.yaml").read_text()
    assert (folder / f"{name}.text.npy").read_bytes() == (tmp_path / "dataset/micro/micro.text.npy").read_bytes()

    joined = altered(source, Departure("random split", whole=True), tmp_path / "data")
    rows = (tmp_path / "data" / joined / f"{joined}.inter").read_text().splitlines()
    assert len(rows) == 1 + 8 + 2 + 3 and rows[1] == "ann\ta" and rows[-1] == "eve\ta"
    assert "benchmark_filename" not in (tmp_path / "data" / joined / f"{joined}.yaml").read_text()
    assert not has_times(source)

    parts = {part: tmp_path / f"dataset/micro/micro.{part}.inter" for part in ("train", "test")}
    parts["test"].write_text("item_id:token\tuser_id:token\na\tdot\n")
    with pytest.raises(UserError, match=r"micro.test.inter has other columns than .*micro.train.inter"):
        altered(source, Departure("all", parts={"train": ["train", "test"]}), tmp_path / "data")

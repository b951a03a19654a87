"""Embeddings of users and items for other programs: their inner products are the model's scores."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from tests.micro import PAIRS, TRAIN, write_micro


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoints by model; nobody has b in the train part."""
    place = tmp_path_factory.mktemp("embeddings")
    train = [row for row in TRAIN if not row.endswith("b") and row != "cid d"]
    write_micro(place / "dataset", train=train)
    settings = {**PAIRS, "data_path": str(place / "dataset"), "epochs": 2}

    def train_model(name):
        if not (place / name).exists():
            recbole_cadmr.train(name, "micro", output=place / name, settings=settings)
        return place / name / "model.pt"

    return train_model


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "VBPR", "MultiVAE"])
def test_their_inner_products_are_the_scores(trained, model, tmp_path):
    assert main(["export-embeddings", f"--checkpoint={trained(model)}", f"--output={tmp_path / 'out'}"]) == 0
    users, items = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("users", "items"))
    ids = [json.loads((tmp_path / "out" / f"{name}_ids.json").read_text()) for name in ("user", "item")]
    bias = tmp_path / "out" / "item_bias.npy"
    scores = users @ items.T + (np.load(bias) if bias.exists() else 0)
    card = json.loads((tmp_path / "out" / "embeddings.json").read_text())
    assert ("+ item_bias" in card["score"]) == bias.exists() and card["width"] == users.shape[1]
    lists = recbole_cadmr.load(trained(model)).recommend(leave_out="none", topk=4, popular=False)
    for row in lists.itertuples():
        assert scores[ids[0].index(row.user_id), ids[1].index(row.item_id)] == pytest.approx(row.score, rel=1e-4)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "items.parquet")
    assert table["item_id"].to_pylist() == ids[1] and sorted(ids[1]) == ["a", "b", "c", "d"]
    assert np.allclose(np.array(table["vector"].to_pylist()), items)
    assert dict(zip(ids[1], table["train_interactions"].to_pylist())) == {"a": 2, "b": 0, "c": 2, "d": 1}
    assert pyarrow.parquet.read_table(tmp_path / "out" / "users.parquet")["user_id"].to_pylist() == ids[0]


def test_cold_items_are_counted_and_it_is_said_what_their_vectors_are(trained, tmp_path, capsys):
    for model, words in (("BPR", "as training began"), ("VBPR", "from their content")):
        arguments = ["export-embeddings", f"--checkpoint={trained(model)}", f"--output={tmp_path / model}"]
        assert main(arguments) == 0
        assert f"1 items without train interactions have vectors, too: {words}" in capsys.readouterr().out
    assert main(arguments) == 2 and "is already there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("LinearCADMR", "LinearCADMR scores by weights of items by items, which are no embeddings"),
        ("EASE", "EASE scores by weights of items by items, which are no embeddings"),
        ("Pop", "Pop has no embeddings to export"),
    ],
)
def test_weights_are_no_embeddings(trained, model, message, tmp_path):
    with pytest.raises(UserError, match=message):
        recbole_cadmr.load(trained(model)).export_embeddings(tmp_path / "out")
    assert not (tmp_path / "out").exists()

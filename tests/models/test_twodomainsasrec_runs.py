"""TwoDomainSASRec from end to end: no leak, the same again, whole runs, beside other models."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr import load, train
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.layers.alignment import isotropic
from recbole_cadmr.runs.evaluate import evaluate
from recbole_cadmr.runs.session import Session
from recbole_cadmr.runs.topk_lists import read_lists
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.callbacks import TrainingCallback
from tests.cells import no_processes
from tests.models.conformance import Cut
from tests.models.test_devices import check_alike
from tests.models.two_domains import GCA, SMALL, opened, write_two


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two(tmp_path_factory.mktemp("cross_domain"))


def changed_held_out(data: Path, folder: Path) -> Path:
    """A copy in which the held-out items are those of other users of the same part."""
    shutil.copytree(data, folder)
    for part in ("valid", "test"):
        file = folder / "two" / f"two.{part}.inter"
        table = pd.read_csv(file, sep="\t", dtype=str)
        table["item_id:token"] = np.roll(table["item_id:token"], 1)
        table.to_csv(file, sep="\t", index=False)
    return folder


def scores_by_token(session: Session) -> pd.DataFrame:
    """Scores of all users after training, by tokens, given their train histories."""
    session.trainer.fit(session.train_data, session.valid_data)
    users = torch.arange(1, session.dataset.user_num)
    model = session.model.eval()
    batch = {"user_id": users, "item_id_list": model.train_items[users], "item_length": model.train_length[users]}
    with torch.no_grad():
        scores = model.full_sort_predict(Interaction(batch))[:, 1:].numpy()
    tokens = [session.dataset.field2id_token[field][1:] for field in ("user_id", "item_id")]
    return pd.DataFrame(scores, *tokens).sort_index().sort_index(axis=1)


def test_held_out_items_have_no_part_in_training_or_scores(data, tmp_path):
    settings = {**GCA, "learning_rate_schedule": "constant"}
    one = scores_by_token(opened(data, **settings))
    other = scores_by_token(opened(changed_held_out(data, tmp_path / "changed"), **settings))
    assert len(one) == 60 and one.to_numpy().std() > 0
    pd.testing.assert_frame_equal(one, other, rtol=0, atol=0)


# What tests/models/conformance.py asks of models of other data


def test_the_same_seed_gives_the_same_model(data):
    settings = {**GCA, "dropout": 0.2}
    one, same, other = (scores_by_token(opened(data, **settings, seed=seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same, rtol=0, atol=0)
    assert not np.allclose(one, other)


def test_every_parameter_gets_a_gradient(data):
    session = opened(data, **{**GCA, "gca_positions": "stack", "gca_feed_forward": 2}, train_batch_size=60)
    model = session.model.train()
    (batch,) = session.train_data
    model.calculate_loss(batch).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # A softmax does not see what is added to all of its logits.
    assert silent <= {f"encoders.{s}.layer.0.multi_head_attention.key.bias" for s in ("merged", "A", "B")}


def test_a_cut_training_goes_on_as_if_it_had_not_been(data, tmp_path):
    settings = {**SMALL, **GCA, "dropout": 0.2, "epochs": 3, "data_path": str(data), "resume_step": 1}

    class Cutter(TrainingCallback):
        def on_epoch_start(self, trainer, epoch):
            if epoch == 2:
                raise Cut

    whole = train("TwoDomainSASRec", "two", output=tmp_path / "whole", settings=settings)
    with pytest.raises(Cut):
        train("TwoDomainSASRec", "two", output=tmp_path / "cut", settings=settings, callbacks=[Cutter()])
    cut = resume(tmp_path / "cut", data_path=data)

    def without_seconds(done):
        return [{name: value for name, value in entry.items() if name != "seconds"} for entry in done.result["history"]]

    assert without_seconds(cut) == without_seconds(whole) and len(without_seconds(cut)) == 3
    assert cut.result["test_result"] == whole.result["test_result"]


def test_a_brief_training_is_far_better_than_popularity(data):
    popular = opened(data, "Pop")
    popular.trainer.fit(popular.train_data, popular.valid_data)
    floor = popular.trainer.history[-1]["valid_result"]["ndcg_ab@10"]
    session = opened(data, **GCA, epochs=12, eval_step=4)
    session.trainer.fit(session.train_data, session.valid_data)
    assert max(entry["valid_score"] for entry in session.trainer.history) > 1.3 * floor > 0


def test_on_a_gpu_all_comes_to_what_the_cpu_has(data):
    brief = {**SMALL, **GCA, "gca_positions": "stack", "gca_source": "shuffled", "epochs": 1, "train_batch_size": 60}
    check_alike(lambda: Config("TwoDomainSASRec", "two", settings={**brief, "data_path": str(data)}))


def test_histories_of_the_parts(data):
    session = opened(data)
    parts = [loader._dataset for loader in (session.train_data, session.valid_data, session.test_data)]
    items_of = [dict(zip(p.inter_feat["user_id"].tolist(), p.inter_feat["item_id"].tolist())) for p in parts]
    valid, test = (loader.user_df for loader in (session.valid_data, session.test_data))
    for row, user in enumerate(test["user_id"].tolist()):
        length = int(test["item_length"][row])
        history = test["item_id_list"][row].tolist()
        assert history[length - 1] == items_of[1][user] and history[length:] == [0] * (50 - length)
        assert items_of[2][user] not in history
        assert history[: length - 1] == valid["item_id_list"][row].tolist()[: length - 1]
        assert int(valid["item_length"][row]) == length - 1


def test_a_run_its_lists_evaluation_and_recommendations(data, tmp_path):
    settings = {**SMALL, **GCA, "data_path": str(data), "save_lists": True}
    done = train("TwoDomainSASRec", "two", output=tmp_path / "run", settings=settings)
    entries = done.result["history"]
    for entry in entries:
        result = entry["valid_result"]
        assert entry["valid_score"] == result["ndcg_ab@10"]
        assert result["ndcg_ab@10"] == pytest.approx((result["ndcg_a@10"] + result["ndcg_b@10"]) / 2)
        figures = entry["diagnostics"]
        assert figures["isotropic"] == pytest.approx(isotropic(8))
        for place in ("A0", "B0"):
            assert 0 < figures[f"abs_cos_{place}"] < 1 and 0 < figures[f"permuted_{place}"] < 1
            assert figures[f"untrained_gate_{place}"] == pytest.approx(np.tanh(0.5))
            assert figures[f"untrained_abs_cos_{place}"] == entries[0]["diagnostics"][f"untrained_abs_cos_{place}"]
            assert figures[f"gate_{place}"] != figures[f"untrained_gate_{place}"]
    assert done.result["protocol"]["candidates"] == "items of the target's domain"
    # Lists hold items of the held-out one's domain alone, and give the metrics.
    lists = read_lists(done.folder / "test_lists.npz")
    session = opened(data)
    domain = session.dataset.domains().numpy()
    target = domain[lists.held_item]
    assert (domain[lists.top] == target[:, None]).all() and set(target) == {1, 2}
    place = (lists.top == lists.held_item[:, None]).argmax(1)
    hit = (lists.top == lists.held_item[:, None]).any(1)
    value = np.where(hit, 1 / np.log2(place + 2), 0)
    for name, number in (("a", 1), ("b", 2)):
        assert done.result["test_result"][f"ndcg_{name}@10"] == pytest.approx(value[target == number].mean())
    again = evaluate(done.checkpoint, data_path=data, metrics=["NDCG", "NDCG_AB", "NDCG999_AB"], topk=[10])["result"]
    assert again["ndcg_ab@10"] == done.result["test_result"]["ndcg_ab@10"]
    # The domains have fewer than 999 others, so that all of them are drawn.
    assert again["ndcg999_ab@10"] == pytest.approx(again["ndcg_ab@10"], abs=1e-9)
    recommender = load(done.checkpoint, data_path=data)
    table = recommender.recommend(users=["3", "4"], topk=5, leave_out="train+valid")
    assert len(table) == 10
    user = session.dataset.field2token_id["user_id"]["3"]
    items = {session.dataset.field2token_id["item_id"][item] for item in table[table["user_id"] == "3"]["item_id"]}
    row = session.test_data.uid_list.tolist().index(user)
    assert not items & set(session.test_data.user_df["item_id_list"][row].tolist())
    told = recommender.recommend(users=["3"], topk=5, leave_out="train")
    assert not np.allclose(told["score"], table["score"][:5])  # the validation item is part of the history


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec"])
def test_recboles_models_of_sequences(data, tmp_path, model):
    small = {"hidden_size": 8, "train_batch_size": 512, "MAX_ITEM_LIST_LENGTH": 20}
    small |= {"embedding_size": 8} if model == "GRU4Rec" else {"inner_size": 8, "n_layers": 1, "n_heads": 1}
    settings = {**small, "epochs": 1, "topk": [10], "show_progress": False, "data_path": str(data)}
    done = train(model, "two", output=tmp_path / "run", settings=settings)
    test = done.result["test_result"]
    assert test["ndcg_ab@10"] == pytest.approx((test["ndcg_a@10"] + test["ndcg_b@10"]) / 2) and test["ndcg@10"] > 0
    again = evaluate(done.checkpoint, data_path=data)["result"]
    assert again == test
    assert len(load(done.checkpoint, data_path=data).recommend(users=["1"], topk=3)) == 3


def test_a_benchmark_beside_models_without_an_order(tmp_path):
    models = ["--models", "TwoDomainSASRec,Pop", "--datasets", "two_domains", "--seeds", "1"]
    settings = ["--embedding_size=8", "--epochs=1", "--topk=[5,10]", "--threads=1"]
    with no_processes():
        assert main(["benchmark", *models, "--output", str(tmp_path / "out"), *settings]) == 0
    results = pd.read_csv(tmp_path / "out" / "results.csv", keep_default_na=False)
    of_all = results.set_index(["model", "figure"])["value"].astype(float)
    for model in ("TwoDomainSASRec", "Pop"):
        mean = (of_all[model, "ndcg_a@10"] + of_all[model, "ndcg_b@10"]) / 2
        assert of_all[model, "ndcg_ab@10"] == pytest.approx(mean) and mean > 0
    assert "| model | recall@10 | ndcg@10 | ndcg_a@10 | ndcg_b@10 |" in (tmp_path / "out" / "table.md").read_text()

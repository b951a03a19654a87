"""Checkpoints of RecBole's, written by real runs of RecBole's: read where they are trusted, and there alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from recbole.utils.case_study import full_sort_topk

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from tests.micro import write_drawn, write_micro

ROWS = [f"u{u} i{(u * 7 + n * n) % 17} {n}" for u in range(20) for n in range(7)]
SETTINGS = {
    "topk": [3, 5], "valid_metric": "Recall@5", "metrics": ["Recall", "NDCG"], "show_progress": False, "epochs": 2,
    "metric_decimal_place": 12, "embedding_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_drawn(tmp_path_factory.mktemp("data"), ROWS, "user_id:token item_id:token timestamp:float")


@pytest.fixture(scope="module", params=["BPR", "EASE"])
def trained(request, data, tmp_path_factory):
    """A checkpoint, RecBole's own test metrics, and its best items of two users."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # it writes log_tensorboard
        patch.setattr("sys.argv", ["pytest"])
        settings = {**SETTINGS, "data_path": str(data), "checkpoint_dir": str(folder)}
        config = Config(model=request.param, dataset="drawn", config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train, valid, test = data_preparation(config, dataset)
        model = get_model(request.param)(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], request.param)(config, model)
        trainer.fit(train, valid)
        state = torch.load(trainer.saved_model_file, weights_only=False)  # of the best epoch
        model.load_state_dict(state["state_dict"])
        model.load_other_parameter(state["other_parameter"])
        result = trainer.evaluate(test, load_best_model=False)
        best = full_sort_topk(dataset.token2id("user_id", ["u3", "u1"]), model, test, k=3)[1].numpy()
    return Path(trainer.saved_model_file), dict(result), dataset.id2token("item_id", best).ravel().tolist()


def test_a_trusted_checkpoint_is_measured_and_recommends_as_in_recbole(trained):
    file, result, best = trained
    measured = recbole_cadmr.evaluate(file, trust_checkpoint=True)
    assert measured["result"] == pytest.approx(result, abs=1e-11)
    assert measured["protocol"]["mask_valid_at_test"] is True
    recommender = recbole_cadmr.load(file, trust_checkpoint=True)
    assert recommender.recommend(["u3", "u1"], topk=3, leave_out="train+valid")["item_id"].tolist() == best
    assert not set(recommender.recommend(["u3"], topk=9)["item_id"]) & set(recommender.history("u3"))
    assert recommender.session.config.final_config_dict.get("embedding_size", 8) == 8  # EASE has none


def test_other_metrics_and_parts_of_a_trusted_checkpoint(trained):
    file, result, _ = trained
    other = recbole_cadmr.evaluate(file, topk=[3], metrics=["NDCG"], trust_checkpoint=True)["result"]
    assert other == {"ndcg@3": pytest.approx(result["ndcg@3"], abs=1e-11)}
    assert recbole_cadmr.evaluate(file, part="valid", trust_checkpoint=True)["result"].keys() == result.keys()


def test_the_commands_want_to_be_told_that_it_is_trusted(trained, tmp_path, capsys):
    file, result, best = trained
    (tmp_path / "users").write_text("u3\nu1\n")
    lists = ["recommend", "--checkpoint", str(file), f"--output={tmp_path / 'lists.csv'}", "--topk=3",
             "--leave_out=train+valid", f"--users={tmp_path / 'users'}"]  # fmt: skip
    for command in (["evaluate", "--checkpoint", str(file)], lists):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "is a checkpoint of RecBole's, a pickle, which can run code when it is read" in error
        assert "with --trust_checkpoint" in error
    assert not (tmp_path / "lists.csv").exists()
    assert main(["evaluate", "--checkpoint", str(file), "--trust_checkpoint", f"--output={tmp_path / 'e.json'}"]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["result"] == pytest.approx(result, abs=1e-11)
    assert main([*lists, "--trust-checkpoint"]) == 0
    assert pd.read_csv(tmp_path / "lists.csv")["item_id"].tolist() == best
    assert main([*lists, "--trust_checkpoint", "--ray-address=local", "--overwrite"]) == 2
    assert "--trust_checkpoint is for this machine" in capsys.readouterr().err


def test_a_checkpoint_of_ours_is_never_read_as_a_pickle(data, tmp_path, monkeypatch):
    settings = {**SETTINGS, "data_path": str(data), "metric_decimal_place": 16}
    run = recbole_cadmr.train("BPR", "drawn", output=tmp_path / "run", settings=settings)
    monkeypatch.setattr("recbole_cadmr.runs.recbole_checkpoint._read", lambda _: pytest.fail("read as a pickle"))
    assert recbole_cadmr.evaluate(run.checkpoint, trust_checkpoint=True)["result"] == run.result["test_result"]


class Evil:
    """Writes a file when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("written"),)


@pytest.mark.parametrize("named", ["", "recbole.config"])
def test_nothing_in_a_pickle_runs_unless_it_is_trusted(named, tmp_path):
    torch.save({"state_dict": {}, "of": named, "config": Evil()}, tmp_path / "evil.pth", pickle_protocol=4)
    with pytest.raises(UserError, match="which can run code when it is read" if named else "code, which is never run"):
        recbole_cadmr.evaluate(tmp_path / "evil.pth")
    if not named:  # nothing says that it is RecBole's
        with pytest.raises(UserError, match="code, which is never run"):
            recbole_cadmr.evaluate(tmp_path / "evil.pth", trust_checkpoint=True)
    assert not Path("written").exists()


def stored(file: Path, **changes: object) -> Path:
    content = torch.load(file, weights_only=False)
    torch.save({**content, **changes}, "other.pth", pickle_protocol=4)
    return Path("other.pth")


def refusal(file: Path, **more: object) -> str:
    with pytest.raises(UserError) as error:
        recbole_cadmr.evaluate(file, trust_checkpoint=True, **more)
    return str(error.value)


def test_what_does_not_fit_is_one_sentence(trained, data, tmp_path):
    file, result, _ = trained
    sequential = Config(
        model="SASRec", dataset="drawn", config_dict={"data_path": str(data), "train_neg_sample_args": None}
    )
    assert "is of SASRec; of RecBole's checkpoints, those of general" in refusal(stored(file, config=sequential))
    assert "it holds no settings" in refusal(stored(file, config={"recbole.config": 1, "a": np.float64}))
    assert "it holds no weights" in refusal(stored(file, state_dict=None))
    weights = {"state_dict": {"other": torch.zeros(1)}}
    assert "does not fit" in refusal(stored(file, **weights))
    assert "which is no folder here; name its place with `data_path`" in refusal(file, data_path=tmp_path / "none")
    shutil.copytree(data, tmp_path / "moved")
    moved = recbole_cadmr.evaluate(file, data_path=tmp_path / "moved", trust_checkpoint=True)["result"]
    assert moved == pytest.approx(result, abs=1e-11)
    inter = tmp_path / "moved" / "drawn" / "drawn.inter"
    inter.write_text("\n".join(inter.read_text().splitlines()[:60]))
    assert "on drawn in" in refusal(file, data_path=tmp_path / "moved")
    inter.write_text("user_id:token\nu1\n")
    assert "cannot read drawn by the settings" in refusal(file, data_path=tmp_path / "moved")


def test_a_set_that_comes_split_leaves_out_validation_items_as_recbole_does(tmp_path, monkeypatch):
    write_micro(tmp_path)
    settings = {"data_path": str(tmp_path), "benchmark_filename": ["train", "valid", "test"], "topk": [1, 2]}
    more = {"valid_metric": "Recall@2", "metrics": ["Recall", "MAP"], "epochs": 1, "metric_decimal_place": 12}
    config = Config(model="BPR", dataset="micro", config_dict={**settings, **more})
    train, valid, test = data_preparation(config, create_dataset(config))
    trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, get_model("BPR")(config, train.dataset))
    trainer.fit(train, valid)
    result = trainer.evaluate(test, load_best_model=False)
    measured = recbole_cadmr.evaluate(trainer.saved_model_file, trust_checkpoint=True)
    assert measured["result"] == pytest.approx(dict(result), abs=1e-11)
    catalogue = recbole_cadmr.load(trainer.saved_model_file, trust_checkpoint=True).catalogue
    assert catalogue.modalities.keys() == {"text", "image"}  # what NAME.yaml says is read, too


def test_a_sampled_ranking_is_said_to_be_another(trained):
    file, result, _ = trained
    config = torch.load(file, weights_only=False)["config"]
    config["eval_args"]["mode"] = {"valid": "uni5", "test": "uni5"}
    measured = recbole_cadmr.evaluate(stored(file, config=config), trust_checkpoint=True)
    assert measured["result"] == pytest.approx(result, abs=1e-11)
    assert measured["note"] == "all items are ranked; RecBole ranked them by {'valid': 'uni5', 'test': 'uni5'}"

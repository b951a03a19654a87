"""RecBole's own functions with this package's models, settings, data sets and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import Dataset as RecBoleDataset
from recbole.model.general_recommender import BPR
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.trainer import Trainer
from recbole.utils import get_model, get_trainer, init_seed
from recbole.utils.case_study import full_sort_scores, full_sort_topk

import recbole_cadmr
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.models import own, registry
from recbole_cadmr.models.freedom import FREEDOM
from recbole_cadmr.models.rp3beta import RP3beta
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from tests.micro import PAIRS, SMALL, write_drawn, write_micro

CHECKOUT = Path(__file__).parents[2]
QUIET = {"show_progress": False, "state": "ERROR", "epochs": 2, "eval_step": 1}
ROWS = [f"u{u} i{(u * 7 + n * n) % 17} {n}" for u in range(20) for n in range(7)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data sets ``micro`` (split, with features) and ``drawn`` (neither, with times)."""
    folder = tmp_path_factory.mktemp("data")
    write_micro(folder)
    return write_drawn(folder, ROWS, "user_id:token item_id:token timestamp:float")


def of(data: Path, **settings: object) -> dict[str, object]:
    return {**QUIET, **PAIRS, "data_path": str(data), **settings}


@pytest.mark.parametrize(("model", "named"), [("FREEDOM", FREEDOM), ("BM3", "BM3"), ("RP3beta", "RP3beta")])
def test_run_recbole_trains_and_measures_as_train_does(model, named, data, tmp_path):
    theirs = run_recbole(model=named, dataset="micro", config_dict=of(data))
    ours = recbole_cadmr.train(model, "micro", output=tmp_path / "run", settings=of(data))
    assert theirs["test_result"] == ours.result["test_result"]
    assert theirs["best_valid_result"] == ours.result["best_valid_result"]
    (folder,) = (tmp_path / "saved").iterdir()
    assert recbole_cadmr.evaluate(folder / "model.pt")["result"] == theirs["test_result"]
    assert len((folder / "history.jsonl").read_text().splitlines()) == len(ours.result["history"])


class OwnWalk(RP3beta):
    """A model of the user's own."""


def test_run_recbole_takes_a_class_of_the_users_own_on_a_base_of_ours(data, monkeypatch):
    for place, name in ((registry, "_own"), (own, "_sources"), (own, "_given")):
        monkeypatch.setattr(place, name, {})
    theirs, ours = (run_recbole(model=model, dataset="micro", config_dict=of(data)) for model in (OwnWalk, "RP3beta"))
    assert theirs == ours
    assert sorted(folder.name.partition("-")[0] for folder in Path("saved").iterdir()) == ["OwnWalk", "RP3beta"]


class ScaledBPR(BPR):
    """A model of the user's own on RecBole's, which knows nothing of its settings."""

    settings = {"scale": 0.5}  # noqa: RUF012

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scale = config["scale"]


def test_run_recbole_takes_a_class_with_settings_of_its_own_on_one_of_recboles(data, monkeypatch):
    for place, name in ((registry, "_own"), (own, "_sources"), (own, "_given")):
        monkeypatch.setattr(place, name, {})
    settings = of(data, epochs=1, embedding_size=4)
    run_recbole(model=ScaledBPR, dataset="micro", config_dict=settings | {"scale": 0.7})
    (folder,) = Path("saved").iterdir()
    session = recbole_cadmr.load(folder / "model.pt", model=ScaledBPR).session
    assert session.config["scale"] == session.model.scale == 0.7
    with pytest.raises(UserError, match="there is no setting 'scales'; did you mean scale"):
        run_recbole(model=ScaledBPR, dataset="micro", config_dict=settings | {"scales": 0.7})


class PlainBPR(BPR):
    """A model of the user's own on RecBole's, by RecBole's settings alone."""


def test_run_recbole_takes_any_class_on_a_set_that_comes_split(data, monkeypatch, tmp_path):
    for place, name in ((registry, "_own"), (own, "_sources"), (own, "_given")):
        monkeypatch.setattr(place, name, {})
    settings = of(data, epochs=1, embedding_size=4)
    theirs = run_recbole(model=PlainBPR, dataset="micro", config_dict=settings)
    ours = recbole_cadmr.train(PlainBPR, "micro", output=tmp_path / "run", settings=settings)
    assert theirs["test_result"] == ours.result["test_result"]
    elsewhere = {"data_path": str(data), "benchmark_filename": ["train", "valid", "test"]}
    for dataset, given in (("drawn", {"data_path": str(data)}), ("micro", elsewhere)):  # which RecBole reads by itself
        assert type(RecBoleConfig(model=PlainBPR, dataset=dataset, config_dict=given)) is RecBoleConfig


def test_a_model_named_in_a_file_has_the_form_that_its_settings_ask_for(data, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("model: CADMR\nobjective: softmax\n")
    config = RecBoleConfig(dataset="micro", config_file_list=[str(file)], config_dict=of(data, **SMALL))
    assert type(config) is Config
    part = create_dataset(config).build()[0]
    assert type(get_model(config["model"])(config, part)) is SoftmaxCADMR


def test_recboles_functions_with_our_settings_and_recboles_model(data, tmp_path):
    config = Config("BPR", "drawn", config_dict=of(data, embedding_size=4))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model("BPR")(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, model)
    trainer.fit(train, valid)
    run = recbole_cadmr.train("BPR", "drawn", output=tmp_path / "run", settings=of(data, embedding_size=4))
    assert trainer.evaluate(test) == run.result["test_result"]
    assert run_recbole(config_dict=config, saved=False)["test_result"] == trainer.evaluate(test)  # the last is the best
    assert trainer.best_valid_score == run.result["best_valid_score"]
    assert trainer.evaluate(test, model_file=run.checkpoint) == run.result["test_result"]  # the same data, another file
    again = load_data_and_model(trainer.saved_model_file)
    assert again[0]["embedding_size"] == 4
    assert all(torch.equal(a, b) for a, b in zip(again[1].state_dict().values(), model.state_dict().values()))
    reopened = Trainer(again[0], again[1])
    assert reopened.evaluate(again[5], load_best_model=False) == run.result["test_result"]
    with pytest.raises(UserError, match="nothing has been trained; give model_file"):
        Trainer(again[0], again[1]).evaluate(again[5])
    with pytest.raises(UserError, match=r"resumed by recbole_cadmr.resume"):
        trainer.resume_checkpoint("saved/any.pth")


def test_recboles_own_settings_models_and_loaders_stay_recboles(data):
    config = RecBoleConfig(model="BPR", dataset="drawn", config_dict=of(data, embedding_size=4))
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    trainer = Trainer(config, get_model("BPR")(config, train.dataset))
    assert [type(thing).__module__.partition(".")[0] for thing in (config, dataset, train, trainer)] == 4 * ["recbole"]


def test_our_data_set_with_recboles_settings_and_model(data):
    """RecBole trains on our data set as on its own, and the features are aligned with the ids."""
    parts = {"benchmark_filename": ["train", "valid", "test"], "modalities": ["text"], "embedding_size": 4}
    config, losses = RecBoleConfig(model="BPR", dataset="micro", config_dict=of(data, **parts)), []
    for dataset_class in (recbole_cadmr.Dataset, RecBoleDataset):
        dataset = dataset_class(config)
        init_seed(1, True)
        train, valid, _ = data_preparation(config, dataset)
        trainer = Trainer(config, get_model("BPR")(config, train.dataset))
        trainer.fit(train, valid, saved=False)
        losses.append(trainer.train_loss_dict)
        if dataset_class is recbole_cadmr.Dataset:
            assert type(train.dataset) is MultimodalDataset
            row = dataset.modality("text").features[dataset.token2id("item_id", "c")]
            assert row.tolist() == pytest.approx([0.0, 1.0, 0.5])
    assert losses[0] == losses[1] and len(losses[0]) == 2


@pytest.mark.parametrize(
    ("model", "more"),
    [("BPR", {}), ("NeuMF", {}), ("SASRec", {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"},
                                             "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "n_layers": 1,
                                             "hidden_size": 4, "n_heads": 1, "inner_size": 4})],
)  # fmt: skip
def test_case_study_scores_our_checkpoints_as_we_do(model, more, data, tmp_path):
    run = recbole_cadmr.train(model, "drawn", output=tmp_path / "run", settings={**of(data, **more), "epochs": 1})
    recommender = recbole_cadmr.load(run.checkpoint)
    session, names = recommender.session, ["u3", "u1", "u4"]
    assert recommender.session is session
    users = session.dataset.token2id("user_id", names)
    scores, best = full_sort_topk(users, session.model, session.test_data, k=4, device=session.config["device"])
    ours = recommender.recommend(names, topk=4, leave_out="train+valid")
    assert session.dataset.id2token("item_id", best.numpy().ravel()).tolist() == ours["item_id"].tolist()
    assert scores.numpy().ravel() == pytest.approx(ours["score"].to_numpy(), rel=1e-5)
    everything = full_sort_scores(users, session.model, session.test_data)
    known = session.test_data.uid2history_item[users[0]]
    held_out = session.test_data.uid2positive_item[users[0]]
    assert torch.isinf(everything[0, known]).all() and torch.isfinite(everything[0, held_out]).all()
    assert len(session.test_data.uid2history_item) == session.dataset.user_num


def test_an_export_has_no_session(data, tmp_path):
    run = recbole_cadmr.train("RP3beta", "drawn", output=tmp_path / "run", settings=of(data))
    recbole_cadmr.load(run.checkpoint).export(tmp_path / "export")
    with pytest.raises(UserError, match=r"an export holds no data set .* load the run's model.pt"):
        _ = recbole_cadmr.load(tmp_path / "export").session


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("FREEDOM", {}, "FREEDOM needs item features, but drawn names none; list them in the setting"),
        ("RP3beta", {"alfa": 1}, r"there is no setting 'alfa'; did you mean alpha\?"),
        ("RP3beta", {"split_seed": 1}, "split_seed has no effect on a split that RecBole's data_preparation draws"),
        ("RP3beta", {"topk": [2, 99]}, "topk 99 is more than the 17 items"),
        ("BM3", {"dataset": "micro", "settings_schedule": {1: {"learning_rate": 0.1}}}, "settings_schedule is for"),
    ],
)  # fmt: skip
def test_what_has_no_effect_or_cannot_be_is_one_sentence(model, settings, message, data):
    settings = {"dataset": "drawn", **settings}
    with pytest.raises(UserError, match=message):
        run_recbole(
            model=model, dataset=settings.pop("dataset"), config_dict=of(data, valid_metric="Recall@2", **settings)
        )
    assert not list(Path().glob("saved/*/model.pt"))


def test_settings_and_data_that_do_not_belong_together_are_refused(data):
    theirs = RecBoleConfig(model="BPR", dataset="drawn", config_dict=of(data))
    ours = Config("BPR", "drawn", settings=of(data))
    loaders = data_preparation(theirs, create_dataset(theirs))
    model = get_model("BPR")(theirs, loaders[0].dataset)
    with pytest.raises(UserError, match="takes the loaders of data_preparation with this Config"):
        Trainer(ours, model).fit(*loaders[:2])
    with pytest.raises(UserError, match="goes with its Dataset; make it by create_dataset with this Config"):
        data_preparation(ours, create_dataset(theirs))
    with pytest.raises(UserError, match="config_file_list and config_dict are RecBole's names"):
        Config("BPR", "drawn", settings={"epochs": 1}, config_dict={"epochs": 2})
    with pytest.raises(AttributeError, match="no history before it is given data"):
        _ = Trainer(ours, model).history


def test_a_setting_on_the_command_line_is_warned_of(data, monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["own.py", "--model=RP3beta", "--topk=1"])
    with pytest.raises(UserError, match="name the model in the call, not by --model=RP3beta"):
        RecBoleConfig(dataset="micro", config_dict=of(data))
    monkeypatch.setattr("sys.argv", ["own.py", "--topk=1"])
    config = RecBoleConfig(model="RP3beta", dataset="micro", config_dict=of(data))
    assert type(config) is Config and config["topk"] == [1, 2]
    assert "RP3beta takes no settings from the command line (--topk=1); give them in config_dict" in caplog.text

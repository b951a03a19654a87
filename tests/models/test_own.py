"""Models of the user's own: the documentation's template through every command, and what is refused, in a sentence."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.general_recommender import BPR, EASE
from recbole.utils import InputType

import recbole_cadmr
from recbole_cadmr.benchmark.benchmark import benchmark
from recbole_cadmr.benchmark.plan import take_in_models
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.model_yaml import search_space
from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.errors import UserError
from recbole_cadmr.models import own, own_import, registry
from recbole_cadmr.models.base import HistoryRecommender
from recbole_cadmr.models.own import named, receive, source_of
from recbole_cadmr.models.own_source import ModelSource
from recbole_cadmr.models.registry import get_model
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.session import read_checkpoint
from recbole_cadmr.training.callbacks import TrainingCallback
from tests.cells import no_processes
from tests.micro import open_drawn, write_drawn, write_micro

PAGE = Path(__file__).parents[2] / "docs" / "own_models.md"
TEMPLATE = re.search("```python\n(# model.py.*?)```", PAGE.read_text(), re.DOTALL)[1]
QUICK = ["--topk=[1, 2]", "--valid_metric=Recall@2", "--epochs=2", "--show_progress=False", "--threads=1"]
SETTINGS = {"topk": [1, 2], "valid_metric": "Recall@2", "epochs": 2, "show_progress": False, "threads": 1}
LOSS = "return BPRLoss()(*((self.users(batch[self.USER_ID]) * one).sum(1) for one in (items, others)))"
SCORES = "return self.users(batch[self.USER_ID]) @ self.items(self.content).T"


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch, tmp_path_factory):
    """No class is known, and nothing that a test imports stays."""
    for place, name in ((registry, "_own"), (own, "_sources"), (own, "_given"), (own_import, "_loaded")):
        monkeypatch.setattr(place, name, {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path_factory.getbasetemp())):
            del sys.modules[name]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The template after training, by the command: the folder around model.py, dataset and run."""
    place = tmp_path_factory.mktemp("own")
    write_micro(place / "dataset")
    (place / "model.py").write_text(TEMPLATE)
    subject = [f"--model={place / 'model.py'}", "--dataset=micro", f"--data_path={place / 'dataset'}"]
    assert (
        main(["train", *subject, *QUICK, "--embedding_size=4", "--save_lists=True", f"--output={place / 'run'}"]) == 0
    )
    return place


def said(capsys, *arguments):
    """The sentence that a command ends with."""
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("error: ")


def test_the_template_has_fifteen_lines():
    assert sum(bool(line.strip()) for line in TEMPLATE[TEMPLATE.index("class ") :].splitlines()) == 15


def test_what_was_trained_is_read_where_its_class_is_named_again(trained, capsys):
    checkpoint, model = f"--checkpoint={trained / 'run' / 'model.pt'}", f"--model={trained / 'model.py'}:TextMF"
    asked = said(capsys, "evaluate", checkpoint)
    assert asked.endswith("name it again by --model, as in model.py:TextMF") and not registry.known_models()
    capsys.readouterr()
    assert main(["evaluate", checkpoint, model]) == 0
    result = read_result(trained / "run")
    assert f"{result['test_result']['recall@2']:.4f}" in capsys.readouterr().out
    assert result["own_model"] == {**read_checkpoint(trained / "run" / "model.pt")["own_model"]}
    assert result["own_model"]["multimodal"] and not result["own_model"]["deterministic"]
    assert main(["recommend", checkpoint, model, "--topk=2", "--output=lists.csv"]) == 0
    assert set(pd.read_csv("lists.csv")["user_id"]) == {"ann", "bob", "cid", "dot", "eve"}
    capsys.readouterr()
    assert main(["similar", checkpoint, model, "--item=a", "--topk=1", "--by=content"]) == 0
    assert capsys.readouterr().out.startswith("a: most like it by content\n\n| rank | item |")
    assert main(["export", checkpoint, model, "--output=export"]) == 0
    exported = recbole_cadmr.load("export").recommend(["ann"], 2)
    assert exported.item_id.tolist() == pd.read_csv("lists.csv").query("user_id == 'ann'").item_id.tolist()
    assert "fall into parts" in said(capsys, "explain", checkpoint, model, "--item=a", "--user=ann")
    (trained / "other.py").write_text(TEMPLATE.replace("TextMF", "Another"))
    other = f"--model={trained / 'other.py'}"
    assert said(capsys, "evaluate", checkpoint, other).startswith("it is a model of TextMF, not of Another")
    assert said(capsys, "evaluate", checkpoint, "--model=BPR").endswith("package.module:CLASS, not BPR")
    assert said(capsys, "similar", "--checkpoint=export", other, "--item=a").startswith("an export needs no class")


def test_another_source_than_at_training_is_a_warning(trained, caplog):
    checkpoint = trained / "run" / "model.pt"
    recbole_cadmr.load(checkpoint, model=str(trained / "model.py"))
    assert not caplog.records
    Path("model.py").write_text(TEMPLATE + "# edited\n")
    recbole_cadmr.load(checkpoint, model="model.py")
    assert "was trained by another source of TextMF than model.py:TextMF is now" in caplog.text


def test_nothing_that_a_file_says_is_imported(trained, capsys, monkeypatch):
    """A checkpoint, a settings file, a search and a benchmark that name a module which would leave a trace."""
    evil = Path("evil.py")
    evil.write_text("open('was_here', 'w')\n" + TEMPLATE)
    Path("s.yaml").write_text("model: evil.py:TextMF\n")
    data = ["--dataset=micro", f"--data_path={trained / 'dataset'}"]
    assert "never in a file or a setting" in said(capsys, "train", "--config_files", "s.yaml", *data)
    state = torch.load(trained / "run" / "model.pt", weights_only=True)
    for name in ("model", "settings"):
        changed = {**state["settings"], "model": "evil.py:TextMF"} if name == "settings" else "evil.py:TextMF"
        torch.save({**state, name: changed, "own_model": None} if name == "model" else {**state, name: changed}, "m.pt")
        assert said(capsys, "evaluate", "--checkpoint=m.pt")
    for command, file in (("tune", "search.json"), ("benchmark", "benchmark.json")):
        folder = Path(command)
        folder.mkdir()
        if command == "tune":
            content = {"model": "evil.py:TextMF"}
        else:
            options = {"datasets": [], "seeds": [], "runs": [], "settings": "{}", "tune": 0}
            content = {"options": {**options, "models": ["evil.py:TextMF"]}, "protocols": {}, "schema_version": 2}
        (folder / file).write_text(json.dumps({"schema_version": 1, **content}))
        assert "damaged or was edited" in said(capsys, command, f"--resume={folder}")
    assert not Path("was_here").exists()


def forget():
    for known in (registry._own, own._sources, own._given):
        known.clear()


def test_a_search_and_a_cell_on_a_cluster(trained, capsys):
    """Two trials in the processes of a cluster, and another seed with the best of them, from files that were sent."""
    folder, model = Path("benchmark"), f"{trained / 'model.py'}:TextMF"
    data = ["--datasets=micro", f"--data_path={trained / 'dataset'}", "--seeds=2", *QUICK]
    arguments = ["benchmark", f"--models={model}", *data, "--ray-address=local", "--tune=2", f"--output={folder}"]
    assert main(arguments) == 0
    results = [read_result(cell / "run") for cell in sorted((folder / "cells").iterdir())]
    assert [result["protocol"]["seed"] for result in results] == [1, 2]
    assert (next((folder / "cells").glob("*-2-*")) / "model" / "model.py").read_text() == TEMPLATE
    assert len({result["own_model"]["sha256"] for result in results}) == 1
    assert "| TextMF | 2 |" in (folder / "table.md").read_text()
    searched = f"--resume={next((folder / 'searches').iterdir())}"
    forget()
    capsys.readouterr()
    for command, option, place in (("benchmark", "--models", f"--resume={folder}"), ("tune", "--model", searched)):
        assert said(capsys, command, place).endswith(f"name it again by {option}, as in model.py:TextMF")
        assert said(capsys, command, place, f"{option}=BPR").endswith("leave out BPR")
    assert main(["benchmark", f"--resume={folder}", f"--models={model}"]) == 0
    assert "nothing left to run" in capsys.readouterr().out
    assert main(["tune", searched, f"--model={model}"]) == 0
    assert re.search(r"again: .* --config_files=\S+/best.yaml --model=\S+/model.py:TextMF", capsys.readouterr().out)
    Path("model.py").write_text(TEMPLATE + "# edited")
    assert "another source of TextMF than it has now" in said(capsys, "tune", searched, "--model=model.py")


def test_another_source_makes_other_cells_and_another_row(trained, capsys):
    Path("model.py").write_text(TEMPLATE)
    data = ["--datasets=micro", f"--data_path={trained / 'dataset'}", *QUICK]
    arguments = ["benchmark", "--models=model.py,BPR", *data, "--output=out", "--embedding_size=4"]
    with no_processes():
        assert main([*arguments, "--seeds=1,"]) == 0
        cell = next(Path("out", "cells").glob("*-TextMF-1-*"))
        shutil.rmtree(cell / "run")
        (cell / "model" / "jinja2.py").write_text("put there by somebody")
        assert main([*arguments, "--seeds=1,"]) == 0
        assert [path.name for path in (cell / "model").glob("*.py")] == ["model.py"]
        Path("model.py").write_text(TEMPLATE.replace("F.normalize(modality.features)", "modality.features"))
        assert main([*arguments, "--seeds=2,", f"--runs={trained / 'run'}"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"2 finished cells of \S+/out are not of this command", output)
    rows = {line.split(" | ")[0] for line in Path("out/table.md").read_text().splitlines() if "TextMF" in line}
    assert {"| TextMF", "| TextMF (2)"} <= rows  # the run that was trained by the first source stands by itself
    forget()
    with no_processes():  # a table of finished runs needs no class
        others = ["--models=BPR", "--seeds=1,", "--output=other", f"--runs={trained / 'run'}"]
        assert main(["benchmark", *others, *data]) == 0
    assert "| TextMF | 1 |" in Path("other/table.md").read_text()


def test_two_classes_of_one_name_are_refused():
    for name in ("a", "b"):
        Path(name).mkdir()
        Path(name, "model.py").write_text(TEMPLATE)
    with pytest.raises(UserError, match="two classes are called TextMF, a/model.py and b/model.py; give one another"):
        take_in_models(["a/model.py", "BPR", "b/model.py"])
    assert take_in_models(["a/model.py@best", "CADMR@best"]) == ["TextMF@best", "CADMR@best"]


def test_a_package_is_sent_whole_and_declares_its_settings_in_yaml(monkeypatch):
    package = Path("mine", "deep")
    package.mkdir(parents=True)
    package.joinpath("layers.py").write_text("from torch.nn import Embedding\n")
    package.joinpath("model.py").write_text(
        TEMPLATE.replace("import torch\n", "import torch\nfrom .layers import Embedding\nimport mine.helper\n", 1)
        .replace("torch.nn.Embedding(", "Embedding(")
        .replace('    settings = {"embedding_size": {"default": 64, "minimum": 1, "search": [32, 64, 128]}}\n', "")
    )
    package.joinpath("TextMF.yaml").write_text("embedding_size: {default: 8, search: [4, 8]}\nshare: 0.5\n")
    Path("mine", "helper.py").write_text("")
    Path("mine", "other.py").write_text("1 / 0")
    assert named("mine.deep.model:TextMF") == "TextMF"
    assert search_space("TextMF", None) == {"embedding_size": [4, 8]}
    source = source_of("TextMF")
    texts = {name for name, content in source.files.items() if content}
    assert texts == {"mine/deep/layers.py", "mine/deep/model.py", "mine/deep/TextMF.yaml"}
    assert {"mine/__init__.py", "mine/helper.py"} <= source.files.keys() and "mine/other.py" not in source.files
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]
    forget()
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    receive(ModelSource.from_plain(source.plain()))
    assert source_of("TextMF") == source and search_space("TextMF", None) == {"embedding_size": [4, 8]}
    assert Path(sys.modules[get_model("TextMF").__module__].__file__).is_relative_to(Path("cache").absolute())
    again = source.write(Path("other"))
    assert source_of(named(get_model("TextMF"))).sha256 == source.sha256 and again.endswith("mine/deep/model.py:TextMF")


def test_a_file_that_was_edited_is_imported_anew_with_what_lies_beside_it():
    Path("model.py").write_text("from beside import SIZE\n" + TEMPLATE)
    hashes = []
    for size in (3, 4):
        Path("beside.py").write_text(f"SIZE = {size}\n")
        named("model.py")
        assert size == sys.modules[get_model("TextMF").__module__].SIZE
        assert source_of("TextMF").files.keys() == {"model.py", "beside.py"}
        hashes.append(source_of("TextMF").sha256)
    assert len(set(hashes)) == 2
    Path("elsewhere").mkdir()
    shutil.copy("model.py", "elsewhere")
    Path("elsewhere", "beside.py").write_text("SIZE = 5\n")
    with pytest.raises(
        UserError, match="model.py imports beside from beside it, and .*/beside.py has been imported by"
    ):
        named("elsewhere/model.py")


class Stop(TrainingCallback):
    """Ctrl-C at the second epoch."""

    def on_epoch_start(self, trainer, epoch):
        if epoch == 1:
            raise KeyboardInterrupt


def test_a_run_is_resumed_and_trained_finally_by_its_class_alone(trained):
    how = {"settings": {**SETTINGS, "data_path": str(trained / "dataset"), "embedding_size": 4}, "output": "cut"}
    model = str(trained / "model.py")
    with pytest.raises(KeyboardInterrupt, match=f"train --resume .*/cut --model={model}"):
        recbole_cadmr.train(model, "micro", callbacks=[Stop()], **how)
    forget()
    with pytest.raises(UserError, match="name it again by `model`, as in model.py:TextMF"):
        recbole_cadmr.resume("cut")
    with pytest.raises(UserError, match="it is a model of TextMF, not of LastItem"):
        recbole_cadmr.resume("cut", model=LastItem)
    resumed = recbole_cadmr.resume("cut", model=model)
    assert resumed.result["test_result"] == read_result(trained / "run")["test_result"]
    forget()
    with pytest.raises(UserError, match="name it again by `model`"):
        recbole_cadmr.train_final("cut")
    final = recbole_cadmr.train_final("cut", model=model, output="final")
    assert read_checkpoint(final.checkpoint)["own_model"] == resumed.result["own_model"]


class PairsMF(BPR):
    """Scores pairs alone, and has the settings of BPR."""

    full_sort_predict = BPR.__mro__[2].full_sort_predict


class Sums(EASE):
    """In closed form."""


class LastItem(SequentialRecommender):
    """Of a sequence, the last item."""

    input_type = InputType.POINTWISE
    settings = {"size": 4}  # noqa: RUF012

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.items = torch.nn.Embedding(self.n_items, config["size"])

    def calculate_loss(self, interaction):
        return torch.nn.functional.cross_entropy(self.full_sort_predict(interaction), interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction):
        last = self.gather_indexes(self.items(interaction[self.ITEM_SEQ]), interaction[self.ITEM_SEQ_LEN] - 1)
        return last @ self.items.weight.T


class Rows(HistoryRecommender):
    """Scores a row by a map of it, as the documentation says how."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.rating_rows = RatingRows(dataset.inter_matrix(form="csr")[:, 1:], self.device)
        self.map = torch.nn.Linear(self.n_items - 1, self.n_items - 1)

    def calculate_loss(self, batch):
        rows = self.rating_rows.batch(batch[self.USER_ID])
        return torch.nn.functional.mse_loss(self.map(rows.dense), rows.dense)

    def _scores_of(self, batch):
        return torch.nn.functional.pad(self.map(batch.dense), (1, 0))


def test_a_history_model_recommends_to_people_it_has_not_seen(trained):
    settings = {**SETTINGS, "data_path": str(trained / "dataset")}
    run = recbole_cadmr.train(Rows, "micro", output="rows", settings=settings)
    history = pd.DataFrame({"user_id": ["new", "new"], "item_id": ["a", "b"]})
    lists, passed_over = recbole_cadmr.load(run.checkpoint, model=Rows).recommend_from_history(history, topk=2)
    assert set(lists["item_id"]) == {"c", "d"} and not passed_over


def test_a_subclass_of_a_model_is_what_that_one_is(trained):
    place = {"data_path": str(trained / "dataset")}
    runs = {
        one: recbole_cadmr.train(one, "micro", output=one.__name__, settings={**SETTINGS, **place, **more})
        for one, more in ((PairsMF, {"embedding_size": 4}), (BPR, {"embedding_size": 4}), (Sums, {}), (EASE, {}))
    }
    for mine, theirs in ((PairsMF, BPR), (Sums, EASE)):
        ours, others = runs[mine].result, runs[theirs].result
        assert ours["test_result"] == pytest.approx(others["test_result"]) and "own_model" not in others
        assert search_space(mine.__name__, None) == search_space(theirs.__name__, None)
    assert runs[Sums].result["epochs_run"] == 1
    with pytest.raises(UserError, match="embedding_size must be at least 1"):
        recbole_cadmr.train(PairsMF, "micro", settings={**place, "embedding_size": 0})


def test_a_model_of_sequences_gets_the_histories(tmp_path):
    rows = [f"u{u} i{(u + t) % 5} {t}" for u in range(4) for t in range(4)]
    write_drawn(
        tmp_path,
        rows,
        "user_id:token item_id:token timestamp:float",
        "load_col: {inter: [user_id, item_id, timestamp]}",
    )
    how = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}, "MAX_ITEM_LIST_LENGTH": 3, "epochs": 1}
    session = open_drawn(tmp_path, LastItem, **how)
    assert next(iter(session.train_data))["item_id_list"].shape[1] == 3
    assert session.trainer.fit(session.train_data, session.valid_data)[1].keys() >= {"recall@2"}


def test_a_class_of_a_notebook_is_for_its_process_alone(trained, tmp_path):
    class Typed(BPR):
        """Defined where no other process can import it."""

    settings = {**SETTINGS, "data_path": str(trained / "dataset"), "embedding_size": 4}
    run = recbole_cadmr.train(Typed, "micro", settings=settings)
    assert recbole_cadmr.evaluate(run.checkpoint, model=Typed)["result"] == run.result["test_result"]
    with (
        no_processes(),
        pytest.raises(UserError, match="Typed is defined in this program alone, .* put the class into"),
    ):
        benchmark([Typed], ["micro"], [1], tmp_path / "out", settings=settings)


HEAD = "class TextMF(Recommender):\n"
REFUSED = {
    "x.py:": (None, "cannot read 'x.py:'; a model of your own is named as FILE.py:CLASS or package.module:CLASS"),
    "nix.py:A": (None, "there is no file .*/nix.py"),
    "nix:A": (None, "there is no module nix, neither installed nor in this folder$"),
    "nix.Text": (None, "a class in a module is named by a colon, as nix:Text"),
    "math:sin": (None, "math is not a module of Python source"),
    "m.txt:A": ("", "m.txt is no Python file|there is no module m.txt"),
    "./m.txt:A": ("", "m.txt is no Python file"),
    "x.py:A": (TEMPLATE, "x.py has no class A; there is TextMF"),
    "x.py:F": (TEMPLATE, "x.py:F is no class"),
    "x.py:BPRLoss": (TEMPLATE, "x.py:BPRLoss is no recommender; derive it from RecBole's GeneralRecommender"),
    "x.py": ("x = 1", "x.py has no recommender; name the class"),
    "two.py": (TEMPLATE + "class B(TextMF): pass", "two.py has several recommenders; there are TextMF, B"),
    "zero.py:A": ("x = 1\n\ny = 1 / 0\n", "zero.py fails on import, line 3: ZeroDivisionError: division by zero"),
    "deep.py:A": ("def f():\n    exit(3)\nf()", r"deep.py fails on import, line 2 \(in f\): SystemExit: 3"),
    "lacks.py:A": ("import nix", "lacks.py fails on import, line 1: ModuleNotFoundError: No module named 'nix'"),
    "syntax.py:A": ("x = 1\ndef f(:", "syntax.py is not Python, line 2: invalid syntax"),
    "nul.py:A": ("\0", "nul.py is not Python"),
    "loss.py": (TEMPLATE.replace("calculate_loss", "loss"), "has no method calculate_loss; a model needs"),
    "score.py": (TEMPLATE.replace("full_sort_predict", "score"), "has no method full_sort_predict"),
    "forward.py": (
        "from recbole_cadmr.models.multimodal import MultimodalRecommender as M\nclass My(M): calculate_loss = print",
        "forward.py:My has no method forward; a model needs",
    ),
    "size.py": (TEMPLATE.replace("config, dataset):", "config, dataset, n):"), r"must take \(config, dataset\), not"),
    "name.py": (TEMPLATE.replace("TextMF", "LightGCN"), "there is a model LightGCN already"),
    "context.py": (
        "from recbole.model.context_aware_recommender import FM\nclass My(FM): pass",
        "context.py:My is a context-aware model",
    ),
    "knowledge.py": (
        "from recbole.model.knowledge_aware_recommender import CFKG\nclass My(CFKG): pass",
        "knowledge.py:My is a model of knowledge graphs",
    ),
    "general.py": (TEMPLATE.replace('"embedding_size": {', '"learning_rate": {'), "learning_rate of TextMF is a"),
    "default.py": (TEMPLATE.replace('"default": 64, ', ""), "embedding_size of TextMF has .* no default"),
    "field.py": (TEMPLATE.replace('"minimum"', '"minimun"'), "embedding_size cannot be read: .* field 'minimun'"),
    "bound.py": (TEMPLATE.replace("64", "0", 1), "embedding_size must be at least 1, not 0"),
    "value.py": (TEMPLATE.replace("settings = {", "settings = 7 # {"), "settings of TextMF must map names"),
    "object.py": (TEMPLATE.replace('"default": 64', '"default": F'), "embedding_size must be made of numbers, words"),
    "kind.py": (TEMPLATE.replace("    input_type", "    # input_type"), "does not say what its training batches hold"),
    "traits.py": (TEMPLATE.replace("    traits", "    # traits"), "reads item features and does not say so"),
    "build.py": (
        TEMPLATE.replace('config["emb', 'config["enb', 1),
        r"build.py:TextMF, line 19 \(in __init__\): KeyError: 'enb.* did you mean embedding_size",
    ),
    "nan.py": (TEMPLATE.replace("return BPR", "return float('nan') * BPR"), "the training loss is nan in epoch 0"),
    "vector.py": (TEMPLATE.replace(LOSS, "return items.sum(1)"), r"is a tensor of the shape \[8\], not one number"),
    "number.py": (TEMPLATE.replace(LOSS, "return 3.0"), "returns is of the type float, not a tensor"),
    "constant.py": (TEMPLATE.replace(LOSS, "return torch.tensor(1.0)"), "does not depend on any parameter"),
    "shape.py": (TEMPLATE.replace(SCORES, SCORES.partition(" @")[0]), r"not a tensor of the shape \[2, 64\]"),
    "none.py": (TEMPLATE.replace(SCORES, "self.content"), "as a tensor of real numbers, not of the type NoneType"),
    "raises.py": (TEMPLATE.replace(SCORES, "return [] @ self.content"), r"line 27 \(in full_sort_predict\): TypeErr"),
}  # fmt: skip


@pytest.mark.parametrize("reference", REFUSED)
def test_what_is_no_model_is_one_sentence_and_leaves_nothing(trained, capsys, reference):
    text, sentence = REFUSED[reference]
    if text is not None:
        Path(reference.partition(":")[0]).write_text(text)
    subject = [f"--model={reference}", "--dataset=micro", f"--data_path={trained / 'dataset'}", *QUICK]
    assert re.search(sentence, said(capsys, "train", *subject, "--output=run"))
    left = [path.name for path in Path("run").rglob("*")] if Path("run").is_dir() else []
    assert "result.json" not in left and "resume.pt" not in left


def test_what_is_no_class_is_refused_and_an_unknown_setting_too(trained):
    with pytest.raises(UserError, match="a model is named by a word such as 'CADMR', not 7"):
        recbole_cadmr.train(7, "micro")
    with pytest.raises(UserError, match="int is no recommender"):
        recbole_cadmr.train(int, "micro")
    with pytest.raises(UserError, match="there is no setting 'sise'; did you mean .*size"):
        recbole_cadmr.train(LastItem, "micro", settings={"data_path": str(trained / "dataset"), "sise": 3})

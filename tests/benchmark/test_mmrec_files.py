"""Settings files of MMRec's reach the models of a benchmark that MMRec has, and say how the others are measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_cadmr.benchmark.mmrec_files import settings_of_files
from recbole_cadmr.benchmark.plan import model_specs
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from tests.micro import write_micro

OVERALL = """
{epochs: 7, topk: [1, 2], metrics: [Recall, NDCG], valid_metric: Recall@2, embedding_size: 16, seed: [999],
 save_recommended_topk: False, learning_rate_scheduler: [0.96, 50], hyper_parameters: [seed]}
"""


@pytest.fixture
def files(tmp_path):
    """Of all models, of FREEDOM (one of whose settings has several values, the default among them), and of VBPR."""
    texts = {
        "overall": OVERALL,
        "FREEDOM": "{knn_k: 5, dropout: [0.8, 0.9], hyper_parameters: [dropout]}",
        "VBPR": "{embedding_size: 8, seed: [999]}",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return {name: str(tmp_path / f"{name}.yaml") for name in texts}


def test_each_model_gets_what_the_files_say_of_it(files):
    labels = ["FREEDOM", "VBPR", "LinearCADMR"]
    found = settings_of_files(list(files.values()), labels, {})
    measured = {"topk": [1, 2], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@2"}
    common = {**measured, "epochs": 7, "learning_rate_schedule": "exponential"}
    specs = {spec.model: dict(spec.settings) for spec in model_specs(labels, ["synthetic"], found.settings)}
    assert specs == {
        "FREEDOM": {**common, "embedding_size": 16, "neighbours": 5, "edge_dropout": 0.8},
        "VBPR": {**common, "embedding_size": 8},
        "LinearCADMR": measured,
    }
    assert found.seeds == [999]
    said = "\n".join(found.notes)
    assert "FREEDOM: edge_dropout=0.8, the default, is taken of 0.8, 0.9; tune searches them" in said
    assert "FREEDOM, VBPR: save_recommended_topk: a benchmark keeps the lists of all runs" in said
    assert found.notes[-1] == "LinearCADMR: not in MMRec; of its files, topk, metrics, valid_metric is taken"


def test_what_is_given_beside_decides(files):
    given = {"embedding_size": 32, "FREEDOM.edge_dropout": 0.5, "VBPR.topk": [1]}
    found = settings_of_files(list(files.values()), ["FREEDOM", "VBPR"], given, seeds=[1, 2])
    assert found.seeds is None
    names = {name.partition(".")[2] for name in found.settings if name.startswith("FREEDOM.")}
    assert "neighbours" in names and not names & {"embedding_size", "edge_dropout", "seed", "save_lists"}
    assert "FREEDOM.topk" in found.settings and "VBPR.topk" not in found.settings


@pytest.mark.parametrize(
    ("names", "models", "more", "message"),
    [
        (["VBPR"], ["FREEDOM"], "", "VBPR.yaml is called after VBPR, which is not among the models; leave it out"),
        (["overall"], ["LinearCADMR", "Pop"], "", "MMRec has no LinearCADMR and no Pop; leave out its files"),
        (["overall", "more"], ["FREEDOM", "VBPR"], "knn_k: 3", "MMRec's VBPR has no setting 'knn_k'"),
        (["FREEDOM", "more"], ["FREEDOM"], "{dropout: [0.1, 0.2]}", "give one as --FREEDOM.edge_dropout=VALUE, or sea"),
        (["overall", "VBPR", "FREEDOM", "seeds"], ["FREEDOM", "VBPR"], "", "the files name the seeds"),
    ],
)
def test_files_that_do_not_fit_are_refused(files, tmp_path, names, models, more, message):
    files["more"], files["seeds"] = str(tmp_path / "more.yaml"), files["VBPR"]
    Path(files["more"]).write_text(more)
    if "seeds" in names:
        Path(files["VBPR"]).write_text("seed: 3")
    with pytest.raises(UserError, match=message):
        settings_of_files([files[name] for name in names], models, {})


def test_the_command_runs_them(files, tmp_path, capsys):
    write_micro(tmp_path / "data")
    command = ["benchmark", "--models=VBPR", "--datasets=micro", f"--data_path={tmp_path / 'data'}", "--epochs=1"]
    command += ["--mmrec_config", files["overall"], files["VBPR"], f"--output={tmp_path / 'bench'}"]
    assert main(command) == 0
    assert "learning_rate_scheduler is learning_rate_schedule" in capsys.readouterr().out
    (result,) = (tmp_path / "bench").glob("cells/*/run/result.json")
    content = json.loads(result.read_text())
    settings = content["settings"]
    assert (settings["embedding_size"], settings["epochs"], content["protocol"]["seed"]) == (8, 1, 999)
    assert main(["benchmark", f"--resume={tmp_path / 'bench'}", "--mmrec_config", files["VBPR"]]) == 2
    assert "leave out --mmrec_config" in capsys.readouterr().err

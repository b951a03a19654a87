"""``models`` and ``presets``: what there is to choose from."""

import json

from recbole_cadmr.cli.main import main
from recbole_cadmr.models.registry import MODELS, model_names


def test_models_are_those_of_the_registry(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models", "--json"]) == 0
    found = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert [*found] == model_names() and all(found[name]["about"] for name in MODELS)
    freedom, sasrec = found["FREEDOM"], found["SASRec"]
    assert freedom["reads"] == "interactions, content, item graphs" and freedom["package"] == "recbole_cadmr"
    assert freedom["about"].startswith("A Tale of Two Graphs: Freezing and Denoising Graph Structures")
    assert sasrec["reads"] == "sequences" and sasrec["about"] == "Self-Attentive Sequential Recommendation"
    assert freedom["paper"].startswith("Zhou and Shen, A Tale") and freedom["paper"].endswith(", ACM MM 2023")
    assert sasrec["paper"].startswith("Wang-Cheng Kang et al.") and found["Pop"]["paper"] == ""
    assert {name for name in MODELS if not found[name]["paper"]} == {"LinearCADMR", "TwoDomainSASRec"}
    assert found["CADMR"]["presets"] == ["best", "content", "paper"] and found["LinearCADMR"]["scores_cold_items"]
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and any(line.startswith("FREEDOM ") for line in lines)
    names = {line.split()[0]: line.split()[4] for line in lines if line.startswith("CADMR")}
    assert names == {"CADMR": "no", "CADMR@best": "yes"}  # another form of it


def test_presets_say_what_they_change(capsys):
    assert main(["presets", "--model", "MMGCN"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("MMGCN --preset=published\n") and "concatenate=True" in shown
    assert main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(p["model"], p["preset"]) for p in found if p["default"]} == {("CADMR", "paper")}
    assert main(["presets", "--model", "FREEDM"]) == 2
    assert "FREEDOM" in capsys.readouterr().err

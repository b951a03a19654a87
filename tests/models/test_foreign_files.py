"""No model of RecBole's opens a file by itself: each call in its sources that could is judged here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import recbole.model.general_recommender as general

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import get_model

MODELS = Path(general.__file__).parents[1]
SOURCES = [*sorted(MODELS.glob("*.py")), *sorted((MODELS / "general_recommender").glob("*.py"))]
BY_NAME = {"open", "eval", "exec", "compile", "__import__"}
BY_ATTRIBUTE = {"load", "loads", "save", "open", "loadtxt", "genfromtxt", "fromfile", "memmap", "load_npz",
                "read_array", "read_text", "read_bytes", "system", "popen", "Popen",
                "import_module", "urlopen", "rmtree", "unlink", "load_state_dict_from_url",
                "read_csv", "read_pickle", "read_parquet", "read_table"}  # fmt: skip
# What RecBole's models call, and the settings whose refusal keeps each from being reached.
JUDGED = {
    ("convncf.py", "torch.load"): ("ConvNCF", {"train_method": "after_pretrain", "pre_model_path": "model.pth"}),
    ("ldiffrec.py", "np.load"): ("LDiffRec", {"n_cate": 2}),
    ("nais.py", "torch.load"): ("NAIS", {"pretrain_path": "model.pth"}),
    ("neumf.py", "torch.load"): (
        "NeuMF",
        {"use_pretrain": True, "mf_pretrain_path": "mf.pth", "mlp_pretrain_path": "mlp.pth"},
    ),
    ("neumf.py", "torch.save"): ("NeuMF", {}),  # in a method that nothing calls
    ("ract.py", "torch.load"): ("RaCT", {"train_stage": "finetune", "pre_model_path": "model.pth"}),
}


def calls(path):
    """Names of the calls in a source that may open a file or run text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name in BY_NAME | BY_ATTRIBUTE)
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in BY_NAME:
                yield function.id
            if isinstance(function, ast.Attribute) and function.attr in BY_ATTRIBUTE:
                yield ast.unparse(function)


def test_every_call_that_opens_a_file_is_judged():
    found = {(path.name, name) for path in SOURCES for name in calls(path)}
    assert found == JUDGED.keys()


@pytest.mark.parametrize("model, name, value", [
    (model, name, value) for model, refused in JUDGED.values() for name, value in refused.items()
])  # fmt: skip
def test_settings_that_would_open_a_file_are_refused(model, name, value):
    with pytest.raises(UserError, match=f"{name} is not for use here.*which runs? code"):
        Config(model, settings={name: value})
    kept = Config(model)[name]  # its default is no refusal
    assert kept == Config(model, settings={name: kept})[name]


def test_what_saves_is_never_called():
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert text.count("dump_parameters") == 1 and get_model("NeuMF")  # its definition alone

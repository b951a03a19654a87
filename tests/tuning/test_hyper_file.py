"""RecBole's files of search spaces: read as hyperopt would, and never evaluated."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.hyper_file import read_hyper_file
from recbole_cadmr.tuning.plan import make_plan
from recbole_cadmr.tuning.space import read_space


def written(folder: Path, text: str) -> Path:
    file = folder / "own.hyper"
    file.write_text(text)
    return file


def test_every_kind_of_line(tmp_path):
    file = written(tmp_path, """# of a run of RecBole's

learning_rate loguniform -8,-4
n_layers choice [1, 2, 3]
train_batch_size quniform 512,2048,512
dropout_prob quniform 0.1, 0.36, 0.1
reg_weight   uniform   0,0.1
mlp_hidden_size choice ['[64, 32]','[128]',(8,4)]
loss_type choice ['BPR', "CE", None, 'None', True, 'True', '1e-3']
""")  # fmt: skip
    assert read_hyper_file(file) == {
        "learning_rate": {"loguniform": [pytest.approx(math.exp(-8)), pytest.approx(math.exp(-4))]},
        "n_layers": [1, 2, 3],
        "train_batch_size": [512, 1024, 1536, 2048],
        "dropout_prob": [0.1, 0.2, 0.3, 0.4],  # .36 / .1, rounded
        "reg_weight": {"uniform": [0.0, 0.1]},
        "mlp_hidden_size": [[64, 32], [128], [8, 4]],
        "loss_type": ["BPR", "CE", None, None, True, True, 0.001],
    }
    assert {type(value) for value in read_hyper_file(file)["train_batch_size"]} == {int}


def test_quniform_has_hyperopts_values(tmp_path):
    """hyperopt draws uniformly and rounds to the step: its values are those that rounding can give."""
    low, high, step = 0.12, 0.83, 0.05
    drawn = {round(round((low + (high - low) * n / 9999) / step) * step, 12) for n in range(10_000)}
    file = written(tmp_path, f"dropout quniform {low},{high},{step}")
    assert read_hyper_file(file) == {"dropout": sorted(drawn)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate choice", "line 2 must be a setting, a kind and its values"),
        ("dropout", "line 2 must be a setting, a kind and its values"),
        ("dropout choise [0.1]", r"line 2: there is no kind 'choise'; did you mean choice\?; there are"),
        ("dropout choice 0.1", r"line 2: choice must have a list of values, .* not '0.1'"),
        ("dropout choice []", "choice must have a list of values"),
        ("dropout choice [add, mean]", "choice must have a list of values"),
        ("dropout choice [__import__('os').system('touch written')]", "choice must have a list of values"),
        ("dropout choice ['__import__(\"os\").system(\"touch written\")', {'a': 1}]", "a choice must be a number"),
        ("dropout choice [1j]", "a choice must be a number"),
        ("dropout choice [b'a']", "a choice must be a number"),
        ("dropout choice " + 5000 * "[", "choice must have a list of values"),
        ("dropout choice " + 10_000 * "1", "line 2 must be a setting"),
        ("dropout uniform 0.1", "line 2: uniform must have 2 numbers, low,high, not '0.1'"),
        ("dropout uniform 0.1,inf", "uniform must have 2 numbers"),
        ("dropout quniform 0.1,0.5", "quniform must have 3 numbers, low,high,step"),
        ("dropout quniform 0.5,0.1,0.1", "quniform needs the lower end first, and a step above 0, not 0.5,0.1,0.1"),
        ("dropout quniform 0.1,0.5,0", "quniform needs the lower end first"),
        ("dropout quniform 0,1,1e-9", "quniform has 1,000,000,001 values, more than 10,000; take uniform"),
        ("n_layers choice [3]", "line 2 names n_layers again"),
    ],
)  # fmt: skip
def test_a_line_that_says_something_else_is_refused_and_named(line, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_hyper_file(written(tmp_path, f"n_layers choice [1, 2]\n{line}\n"))
    assert not Path("written").exists()


def test_a_search_takes_the_file_and_checks_it_as_any_space(tmp_path, capsys):
    file = written(tmp_path, "learning_rate loguniform -8,-4\nn_layers choice [1,2]\n")
    plan = make_plan("LightGCN", "synthetic", space=file, trials=3)
    assert plan.space == {"learning_rate": {"loguniform": [math.exp(-8), math.exp(-4)]}, "n_layers": [1, 2]}
    assert all(math.exp(-8) <= point["learning_rate"] <= math.exp(-4) for point in plan.points()[1:])
    with pytest.raises(UserError, match="needs two numbers above 0, the lower one first"):
        read_space("LightGCN", None, written(tmp_path, "learning_rate loguniform -900,-4"))
    command = ["tune", "--model=LightGCN", f"--output={tmp_path / 'search'}", "--space", str(file)]
    written(tmp_path, "n_layer choice [1,2]\n")
    assert main(command) == 2
    assert "LightGCN has no setting 'n_layer'; did you mean n_layers" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "none.hyper")]) == 2
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "own.hyper").write_bytes(b"\xff\xfe")
    assert main(command) == 2
    assert "cannot read" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()

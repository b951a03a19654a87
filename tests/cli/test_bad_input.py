"""Whatever a user gets wrong is answered by one sentence and exit status 2, and overwrites nothing."""

from __future__ import annotations

import os
import pickle
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint

EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "synthetic"
QUICK = ["--pretrain_epochs=1", "--epochs=1", "--show_progress=False"]


def refused(capsys, arguments, sentence):
    """The command fails with exit status 2 and one sentence that contains ``sentence``."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error, error
    assert sentence in error


@pytest.fixture
def own_set(tmp_path):
    """A copy of the embedded set under dataset/own that a test may damage."""
    folder = tmp_path / "dataset" / "own"
    shutil.copytree(EMBEDDED, folder)
    for file in folder.iterdir():
        if file.name.startswith("synthetic"):
            file.rename(folder / file.name.replace("synthetic", "own", 1))
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset=babby"], "python -m recbole_cadmr prepare"),
        (["--dataset=syntetic"], "did you mean synthetic?"),
        (["--dataset=../synthetic"], "one word"),
        (["--dataset=.."], "one word"),
        (["--model=CADRM"], "there is no model 'CADRM'; did you mean CADMR"),
        (["--model=lightgcn"], "did you mean LightGCN"),
        (["--model=RaCT"], "is trained in stages"),
        (["--model=FDSA"], "there is no model 'FDSA'"),
        (["--preset=papper"], "CADMR has no preset 'papper'; it has"),
        (["--model=BPR", "--preset=paper"], "BPR has no preset 'paper'; it has none"),
        (["--n_head=2"], "there is no setting 'n_head'; did you mean n_heads"),
        (["--learning_rat=1"], "did you mean learning_rate"),
        (["--epochs=many"], "epochs must be a whole number, not 'many'"),
        (["--epochs=-1"], "epochs must be at least 0"),
        (["--threads=100000000"], "threads must be at most 4096"),
        (["--learning_rate=0"], "learning_rate must be above 0"),
        (["--pretrain_learning_rate=1e30", "--show_progress=False"], "the training loss is nan"),
        (["--dropout_prob=1.5"], "dropout_prob must be"),
        (["--fusion=cat"], "fusion must be one of"),
        (["--n_heads=3"], "n_heads"),
        (["--topk=[20,100000]"], "give a smaller --topk, such as [20]"),
        (["--topk=10,20"], "not '10,20'; a list stands in brackets: [10,20]"),
        (["--metrics=Recall,NDCG"], "a list stands in brackets: [Recall,NDCG]"),
        (["--topk=10"], "valid_metric Recall@20 is not computed"),
        (["--metrics=[Recal]"], "did you mean recall"),
        (["--valid_metric=Recall@7"], "valid_metric Recall@7 is not computed"),
        (["--save_dataset=True"], "pickles"),
        (["--epochs"], "--epochs has no value"),
        (["--epochs=1", "--epochs=2"], "--epochs is given twice"),
        (["epochs=1"], "settings are given as --name=value"),
        (["--topk=[5,"], "cannot read the value"),
        (["--config_files", "absent.yaml"], "there is no settings file absent.yaml"),
        (["--output=/dev/null/run"], "cannot write the run"),
        (["--resume=absent"], "there is no run folder"),
        (
            ["--resume=absent", "--epochs=3"],
            "continues with the options that it was started with; leave out --epochs",
        ),
        (["--eval_args={mode: uni100}"], "only full ranking"),
    ],
)
def test_settings(capsys, tmp_path, arguments, sentence):
    refused(capsys, ["train", *arguments], sentence)
    assert not list(tmp_path.rglob("result.json"))


def test_broken_yaml(capsys, tmp_path):
    for content in ("a: [1", "- 1\n", "epochs: 3\nn_head: 2\n"):
        (tmp_path / "c.yaml").write_text(content)
        refused(capsys, ["train", "--config_files", "c.yaml"], "c.yaml")


def rewrite(file, change):
    file.write_text("".join(change(file.read_text().splitlines(keepends=True))))


def damage_npy(file, change):
    array = change(np.load(file))
    np.save(file, array)


def with_value(value):
    def change(array):
        array = array.astype(np.float32)
        array[3, 2] = value
        return array

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: (d / "own.image.npy").unlink(), "own.image"),
        (lambda d: (d / "own.image").unlink(), "own.image"),
        (lambda d: (d / "own.text.npy").write_bytes((d / "own.text.npy").read_bytes()[:5000]), "own.text.npy"),
        (lambda d: damage_npy(d / "own.text.npy", lambda a: a[:-1]), "rows"),
        (lambda d: damage_npy(d / "own.text.npy", with_value(np.nan)), "own.text"),
        (lambda d: damage_npy(d / "own.text.npy", with_value(np.inf)), "own.text"),
        (lambda d: damage_npy(d / "own.text.npy", lambda a: a.reshape(-1)), "own.text.npy"),
        (lambda d: np.save(d / "own.text.npy", np.array([{}], dtype=object), allow_pickle=True), "own.text.npy"),
        (lambda d: rewrite(d / "own.text", lambda lines: [*lines[:-1], lines[1]]), "own.text"),
        (lambda d: rewrite(d / "own.text", lambda lines: ["item:token\n", *lines[1:]]), "own.text"),
        (lambda d: rewrite(d / "own.train.inter", lambda lines: lines[:1]), "train"),
        (lambda d: rewrite(d / "own.train.inter", lambda lines: [*lines, "a\tb\tc\n"]), "own.train.inter"),
        (lambda d: rewrite(d / "own.train.inter", lambda lines: [*lines, "a\n"]), "own.train.inter"),
        (lambda d: rewrite(d / "own.train.inter", lambda lines: lines[1:]), "own.train.inter"),
        (lambda d: (d / "own.valid.inter").unlink(), "own.valid.inter"),
        (lambda d: (d / "own.yaml").write_text("modalities: [text"), "own.yaml"),
        (lambda d: (d / "own.yaml").write_text("modalitys: [text]"), "did you mean modalities"),
        (lambda d: rewrite(d / "own.yaml", lambda lines: [x for x in lines if "modalities" not in x]), "modalities"),
    ],
)
def test_damaged_data(capsys, tmp_path, own_set, damage, sentence):
    damage(own_set)
    refused(capsys, ["train", "--dataset=own", *QUICK], sentence)
    assert not (tmp_path / "saved").exists() or not list((tmp_path / "saved").iterdir())


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["i0000\t1 2 3", "i0001\t1 2"], "own.text line 3 has 2 numbers, the first line 3"),
        (["i0000\t1 2 3", "i0001\t1 x 3"], "own.text line 3 is malformed"),
        (["i0000\t1 2 3", "i0001"], "own.text line 3 is malformed"),
        (["i0000\t1 2 3\t4"], "own.text line 2 is malformed"),
        (["i0000\t1 2 3", "i0001\t1 nan 3"], "first for item 'i0001'"),
        (["i0000\t1 2 3", "i0000\t1 2 3"], "own.text line 3 names item 'i0000' a second time"),
        (["i0000\t", "i0001\t1 2 3"], "own.text line 2"),
        (["nobody\t1 2 3"], "names no item of own"),
        ([], "own.text holds no items"),
    ],
)
def test_damaged_inline_features(capsys, own_set, lines, sentence):
    (own_set / "own.text").write_text("\n".join(["item_id:token\ttext:float_seq", *lines]) + "\n")
    (own_set / "own.text.npy").unlink()
    refused(capsys, ["train", "--dataset=own", *QUICK], sentence)


def test_a_model_without_modalities_runs_on_a_set_without_them(own_set, tmp_path):
    rewrite(own_set / "own.yaml", lambda lines: [line for line in lines if "modalities" not in line])
    for file in ("own.text", "own.text.npy", "own.image", "own.image.npy"):
        (own_set / file).unlink()
    assert main(["train", "--model=Pop", "--dataset=own", "--show_progress=False", f"--output={tmp_path / 'r'}"]) == 0


def test_checkpoints(capsys, tmp_path, brief_run, own_set):
    (tmp_path / "junk.pt").write_bytes(b"junk")
    refused(capsys, ["evaluate", "--checkpoint", "junk.pt"], "not a checkpoint")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": os.getcwd}))
    refused(capsys, ["recommend", "--checkpoint", "evil.pt", "--output", "r.tsv"], "not a checkpoint")
    refused(capsys, ["evaluate", "--checkpoint", "absent.pt"], "there is no checkpoint absent.pt")
    content = load_checkpoint(brief_run.checkpoint)
    content["state_dict"].pop("autoencoder.output.bias")
    save_checkpoint("lacking.pt", content)
    refused(capsys, ["evaluate", "--checkpoint", "lacking.pt"], "does not fit the model CADMR")
    save_checkpoint("empty.pt", {})
    refused(capsys, ["evaluate", "--checkpoint", "empty.pt"], "it lacks attributes, changed")
    # The same name, other data: one interaction less.
    other = tmp_path / "elsewhere" / "synthetic"
    shutil.copytree(EMBEDDED, other)
    rewrite(other / "synthetic.train.inter", lambda lines: lines[:-1])
    command = ["evaluate", "--checkpoint", str(brief_run.checkpoint), "--data_path", str(other.parent)]
    refused(capsys, command, "was trained on other data")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--topk", "ten"], "--topk must be a whole number"),
        (["--users", "absent.txt"], "there is no file absent.txt"),
        (["--history", "absent.txt"], "there is no file absent.txt"),
        (["--user", "u.txt"], "did you mean --users"),
        (["--leave_out", "test"], "leave_out must be one of"),
    ],
)
def test_recommend(capsys, tmp_path, brief_run, arguments, sentence):
    command = ["recommend", "--checkpoint", str(brief_run.checkpoint), "--output", "r.tsv", *arguments]
    refused(capsys, command, sentence)
    assert not (tmp_path / "r.tsv").exists()


def test_an_existing_output_is_not_overwritten(capsys, tmp_path, brief_run):
    (tmp_path / "r.tsv").write_text("mine")
    checkpoint = ["--checkpoint", str(brief_run.checkpoint), "--output", "r.tsv"]
    refused(capsys, ["recommend", *checkpoint], "already there")
    refused(capsys, ["evaluate", *checkpoint], "already there")
    assert (tmp_path / "r.tsv").read_text() == "mine"


@pytest.mark.parametrize("arguments", [[], ["trian"], ["evaluate"], ["evaluate", "--checkpoint", "x", "--part", "al"]])
def test_the_command_line_itself(capsys, arguments):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error


def test_a_user_with_test_items_only_is_kept_and_warned_of(capsys, own_set, tmp_path):
    rewrite(own_set / "own.test.inter", lambda lines: [*lines, lines[1].replace(lines[1].split("\t")[0], "late", 1)])
    folder = tmp_path / "run"
    assert main(["train", "--dataset=own", *QUICK, f"--output={folder}"]) == 0
    assert "1 user" in capsys.readouterr().out
    assert main(["recommend", f"--checkpoint={folder / 'model.pt'}", "--output=r.tsv", "--topk=5"]) == 0
    assert [line.split("\t")[0] for line in Path("r.tsv").read_text().splitlines()].count("late") == 5

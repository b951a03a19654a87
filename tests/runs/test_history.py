"""``history.jsonl``: what a run appends, and what a resumed run makes of it wherever the one before was killed."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest

import recbole_cadmr
from recbole_cadmr import files
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs import history
from recbole_cadmr.runs.history import HistoryWriter, read_history, rewrite_history
from recbole_cadmr.runs.result import best_validation, read_result
from recbole_cadmr.training.trainer import RunTrainer
from tests.micro import SMALL, write_micro
from tests.processes import run_apart

ENTRY = {
    "epoch": 3,
    "phase": "training",
    "losses": {"loss": 0.1 + 0.2},
    "valid_score": 1 / 3,
    "valid_result": {"recall@2": 1 / 3},
    "seconds": 1.5,
    "diagnostics": {"gate": -1e-300},
}
BOTH_PHASES = {**SMALL, "preset": "paper", "pretrain_epochs": 2, "epochs": 3, "threads": 1}


def killed_at(place: str, n: int, command: list[str]) -> int:
    """The command line, which kills itself the ``n``-th time that it comes to ``place``."""
    count = itertools.count(1)

    def kill(is_here: bool = True) -> None:
        if is_here and next(count) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    on_validation, line, save, replace = (
        HistoryWriter.on_validation, history._line, RunTrainer._save_checkpoint, os.replace,
    )  # fmt: skip

    def appended(self, *validation):
        on_validation(self, *validation)
        kill(place == "after a line")

    def half_a_line(validation):
        text = line(validation)
        if place == "within a line" and next(count) == n:
            folder = Path(command[-1].partition("=")[2])
            with (folder / "history.jsonl").open("a") as file:
                file.write(text[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return text

    def saved(self, *epoch, **options):
        kill(place == "before the model")
        save(self, *epoch, **options)

    def replaced(source, target):
        kill(place == f"before {Path(target).name}")
        replace(source, target)
        kill(place == f"after {Path(target).name}")

    HistoryWriter.on_validation, history._line = appended, half_a_line
    RunTrainer._save_checkpoint, files.os.replace = saved, replaced
    return main(command)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("data") / "dataset")


def arguments(data, folder, model="CADMR"):
    settings = {**(BOTH_PHASES if model == "CADMR" else {k: SMALL[k] for k in ("topk", "valid_metric")}), "epochs": 3}
    given = [f"--{name}={value}" for name, value in {**settings, "threads": 1, "show_progress": False}.items()]
    return ["train", f"--model={model}", "--dataset=micro", f"--data_path={data}", *given, f"--output={folder}"]


def measured(folder):
    """What ``result.json`` says, times and memory apart; ``history.jsonl`` says the same."""
    result = read_result(folder)
    assert read_history(folder / "history.jsonl") == result["history"]
    times = ("seconds", "cpu_seconds", "evaluation_seconds", "seconds_per_evaluation")
    timed = ("id", *times, "peak_memory_bytes", "history")
    validations = [{key: value for key, value in entry.items() if key != "seconds"} for entry in result["history"]]
    return {key: value for key, value in result.items() if key not in timed}, validations


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    runs = {}

    def of(model):
        if model not in runs:
            folder = tmp_path_factory.mktemp("undisturbed") / model
            assert main(arguments(data, folder, model)) == 0
            runs[model] = measured(folder)
        return runs[model]

    return of


# CADMR validates twice in pre-training, once where fine-tuning begins, and three times in it; resume.pt is written five
# times.
@pytest.mark.parametrize(
    ("place", "n"),
    [
        ("after a line", 3),
        ("after a line", 6),
        ("within a line", 1),
        ("before the model", 3),
        ("before resume.pt", 3),
        ("before result.json", 1),
    ],
)
def test_a_run_that_is_killed_ends_as_if_it_never_had_been(data, tmp_path, undisturbed, place, n):
    folder = tmp_path / "run"
    assert run_apart(killed_at, place, n, arguments(data, folder)).status == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert main(["train", f"--resume={folder}"]) == 0
    assert measured(folder) == undisturbed("CADMR")


def test_a_run_that_is_killed_again_as_it_resumes(data, tmp_path, undisturbed):
    folder = tmp_path / "run"
    assert run_apart(killed_at, "after a line", 4, arguments(data, folder)).status == -signal.SIGKILL
    for place in ("before history.jsonl", "within a line"):
        again = run_apart(killed_at, place, 1, ["train", f"--resume={folder}"])
        assert again.status == -signal.SIGKILL
    assert main(["train", f"--resume={folder}"]) == 0
    assert measured(folder) == undisturbed("CADMR")


def test_validations_are_there_as_soon_as_they_happen(data, tmp_path):
    class Reader(recbole_cadmr.training.callbacks.TrainingCallback):
        def on_validation(self, trainer, validation):
            assert read_history(trainer.folder / "history.jsonl") == trainer.history

    settings = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False, "data_path": str(data), "epochs": 3}
    run = recbole_cadmr.train("BPR", "micro", output=tmp_path / "run", settings=settings, callbacks=[Reader()])
    assert len(run.result["history"]) == 3
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 3


def test_numbers_come_back_bit_for_bit(tmp_path):
    file = tmp_path / "history.jsonl"
    assert read_history(file) == []
    HistoryWriter(file).on_validation(None, ENTRY)
    HistoryWriter(file).on_validation(None, {**ENTRY, "diagnostics": {"gate": math.nan, "tc": math.inf}})
    assert read_history(file) == [ENTRY, {**ENTRY, "diagnostics": {"gate": None, "tc": None}}]
    with file.open("a") as end:
        end.write('{"epoch": 4, "phase": "train')  # by a process that was killed
    assert len(read_history(file)) == 2
    rewrite_history(file, [ENTRY])
    assert file.read_text() == json.dumps(ENTRY) + "\n"


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(arguments(data, folder, "BPR")) == 0
    return folder


@pytest.fixture
def cut(finished, tmp_path):
    """A copy of a run of three epochs whose result is not there yet; resume.pt is of the last one."""
    folder = shutil.copytree(finished, tmp_path / "cut")
    (folder / "result.json").unlink()
    return folder


def edited(lines, place, **values):
    return [*lines[:place], json.dumps({**json.loads(lines[place]), **values}), *lines[place + 1 :]]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda lines: lines[:1], "1 of its 2 validations are left in history.jsonl"),
        (lambda lines: ["{}", *lines], "history.jsonl is damaged or was edited: .*missing required field"),
        (lambda lines: ["[" * 100_000, *lines], "history.jsonl is damaged or was edited"),
        (lambda lines: ["\udcff", *lines], "history.jsonl is damaged or was edited"),
        (lambda lines: edited(lines, 0, epoch="x"), "history.jsonl is damaged or was edited: Expected 'int'"),
        (lambda lines: edited(lines, 0, losses=5), "history.jsonl is damaged or was edited: Expected 'object'"),
        (lambda lines: edited(lines, 0, seconds=-1), "history.jsonl is damaged or was edited"),
        (lambda lines: edited(lines, 2, phase=None), "history.jsonl is damaged or was edited"),
        (lambda lines: edited(lines, 0, epoch=2), "its validation of epoch 2 is not what was measured"),
        (lambda lines: edited(lines, 1, valid_score=9.0), "its validation of epoch 1 is not what was measured"),
        (lambda lines: edited(lines, 1, valid_result={}), "its validation of epoch 1 is not what was measured"),
        (lambda lines: [line.replace('"training"', '"x"') for line in lines], "best validation score"),
        (lambda lines: [lines[0], *lines], "are not those that it counts"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "are not those that it counts"),
        (lambda lines: edited(lines, 0, seconds=9.0), "are not those that it counts"),
    ],
)
def test_an_edited_history_is_refused_and_left_alone(cut, capsys, edit, sentence):
    file = cut / "history.jsonl"
    text = "".join(line + "\n" for line in edit(file.read_text().splitlines()))
    file.write_text(text, errors="surrogateescape")
    before = file.read_bytes()
    assert main(["train", f"--resume={cut}"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error
    with pytest.raises(UserError, match=sentence):
        recbole_cadmr.resume(cut)
    assert file.read_bytes() == before and not (cut / "result.json").exists()


def test_a_history_that_is_gone_is_refused(cut, capsys):
    (cut / "history.jsonl").unlink()
    assert main(["train", f"--resume={cut}"]) == 2
    assert "0 of its 2 validations are left in history.jsonl" in capsys.readouterr().err


def test_a_history_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        HistoryWriter(tmp_path / "history.jsonl").on_validation(None, ENTRY)


def test_of_validations_of_one_score_the_best_is_that_of_the_result():
    # As of a softmax whose weight is chosen at the end: it may tie with an epoch of training in the metric that is
    # chosen by, and in no other.
    epochs = [{**ENTRY, "epoch": epoch, "valid_result": {"recall@2": 1 / 3, "ndcg@2": 0.2}} for epoch in (3, 5)]
    weight = {**ENTRY, "epoch": 1, "phase": "weight", "valid_result": {"recall@2": 1 / 3, "ndcg@2": 0.25}}
    lower = {**ENTRY, "epoch": 7, "valid_score": 0.3}
    assert best_validation([*epochs, weight, lower], 1 / 3, {"recall@2": 1 / 3, "ndcg@2": 0.25}) is weight
    assert best_validation([*epochs, weight, lower], 1 / 3, {"recall@2": 1 / 3, "ndcg@2": 0.2}) is epochs[1]
    assert best_validation([lower], 1 / 3, None) is None

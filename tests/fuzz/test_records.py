"""Whatever stands in a file that is read back, a command does its work or refuses it in one sentence."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recbole_cadmr
from recbole_cadmr.cli.main import main
from tests.fuzz.draws import damaged, edited, effort, json_values
from tests.micro import write_micro

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run, an unfinished one, and one whose test part is unread, beside their data."""
    root = tmp_path_factory.mktemp("records")
    write_micro(root)
    brief = {"data_path": str(root), "epochs": 2, "topk": [1, 2], "valid_metric": "Recall@2", "state": "ERROR",
             "show_progress": False, "metrics": ["Recall", "NDCG"], "save_lists": True}  # fmt: skip
    for name, unread in (("done", True), ("unread", False)):
        recbole_cadmr.train("BPR", "micro", output=root / name, settings={**brief, "evaluate_test": unread})
    shutil.copytree(root / "done", root / "cut")
    (root / "cut" / "result.json").unlink()
    return root


def commands(folder):
    """What reads the files of a run."""
    return [
        ["evaluate", "--checkpoint", str(folder / "model.pt")],
        ["recommend", "--checkpoint", str(folder / "model.pt"), "--topk", "2", "--output", str(folder / "lists.tsv")],
        ["evaluate", "--run", str(folder)],
        ["train", "--resume", str(folder)],
    ]


def try_all(source, change, chosen, capsys):
    """Run ``chosen`` of the commands on a copy of a run that ``change`` has edited."""
    folder = source.with_name("edited")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    change(folder)
    status = main(commands(folder)[chosen])
    said = capsys.readouterr().err
    assert status in (0, 2) and "Traceback" not in said, said
    assert status == 0 or said.strip().splitlines()[-1].startswith("error: "), said


def test_edited_result(place, capsys):
    content = json.loads((place / "unread" / "result.json").read_text())

    @effort(60)
    @given(edited(content), st.sampled_from([2, 3]))
    def holds(result, chosen):
        text = json.dumps(result)
        try_all(place / "unread", lambda folder: (folder / "result.json").write_text(text), chosen, capsys)

    holds()


def test_edited_history(place, capsys):
    lines = (place / "cut" / "history.jsonl").read_text().splitlines()

    @effort(20)
    @given(edited([json.loads(line) for line in lines]))
    def holds(validations):
        entries = validations if isinstance(validations, list) else [validations]
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        try_all(place / "cut", lambda folder: (folder / "history.jsonl").write_text(text), 3, capsys)

    holds()


@pytest.mark.parametrize(("run", "file"), [("done", "model.pt"), ("cut", "resume.pt")])
def test_edited_checkpoint(place, run, file, capsys):
    content = torch.load(place / run / file, weights_only=True)

    @effort(50)
    @given(edited(content, json_values | st.just(torch.zeros(2)) | st.just(torch.tensor([], dtype=torch.uint8))))
    def holds(checkpoint):
        try_all(
            place / run,
            lambda folder: torch.save(checkpoint, folder / file),
            3 if file == "resume.pt" else len(str(checkpoint)) % 2,
            capsys,
        )

    holds()


@pytest.mark.parametrize(
    ("run", "file", "chosen"),
    [
        ("done", "model.pt", 0),
        ("cut", "resume.pt", 3),
        ("cut", "history.jsonl", 3),
        ("unread", "result.json", 2),
    ],
)
def test_damaged_file(place, run, file, chosen, capsys):
    content = (place / run / file).read_bytes()

    @effort(12 if file == "history.jsonl" else 40)  # most of what is left of a history lets the run resume and train
    @given(damaged(content))
    def holds(damage):
        try_all(place / run, lambda folder: (folder / file).write_bytes(damage), chosen, capsys)

    holds()

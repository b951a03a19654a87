"""A run that is killed in the middle of an epoch goes on bit for bit as if it never had been."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal

import pytest
import torch

from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.locking import alone_in
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.checkpoint import load_checkpoint
from tests.processes import run_apart


def main_that_stops(model: str, call: int, how: str, command: list[str]) -> int:
    """The command line, whose process gets a signal at the given call of calculate_loss, in the middle of an epoch."""
    name, _, preset = model.partition(" ")
    trained = Config(name, settings={"preset": preset or None}).model_class
    calls, inner = itertools.count(1), trained.calculate_loss

    def calculate_loss(*args, **kwargs):
        if next(calls) == call:
            os.kill(os.getpid(), getattr(signal, how))
        return inner(*args, **kwargs)

    trained.calculate_loss = calculate_loss
    return main(command)


def main_on_a_full_disk(command: list[str]) -> int:
    """The command line, which cannot write a file of more than 200 kB."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    return main(command)


SETTINGS = {
    "CADMR": [
        "--pretrain_epochs=3",
        "--epochs=3",
        "--train_batch_size=256",
        "--gate_init=0.3",
        "--learning_rate_schedule=cosine",
        "--autoencoder_hidden_sizes=[100]",
    ],
    "CADMR best": [
        "--preset=best",
        "--epochs=3",
        "--ensemble_size=2",
        "--attention_trials=2",
        "--attention_size=16",
        "--linear_settings={adaptive_fits: 2}",
    ],
    "BPR": ["--epochs=3"],
    "LightGCN": ["--epochs=3", "--train_batch_size=4096"],
    "MultiVAE": ["--epochs=3", "--train_batch_size=256", "--mlp_hidden_size=[60]", "--latent_dimension=20"],
    "RecVAE": ["--epochs=2", "--train_batch_size=512", "--hidden_dimension=60", "--latent_dimension=20"],
    "Pop": [],
    "LinearCADMR": ["--adaptive_fits=3"],
}


def arguments(model, folder):
    # What holds bit for bit holds with several threads.
    return ["train", f"--model={model.split()[0]}", *SETTINGS[model], "--threads=2", "--show_progress=False",
            f"--output={folder}"]  # fmt: skip


def run_and_stop(model, call, folder, how="SIGKILL"):
    return run_apart(main_that_stops, model, call, how, arguments(model, folder))


def outcome(folder):
    """What two runs that are the same must agree on: every tensor, metric and loss."""
    result = json.loads((folder / "result.json").read_text())
    checkpoint = load_checkpoint(folder / "model.pt")
    history = [{k: e[k] for k in ("epoch", "phase", "losses", "valid_result")} for e in result["history"]]
    figures = {k: result[k] for k in ("best_valid_score", "best_valid_result", "best_epoch", "test_result")}
    return checkpoint["state_dict"], checkpoint["other_parameter"], figures, history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    runs = {}

    def of(model):
        if model not in runs:
            folder = tmp_path_factory.mktemp("whole") / model
            assert main(arguments(model, folder)) == 0
            runs[model] = outcome(folder)
        return runs[model]

    return of


# CADMR takes six steps an epoch here: the 9th falls into pre-training, the 27th into fine-tuning. Its preset best takes
# three.
@pytest.mark.parametrize(
    ("model", "call"),
    [
        ("CADMR", 9),
        ("CADMR", 27),
        ("CADMR best", 5),
        ("BPR", 7),
        ("LightGCN", 5),
        ("MultiVAE", 9),
        ("RecVAE", 9),
        ("Pop", 2),
        ("LinearCADMR", 1),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, uninterrupted, model, call):
    folder = tmp_path / "cut"
    assert run_and_stop(model, call, folder).status == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert main(["train", "--resume", str(folder)]) == 0
    state, other, figures, history = uninterrupted(model)
    resumed_state, resumed_other, resumed_figures, resumed_history = outcome(folder)
    assert resumed_state.keys() == state.keys()
    assert all(torch.equal(resumed_state[name], tensor) for name, tensor in state.items())
    assert resumed_other.keys() == other.keys()
    tensors = {name: tensor for name, tensor in other.items() if isinstance(tensor, torch.Tensor)}
    assert all(torch.equal(resumed_other[name], tensor) for name, tensor in tensors.items())
    assert resumed_figures == figures
    assert resumed_history == history


def test_ctrl_c_keeps_the_state_and_prints_the_way_on(tmp_path, uninterrupted):
    folder = tmp_path / "cut"
    stopped = run_and_stop("CADMR", 9, folder, "SIGINT")
    assert stopped.status == 2
    assert f"python -m recbole_cadmr train --resume {folder}" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert main(["train", "--resume", str(folder)]) == 0
    assert outcome(folder)[2] == uninterrupted("CADMR")[2]


def test_a_finished_run_and_an_empty_folder_are_not_resumed(brief_run, tmp_path):
    with pytest.raises(UserError, match="is finished"):
        resume(brief_run.folder)
    with pytest.raises(UserError, match="nothing to resume"):
        resume(tmp_path)
    with pytest.raises(UserError, match="there is no run folder"):
        resume(tmp_path / "absent")


@pytest.fixture
def cut(brief_run, tmp_path):
    """A copy of a run whose result is not there yet."""
    folder = tmp_path / "cut"
    shutil.copytree(brief_run.folder, folder)
    (folder / "result.json").unlink()
    return folder


def test_a_run_that_another_process_is_at_is_refused(cut, capsys):
    before = sorted(path.name for path in cut.iterdir())
    with alone_in(cut, "run"):
        assert main(["train", "--resume", str(cut)]) == 2
        assert f"another run is using {cut} (process" in capsys.readouterr().err
    assert sorted(path.name for path in cut.iterdir()) == before


def test_a_run_goes_on_without_what_a_kill_left_and_through_no_link(cut, tmp_path, capsys):
    (cut / ".model.pt.ab_3defg.pt").write_bytes(b"half a checkpoint")
    (cut / ".mine.pt").write_bytes(b"not of ours")
    (cut / "log" / "link").symlink_to(tmp_path)
    assert main(["train", "--resume", str(cut)]) == 2
    assert f"{cut}/log/link is a link" in capsys.readouterr().err
    (cut / "log" / "link").unlink()
    assert main(["train", "--resume", str(cut)]) == 0
    assert [path.name for path in cut.glob(".*")] == [".mine.pt"]


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path):
    full = run_apart(main_on_a_full_disk, arguments("CADMR", tmp_path / "run"))
    assert full.status == 2
    assert full.stderr.strip().splitlines()[-1].startswith("error: cannot write")
    assert "Traceback" not in full.stderr
    assert not list(tmp_path.rglob("*.pt"))

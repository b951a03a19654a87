"""What a training takes that several processes of one thread share, beside one process: side by side in one run.

    python tests/benchmarks/data_parallel.py --dataset baby --data_path DIR [--models VBPR,CADMR@best] [--nproc 2]

CPU seconds are those of the first process, whatever else the machine does. Losses say whether both do the same.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and the others, before torch is imported

from recbole_cadmr.execution.data_parallel import processes
from recbole_cadmr.runs.train import train
from recbole_cadmr.training.callbacks import TrainingCallback


class _Clock(TrainingCallback):
    """CPU seconds of this process in epochs with their evaluations."""

    def __init__(self) -> None:
        self.begun = self.cpu = 0.0

    def on_epoch_start(self, trainer: Any, epoch: int) -> None:
        self.begun = time.process_time()

    def on_validation(self, trainer: Any, validation: Any) -> None:
        self.cpu += time.process_time() - self.begun if validation["phase"] == "training" else 0.0


def measured(model: str, n: int, arguments: argparse.Namespace) -> tuple[dict[str, float], list[float]]:
    """Seconds of an epoch and of an evaluation, and the losses, of a run by ``n`` processes."""
    name, _, preset = model.partition("@")
    settings: dict[str, Any] = {"data_path": arguments.data_path, "threads": 1, "epochs": arguments.epochs}
    settings |= {"eval_step": 1, "evaluate_test": False, "resume_step": 0, "show_progress": False, "state": "error"}
    if preset == "best":  # one training, by the settings as they are
        settings |= {"attention_trials": 1, "linear_settings": {"adaptive_fits": 1}}
    with tempfile.TemporaryDirectory() as folder:
        place, clock = Path(folder) / "run", _Clock()
        run = train(name, arguments.dataset, preset=preset or None, output=place, settings=settings, callbacks=[clock])
    result: Any = run.result
    epochs = [entry for entry in result["history"] if entry["phase"] == "training"]
    seconds = {
        "epoch": result["seconds"]["training"] / arguments.epochs,
        "evaluation": result["seconds_per_evaluation"],
        "CPU of both": clock.cpu / arguments.epochs,
    }
    return seconds, [loss for entry in epochs for loss in entry["losses"].values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="BPR,LightGCN,VBPR,FREEDOM,MGCN,CADMR@best")
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--nproc", type=int, default=2)
    arguments = parser.parse_args()
    models, of = arguments.models.split(","), {}
    for n in (1, arguments.nproc):
        with processes(n):
            of[n] = {model: measured(model, n, arguments) for model in models}
    parts = ("epoch", "evaluation", "CPU of both")
    heads = [head for part in parts for head in (f"{part}, 1 process", f"{part}, each of {arguments.nproc}", "share")]
    print("| " + " | ".join(["model", *heads, "losses differ by"]) + " |\n" + "|---" * (len(heads) + 2) + "|")
    for model in models:
        (alone, losses), (shared, theirs) = of[1][model], of[arguments.nproc][model]
        columns = [model]
        for what in parts:
            columns += [f"{alone[what]:.2f} s", f"{shared[what]:.2f} s", f"{shared[what] / alone[what]:.2f}"]
        differ = max(abs(one - other) for one, other in zip(losses, theirs))
        print("| " + " | ".join([*columns, f"{differ:.0e}"]) + " |", flush=True)


if __name__ == "__main__":
    main()

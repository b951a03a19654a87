"""Times and GPU memory of every model on one card, in less than six minutes, and whether its figures are a CPU's.

    python tests/benchmarks/gpu.py --output DIR [--seconds 330] [--device cpu --shapes tiny --exact tiny]

Everything is generated; nothing is read but this repository. The parts, in this order, and their shares of the time:

- alike: every model on a small set, trained on the card and, with two seeds, on the CPU. Losses and metrics have to be
  those of the CPU within noise, which is what another seed changes (several times that, or a little rounding). What the
  card has trained has to get the same metrics on the CPU, but for a user or two.
- exact: the exact closed form, fitted and evaluated once.
- epochs: an epoch and an evaluation of every model; of three epochs the last. Building a model (item graphs on the CPU)
  stands beside them.
- best: the preset best from its first fit to its last choice.

A part begins with what those before have left of their time. What does not fit is listed as left out, a training that
is stopped as stopped, what fails as failed: then, and where figures differ, the exit status is 1. GPU memory is the
peak of what tensors take, and of what torch's allocator has reserved.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from recbole_cadmr import train
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import is_out_of_memory
from recbole_cadmr.formatting import markdown_table
from recbole_cadmr.models.registry import MODELS
from recbole_cadmr.runs.result import gpu_memory, reset_peak_memory
from recbole_cadmr.runs.session import Session, open_session
from recbole_cadmr.training.callbacks import Training, TrainingCallback
from recbole_cadmr.training.checkpoint import BEST, load_checkpoint
from recbole_cadmr.training.contents import Validation

sys.path.insert(0, str(Path(__file__).parent))
from generated import SHAPES as KNOWN
from generated import WIDTHS, Shape, write_set

SHAPES = {**KNOWN, "tiny": Shape(300, 120, 2_500), "small": Shape(1_500, 600, 13_000)}
SHARES = {"alike": 0.2, "exact": 0.15, "epochs": 0.3, "best": 0.35}
COLUMNS = ["part", "shape", "model", "built s", "epoch s", "evaluation s", "whole s", "GPU MiB", "reserved MiB", "note"]
METRICS = ["recall@20", "ndcg@20"]
QUIET: dict[str, Any] = {
    "metrics": ["Recall", "NDCG"],
    "topk": [20],
    "valid_metric": "Recall@20",
    "show_progress": False,
    "resume_step": 0,
    "state": "error",
}
# One fit, without a search for settings.
ONCE: dict[str, dict[str, Any]] = {
    "LinearCADMR": {"adaptive_fits": 1},
    "CADMR@best": {"attention_trials": 1, "attention_weights": [0.03], "linear_settings": {"adaptive_fits": 1}},
}
ROUNDING = 0.003  # of metrics: a few users' lists
LOSS = 0.005  # of losses, relatively
NOISE = 4.0  # times what another seed changes
ALIKE = "small"  # the shape that figures are compared on


class OutOfTime(Exception):
    """A training's share of the time is used up."""


@dataclass
class Until(TrainingCallback):
    """Ends a training at a point of time, and keeps what each of its epochs took.

    Attributes:
        epochs: seconds of the epoch and of the evaluation behind it, and the validation.
    """

    end: float
    epochs: list[tuple[float, float, Validation]] = field(default_factory=list)
    _before: tuple[float, float] = (0.0, 0.0)

    def on_epoch_start(self, trainer: Training, epoch: int) -> None:
        if time.perf_counter() > self.end:
            raise OutOfTime
        self._before = self._taken(trainer)

    def on_validation(self, trainer: Training, validation: Validation) -> None:
        epoch, evaluation = (now - then for now, then in zip(self._taken(trainer), self._before))
        self.epochs.append((epoch, evaluation, validation))
        self._before = self._taken(trainer)

    @staticmethod
    def _taken(trainer: Any) -> tuple[float, float]:
        evaluation = trainer.seconds["evaluation"]
        return sum(trainer.seconds.values()) - evaluation, evaluation


@dataclass
class Bench:
    """What is measured on a device until the time is over.

    Attributes:
        end: when the part that runs has used its share.
        rows: of the table.
    """

    device: torch.device
    folder: Path
    end: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: bool = False

    def row(self, part: str, shape: str, model: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Add what ``measure`` finds to the table, with the memory of the GPU, or why there is nothing."""
        found: dict[str, Any] = {"part": part, "shape": shape, "model": model}
        if time.perf_counter() > self.end:
            found["note"] = "left out: no time was left"
        else:
            self._forget()
            reset_peak_memory()
            try:
                found |= measure()
            except Exception as error:  # the rest is measured all the same
                text = " ".join(str(error).split())
                if is_out_of_memory(error):
                    found["note"] = f"out of memory: {text:.150}"
                else:
                    self.failed, found["note"] = True, f"failed: {type(error).__name__}: {text:.300}"
            if gpu := gpu_memory(self.device):
                found["GPU MiB"] = gpu["peak_allocated_bytes"] / 2**20
                found["reserved MiB"] = gpu["peak_reserved_bytes"] / 2**20
        self.rows.append(found)
        print("  ".join(f"{name} {text}" for name, text in shown(found).items() if text), flush=True)

    def _forget(self) -> None:
        gc.collect()  # a session's parts refer to each other
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def config(self, model: str, shape: str, on: torch.device | None = None, **settings: Any) -> Config:
        """Settings of a model, or of a preset of it as ``MODEL@PRESET``, on a device."""
        name, _, preset = model.partition("@")
        own = {"use_gpu": (on or self.device).type == "cuda", "data_path": str(self.folder / "dataset")}
        given = {**QUIET, "eval_step": 1, **ONCE.get(model, {}), **own, **settings}
        return Config(name, shape, settings={**given, "preset": preset or None})

    @contextmanager
    def session(self, config: Config) -> Iterator[tuple[Session, float]]:
        """A model on its data, and the seconds that reading and building took; in a folder of its own."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            start = time.perf_counter()
            session = open_session(config, Path(place))
            if session.config["device"].type == "cuda":
                torch.cuda.synchronize()
            built = time.perf_counter() - start
            try:
                yield session, built
            finally:
                session.trainer.tensorboard.close()  # it writes by a thread of its own

    # The parts

    def alike(self, model: str) -> dict[str, Any]:
        """Whether figures of the device are those of the CPU."""
        cpu = torch.device("cpu")
        theirs = []
        for seed in (0, 1):
            with self._training(model, cpu, seed) as (_, figures):
                theirs.append(figures)
        with self._training(model, self.device, 0) as (session, ours):
            scored = session.trainer.evaluate(session.valid_data)
            state = load_checkpoint(session.trainer.folder / BEST, "cpu")
            with self.session(self._brief(model, cpu, 0)) as (other, _):
                other.trainer.load_model_state(state)
                again = other.trainer.evaluate(other.valid_data, load_best_model=False)
        differing = []
        for name in METRICS:
            if abs(again[name] - scored[name]) > ROUNDING:
                differing.append(f"{name} of the same model {scored[name]:.4f}, the CPU's {again[name]:.4f}")
        for name, value in ours.items():
            least = ROUNDING if name in METRICS else LOSS * abs(theirs[0][name])
            if abs(value - theirs[0][name]) > max(least, NOISE * abs(theirs[1][name] - theirs[0][name])):
                seeds = " and ".join(f"{figures[name]:.4f}" for figures in theirs)
                differing.append(f"{name} {value:.4f}, the CPU's with two seeds {seeds}")
        self.failed |= bool(differing)
        found = f"DIFFERS: {'; '.join(differing)}" if differing else "alike"
        return {"note": f"{found}; recall@20 {ours['recall@20']:.4f}, the CPU's {theirs[0]['recall@20']:.4f}"}

    def _brief(self, model: str, on: torch.device, seed: int) -> Config:
        return self.config(model, ALIKE, on, seed=seed, **epochs_of(model, 2))

    @contextmanager
    def _training(self, model: str, on: torch.device, seed: int) -> Iterator[tuple[Session, dict[str, float]]]:
        """A session after its training, and the last losses and metrics."""
        with self.session(self._brief(model, on, seed)) as (session, _):
            session.trainer.fit(session.train_data, session.valid_data)
            last = session.trainer.history[-1]
            losses = {f"loss {name}": float(value or 0.0) for name, value in last["losses"].items()}
            yield session, losses | {name: float(last["valid_result"][name] or 0.0) for name in METRICS}

    def epoch(self, model: str, shape: str, **settings: Any) -> dict[str, Any]:
        """An epoch and the evaluation behind it: of those that there is time for the last."""
        watch = Until(self.end)
        with self.session(self.config(model, shape, **epochs_of(model, 3), **settings)) as (session, built):
            trainer = session.trainer
            trainer.callbacks.append(watch)
            trainer._save_checkpoint = lambda *given, **more: None  # 16 GB of 63,001 items by themselves
            note = ""
            try:
                trainer.fit(session.train_data, session.valid_data)
            except OutOfTime:
                note = "stopped: no time was left"
        if not watch.epochs:
            return {"built s": built, "note": note}
        epoch, evaluation, validation = watch.epochs[-1]
        figures = f"recall@20 {validation['valid_result']['recall@20']:.4f}"
        if note:
            note = f"epoch {len(watch.epochs)} of 3, the first with what torch loads; "
        return {"built s": built, "epoch s": epoch, "evaluation s": evaluation, "note": note + figures}

    def best(self, shape: str, **settings: Any) -> dict[str, Any]:
        """A whole run of the preset best."""
        watch, start = Until(self.end), time.perf_counter()
        given = {**QUIET, "use_gpu": self.device.type == "cuda", "data_path": str(self.folder / "dataset"), **settings}
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            try:
                run = train(
                    "CADMR", shape, preset="best", output=Path(place) / "run", settings=given, callbacks=[watch]
                )
            except OutOfTime:
                whole = time.perf_counter() - start
                return {"whole s": whole, "note": f"stopped: no time was left after {len(watch.epochs)} epochs"}
        result, whole = run.result, time.perf_counter() - start
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in result["seconds"].items())
        test = result["test_result"] or {}
        return {
            "whole s": whole,
            "evaluation s": result["seconds_per_evaluation"],
            "note": f"{result['epochs_run']} epochs; {parts}; test {' '.join(f'{k} {test[k]:.4f}' for k in METRICS)}",
        }


def epochs_of(model: str, n: int) -> dict[str, Any]:
    """Settings for ``n`` epochs; what is fitted in closed form has one anyhow."""
    config = Config(model.partition("@")[0], "synthetic", settings={"preset": model.partition("@")[2] or None})
    if "epochs" not in config.parameters.get("Training", ()) or config["MODEL_TYPE"].name == "TRADITIONAL":
        return {}
    return {"epochs": n, "stopping_step": 100} | ({"pretrain_epochs": 0} if model == "CADMR" else {})


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A row as texts."""
    return {name: "" if row.get(name) is None else text_of(name, row[name]) for name in COLUMNS}


def text_of(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if column.endswith("MiB") else f"{value:.2f}"


def about(device: torch.device) -> str:
    """What was measured with."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    tf32 = torch.backends.cuda.matmul.allow_tf32
    return (
        f"{where}; torch {torch.__version__}, CUDA {torch.version.cuda}, {torch.get_num_threads()} threads; float32, "
        f"TF32 {'on' if tf32 else 'off'} in products"
    )


def measure(given: argparse.Namespace, folder: Path) -> Bench:
    """All parts, each until its share of the time is over."""
    start = time.perf_counter()
    bench = Bench(torch.device(given.device), folder)
    narrow = {"text": 64}  # of a shape whose item graph is not what is measured
    for shape in dict.fromkeys([ALIKE, *given.shapes, *given.exact]):
        widths = WIDTHS if shape in given.shapes else narrow
        write_set(folder / "dataset" / shape, SHAPES[shape], {**narrow, "image": 32} if shape == ALIKE else widths)
    seconds = given.seconds - (time.perf_counter() - start)
    share = 0.0

    def begin(part: str) -> None:
        nonlocal share
        share += SHARES[part]
        bench.end = start + given.seconds - seconds * (1 - share)

    begin("alike")
    for model in given.models:
        bench.row("alike", ALIKE, model, partial(bench.alike, model))
    begin("exact")
    for shape in given.exact:
        bench.row("exact", shape, "LinearCADMR", partial(bench.epoch, "LinearCADMR", shape, fit="exact"))
    begin("epochs")
    for shape in given.shapes:
        for model in given.models:
            bench.row("epochs", shape, model, partial(bench.epoch, model, shape))
    begin("best")
    for shape in given.shapes:
        bench.row("best", shape, "CADMR@best", partial(bench.best, shape))
    print(f"{time.perf_counter() - start:.0f} s in all")
    return bench


def write(bench: Bench, table: pd.DataFrame, folder: Path) -> None:
    """The table as markdown and as JSON, and a picture of the epochs."""
    import plotly.express as px

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.md").write_text(f"{about(bench.device)}\n\n{markdown_table(table)}\n")
    (folder / "gpu.json").write_text(json.dumps({"about": about(bench.device), "rows": bench.rows}, indent=1))
    epochs = pd.DataFrame([row for row in bench.rows if "epoch s" in row], columns=COLUMNS)
    figure = px.bar(epochs, x="model", y="epoch s", color="shape", barmode="group", log_y=True, title="An epoch")
    figure.write_html(folder / "gpu.html", include_plotlyjs=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and say whether something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["baby", "sports"])
    parser.add_argument("--exact", nargs="+", choices=SHAPES, default=["sports", "electronics"])
    parser.add_argument("--models", nargs="+", default=["CADMR@best", *MODELS], metavar="MODEL[@PRESET]")
    parser.add_argument("--seconds", type=float, default=330.0, help="for all parts together (default: 330)")
    parser.add_argument("--output", type=Path, help="folder for the table and the picture")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu runs the same on the CPU")
    with tempfile.TemporaryDirectory() as place:
        bench = measure(given, Path(place))
    table = pd.DataFrame([shown(row) for row in bench.rows])
    print(f"\n{about(bench.device)}\n\n{markdown_table(table)}")
    if given.output:
        write(bench, table, given.output)
    return int(bench.failed)


if __name__ == "__main__":
    raise SystemExit(main())

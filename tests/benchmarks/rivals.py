"""An epoch of the models that learn from triples at a given shape: building, steps, memory, one process a model.

    python tests/benchmarks/generated.py electronics --output DIR
    python tests/benchmarks/rivals.py --dataset electronics --data_path DIR [--models FREEDOM,...] [--steps 50]

Item graphs are built first, by themselves, in an empty cache; a model then reads them from there. Building is reading
the data and making the model. An epoch is extrapolated from the first step, which builds what holds for an epoch (the
edges of FREEDOM, the item graph of LATTICE), and the median of the later ones. A ranking is of one batch of validation
users, with the vectors of all. Seconds are those of the processor, summed over threads; peak memory is that of the
process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.runs.result import peak_memory
from recbole_cadmr.runs.session import open_session

COLUMNS = {
    "built_s": "building s",
    "first_s": "first step s",
    "step_s": "a step s",
    "steps": "steps",
    "epoch_min": "an epoch min",
    "ranking_s": "a ranking s",
    "peak_gb": "peak GB",
}


class FirstBatches:
    """The first batches of a loader, and when each was asked for."""

    def __init__(self, loader: Any, n_batches: int) -> None:
        self._loader, self._n = loader, min(n_batches, len(loader))
        self.times: list[float] = []

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Any:
        for batch in islice(self._loader, self._n):
            self.times.append(process_time())
            yield batch
        self.times.append(process_time())


def measure(model: str, settings: dict[str, Any], steps: int) -> dict[str, float]:
    """The figures of one model, in this process; of "graphs", seconds and memory of each modality's."""
    config = Config("FREEDOM" if model == "graphs" else model, settings.pop("dataset"), settings=settings)
    if model == "graphs":
        dataset, start = MultimodalDataset(config), process_time()
        for name in dataset.modality_names:
            dataset.nearest_items(name, config["neighbours"] - 1)
        return {"built_s": process_time() - start, "peak_gb": peak_memory() / 2**30}
    with tempfile.TemporaryDirectory() as folder:
        start = process_time()
        session = open_session(config, Path(folder))
        built = process_time() - start
        trainer, loader = session.trainer, session.train_data
        trainer._ensure_optimizer()
        batches, start = FirstBatches(loader, steps), process_time()
        trainer._train_epoch(batches, 0)
        first, *seconds = (after - before for before, after in zip([start, *batches.times[1:]], batches.times[1:]))
        step = median(seconds)
        session.model.eval()
        start = process_time()
        for batch in islice(session.valid_data, 1):
            trainer._full_sort_batch_eval(batch)
        return {
            "built_s": built,
            "first_s": first,
            "step_s": step,
            "steps": len(loader),
            "epoch_min": (first + step * (len(loader) - 1)) / 60,
            "ranking_s": process_time() - start,
            "peak_gb": peak_memory() / 2**30,
        }


def table(rows: dict[str, dict[str, float]]) -> str:
    """The figures in Markdown."""
    lines = [["model", *COLUMNS.values()], ["---", *("---:" for _ in COLUMNS)]]
    for model, row in rows.items():
        lines.append([model, *(f"{row[key]:.4g}" if key in row else "" for key in COLUMNS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def picture(rows: dict[str, dict[str, float]], title: str) -> go.Figure:
    """Minutes an epoch, and peak memory, a bar a model."""
    figure = make_subplots(1, 2, subplot_titles=["an epoch, minutes of a processor", "peak memory, GB"])
    for column, key in enumerate(("epoch_min", "peak_gb"), 1):
        figure.add_bar(x=list(rows), y=[row.get(key) for row in rows.values()], row=1, col=column, showlegend=False)
    figure.update_layout(title=title, template="plotly_white")
    return figure


def main() -> None:
    """Measure each model in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="GRCN,LATTICE,FREEDOM,MGCN,LGMRec")
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="at most, of the epoch")
    parser.add_argument("--output", type=Path, help="folder for rivals.md and rivals.html")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # measured in this process
    arguments = parser.parse_args()
    given = {name: getattr(arguments, name) for name in ("dataset", "data_path", "threads")}
    if arguments.one:
        settings = given | {"resume_step": 0, "show_progress": False}
        print(json.dumps(measure(arguments.one, settings, arguments.steps)))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as cache:
        for model in ("graphs", *arguments.models.split(",")):
            options = [f"--{name}={value}" for name, value in given.items()]
            command = [sys.executable, __file__, *options, f"--steps={arguments.steps}", f"--one={model}"]
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows[model] = json.loads(done.stdout.splitlines()[-1])
            print(table({model: rows[model]}).splitlines()[-1], flush=True)
    text = table(rows)
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "rivals.md").write_text(text + "\n")
        picture(rows, arguments.dataset).write_html(arguments.output / "rivals.html", include_plotlyjs="cdn")


if __name__ == "__main__":
    main()

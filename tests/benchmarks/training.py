"""An epoch by this package's loader beside RecBole's: side by side in one run.

    python tests/benchmarks/training.py --dataset baby --data_path DIR [--models BPR,LightGCN,VBPR,FREEDOM]

The model and the trainer's loop are the same; what differs is who makes the batches. (Evaluations: see ranking.py.)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from recbole.data.utils import get_dataloader
from recbole.sampler import Sampler

from recbole_cadmr.config.config import Config
from recbole_cadmr.runs.session import Session, open_session


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def recboles_train_loader(session: Session) -> Any:
    """What RecBole would train from."""
    train, config = session.train_data._dataset, session.config
    sampler = Sampler(["train"], [train], "uniform", 1.0).set_phase("train")
    return get_dataloader(config, "train")(config, train, sampler, shuffle=True)


def measure(model: str, arguments: argparse.Namespace) -> None:
    """Print the figures of one model."""
    given = {"data_path": arguments.data_path, "threads": arguments.threads, "show_progress": False, "resume_step": 0}
    config = Config(model, arguments.dataset, settings={**given, "metrics": ["Recall", "NDCG"]})
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(config, Path(folder))
        trainer, ours, theirs = session.trainer, session.train_data, recboles_train_loader(session)
        trainer.ensure_optimizer()
        runs: list[tuple[float, float]] = []
        for _ in range(arguments.repeats + 1):  # in turn, so that whatever else runs slows both; the first warms up
            runs.append(tuple(seconds(lambda b=b: trainer._train_epoch(b, 0)) for b in (ours, theirs)))  # type: ignore
        epoch, recboles = (min(column) for column in zip(*runs[1:]))
        batches = [seconds(lambda b=b: [None for _ in b]) for b in (ours, theirs)]
        drawing = seconds(lambda: ours.negative_items(ours._users))
        print(f"{model}: an epoch {epoch:.2f} s, by RecBole's loader {recboles:.2f} s, ratio {recboles / epoch:.1f}")
        print(f"  batches alone {batches[0]:.3f} s and {batches[1]:.2f} s; negative items of an epoch {drawing:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="BPR,LightGCN,VBPR,FREEDOM")
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    for model in arguments.models.split(","):
        measure(model, arguments)


if __name__ == "__main__":
    main()

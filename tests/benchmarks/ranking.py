"""Full ranking, metrics included, beside its floor and beside RecBole's own: ratios in one run.

    python tests/benchmarks/ranking.py [--shapes baby sports electronics] [--models BPR LightGCN VBPR FREEDOM]
        [--threads 1] [--recbole] [--output DIR]
    python tests/benchmarks/ranking.py --candidates 15000 [--users 100000] [--items 500000] [--output DIR]

On generated data sets of Amazon's shapes, with models as they are before training. The floor is the least that a full
ranking takes: the product of the users' and the items' vectors, 64 numbers each, in the same batches, and
``torch.topk`` of 50. The package's is the evaluation of every run: known items left out, scores checked, recall and
NDCG at 10, 20 and 50. RecBole's is its trainer, loader and collector on the same model, with as many scores at once
(its default would score one user a step); the metrics of both must be the same.

With ``--candidates``, the lists of a model that scores some items of each user alone, by a sparse product of the
user's row with random weights of items by items: an evaluation, lists of 50 for all users as a table, and the table as
a file.

Memory is the peak above what data and model hold.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import recbole.sampler
import recbole.trainer
import scipy.sparse as sp
import torch
from generated import SHAPES, Shape, write_set
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.models.contract import TrainingHooks
from recbole_cadmr.recommender.list_files import write_lists
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.result import peak_memory, reset_peak_memory
from recbole_cadmr.runs.session import Session, load_session, open_session

SETTINGS = {"metrics": ["Recall", "NDCG"], "topk": [10, 20, 50], "valid_metric": "Recall@20"}
SIZE, K = 64, 50
WIDTHS = {"text": 64}  # of features; no model ranks by more than SIZE or 2 x SIZE numbers of them
COLUMNS = ["shape", "what", "users", "CPU s", "s", "MiB", "ratio"]


def measured(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and what it takes."""
    before, cpu, start = psutil.Process().memory_info().rss, time.process_time(), time.perf_counter()
    reset_peak_memory()
    returned = call()
    took = {"CPU s": time.process_time() - cpu, "s": time.perf_counter() - start}
    return returned, {**took, "MiB": (peak_memory() - before) / 2**20}


def opened(folder: Path, name: str, model: str, threads: int) -> Session:
    """A model as it is before training, and its data."""
    settings = {**SETTINGS, "threads": threads, "data_path": str(folder), "show_progress": False}
    session = open_session(Config(model, name, settings=settings), folder / "run")
    session.model.eval()
    return session


def floor(n_users: int, n_items: int, batch: int) -> None:
    """Scores and lists of some vectors, and nothing else."""
    users, items = torch.randn(n_users, SIZE), torch.randn(n_items, SIZE)
    for block in users.split(batch):
        (block @ items.T).topk(K)


def recboles(session: Session) -> tuple[recbole.trainer.Trainer, FullSortEvalDataLoader]:
    """RecBole's trainer and loader of the test part, with as many scores at once as the package's."""
    config, train, test = session.config, session.train_data._dataset, session.test_data._dataset
    config["eval_batch_size"] = session.trainer.test_batch_size
    sampler = recbole.sampler.Sampler(["train", "test"], [train, test]).set_phase("test")
    trainer = type("RecBoles", (recbole.trainer.Trainer,), {})  # its own class makes one of ours of a Config of ours
    return trainer(config, session.model), FullSortEvalDataLoader(config, test, sampler)


def of_shape(folder: Path, name: str, models: list[str], threads: int, with_recbole: bool) -> list[dict[str, Any]]:
    """Rows of the table for one shape."""
    write_set(folder / name, SHAPES[name], WIDTHS)
    rows: list[dict[str, Any]] = []
    for model in models:
        session = opened(folder, name, model, threads)
        n_users, n_items = len(session.test_data.uid_list), session.dataset.item_num
        if not rows:
            floor(100, n_items, 50)  # threads and libraries start
            _, least = measured(partial(floor, n_users, n_items, session.test_data.step))
            rows.append({"what": "floor", "users": n_users, **least})
        ours, took = measured(partial(session.trainer.evaluate, session.test_data, load_best_model=False))
        rows.append({"what": model, "users": n_users, **took})
        if with_recbole and model == models[0]:
            (trainer, loader), building = measured(partial(recboles, session))
            theirs, took = measured(partial(trainer.evaluate, loader, load_best_model=False))
            if any(abs(theirs[metric] - ours[metric]) > 1e-9 for metric in theirs):
                raise SystemExit(f"RecBole finds {theirs}, the package {ours}")
            rows.append({"what": f"{model}, RecBole's loader built", "users": n_users, **building})
            rows.append({"what": f"{model}, RecBole's evaluation", "users": n_users, **took})
    return [{"shape": name, **row, "ratio": row["CPU s"] / rows[0]["CPU s"]} for row in rows]


class Candidates(TrainingHooks):
    """Scores of ``R S`` with random weights S of items by items, as many a row that about ``candidates`` are stored."""

    def __init__(self, session: Session, candidates: int) -> None:
        train = session.train_data._dataset
        self.field, self.rows = train.uid_field, RatingRows(train.inter_matrix(form="csr"))
        n_items = train.item_num
        each = round(candidates * train.user_num / train.inter_num)
        rng = np.random.default_rng(0)
        near = rng.integers(1, n_items, size=n_items * each, dtype=np.int32)
        weights = rng.random(n_items * each, dtype=np.float32)
        self.S = sp.csr_matrix((weights, near, np.arange(0, len(near) + 1, each)), shape=(n_items, n_items))

    def listed_scores(self, interaction: Any) -> sp.csr_matrix:
        return self.rows.batch(interaction[self.field]).csr @ self.S


def of_candidates(folder: Path, shape: Shape, candidates: int, threads: int) -> list[dict[str, Any]]:
    """Rows of the table for a model that lists candidates."""
    write_set(folder / "large", shape, {})
    session = opened(folder, "large", "BPR", threads)
    session.trainer._save_checkpoint(0)
    n_users = shape.users
    with scratch_folder() as scratch:
        session = load_session(folder / "run" / "model.pt", scratch)
    hooks = session.trainer.hooks = Candidates(session, candidates)
    data, trainer, recommender = session.test_data, session.trainer, Recommender(parts_of(session))
    everyone = torch.arange(1, n_users + 1)

    def products() -> int:
        return sum(hooks.listed_scores({hooks.field: block}).nnz for block in everyone.split(128))

    stored, took = measured(products)
    rows = [{"what": f"the products alone, {stored / n_users:,.0f} candidates a user", "users": n_users, **took}]
    _, took = measured(lambda: trainer.evaluate(data, load_best_model=False))
    rows.append({"what": "evaluation", "users": len(data.uid_list), **took})
    frame, took = measured(lambda: recommender.recommend(topk=K, leave_out="train"))
    rows.append({"what": f"recommend, lists of {K}", "users": n_users, **took})
    _, took = measured(lambda: write_lists(frame, folder / "lists.tsv"))
    rows.append({"what": f"{len(frame):,} rows into a file", "users": n_users, **took})
    name = f"{shape.users:,} x {shape.items:,}"
    return [{"shape": name, **row, "ratio": row["CPU s"] / rows[0]["CPU s"]} for row in rows]


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """The table, and a picture of the CPU seconds."""
    import plotly.express as px

    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)[COLUMNS]
    frame.to_csv(folder / "ranking.csv", index=False)
    figure = px.bar(frame, x="what", y="CPU s", color="shape", barmode="group", log_y=True, title="Full ranking")
    figure.write_html(folder / "ranking.html", include_plotlyjs=True)


def main() -> None:
    """Generate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["baby", "sports", "electronics"])
    parser.add_argument("--models", nargs="+", default=["BPR"])
    parser.add_argument("--recbole", action="store_true", help="measure RecBole's own, of the first model, too")
    parser.add_argument("--candidates", type=int, help="stored scores of a user, of a model that lists them")
    parser.add_argument("--users", type=int, default=100_000, help="with --candidates")
    parser.add_argument("--items", type=int, default=500_000, help="with --candidates")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="folder for the table and the picture")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        folder = Path(place)
        if given.candidates:
            shape = Shape(given.users, given.items, 30 * given.users + given.items)  # all items, and 30 a user
            rows += of_candidates(folder, shape, given.candidates, given.threads)
        else:
            for shape in given.shapes:
                rows += of_shape(folder, shape, given.models, given.threads, given.recbole)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for row in rows:
        cells = [f"{row[name]:,.2f}" if isinstance(row[name], float) else f"{row[name]}" for name in COLUMNS]
        print("| " + " | ".join(cells) + " |")
    if given.output:
        write(rows, given.output)


if __name__ == "__main__":
    main()

"""Requests of one user and lists for all, by a checkpoint or an export, beside implicit's and RecTools' `recommend`.

    python tests/benchmarks/recommending.py PATH [--requests 100000] [--topk 50] [--threads 2] [--implicit]
        [--rectools] [--commands 5] [--output DIR]

PATH is a `model.pt` or the folder of an export. A request is `Recommender.recommend([user], topk)`: the best of all
items that the user does not have, as a table of ids; users come in turn. p50, p90 and p99 are of wall-clock time, which
others on the machine lengthen; `CPU ms` is the time that the process itself computed, a request. Memory is what the
process holds before the first and after the last request. `all users` is one call, without writing.

With --implicit (`pip install implicit`; the package does not need it), its `ItemItemRecommender` recommends
to the same users, by the same sparse weights of items by items and without what they have in training, as arrays of
numbers, neither ids nor a table; ratios are of `CPU ms`.

With --rectools (`pip install rectools`; neither is it needed), its `ImplicitItemKNNWrapperModel` does the same by the
same weights, and gives a table of ids.

With --commands N, the command `recommend` writes everybody's lists in a process of its own, N times. `wait s` is how
long its main thread was ready and got no core, as others had them; `without` it, the command takes at most so long on
quiet cores. Linux alone tells.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As the package does, if torch has not been imported before.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import psutil
import scipy.sparse as sp
import torch

import recbole_cadmr
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.weights_engine import WeightsEngine


def measured(name: str, n: int, request: Callable[[int], Any]) -> dict[str, Any]:
    """Times in ms and memory in MiB of ``n`` requests, after some that are not counted."""
    for number in range(min(n, 200)):
        request(number)
    gc.collect()
    process, wall = psutil.Process(), np.empty(n)
    before, computed = process.memory_info().rss, time.process_time()
    for number in range(n):
        start = time.perf_counter()
        request(number)
        wall[number] = time.perf_counter() - start
    computed = time.process_time() - computed
    gc.collect()
    p50, p90, p99 = np.percentile(wall, [50, 90, 99]) * 1e3
    return {
        "what": name,
        "requests": n,
        "p50 ms": p50,
        "p90 ms": p90,
        "p99 ms": p99,
        "CPU ms": computed / n * 1e3,
        "MiB before": before / 2**20,
        "MiB after": process.memory_info().rss / 2**20,
    }


def weights_of(recommender: Recommender) -> sp.csr_matrix:
    """The sparse weights of items by items that the recommender goes by."""
    engine = recommender.engine
    engine = engine.closed_form if isinstance(engine, AttentionEngine) else engine
    if not isinstance(engine, WeightsEngine) or not sp.issparse(engine.weights):
        raise SystemExit("--implicit is for exports of models that weigh items by items")
    return engine.weights


def implicit_model(weights: sp.csr_matrix) -> Any:
    """implicit's recommender by given weights."""
    from implicit.nearest_neighbours import ItemItemRecommender, NearestNeighboursScorer

    model = ItemItemRecommender()
    model.similarity = weights.astype(np.float64)
    model.scorer = NearestNeighboursScorer(model.similarity)
    return model


def of_implicit(recommender: Recommender, requests: int, topk: int) -> list[dict[str, Any]]:
    """implicit's times on the same users and weights; the lists are compared first."""
    model = implicit_model(weights_of(recommender))
    users = recommender.histories.parts["train"][1:, 1:].tocsr().astype(np.float64)
    rows = [users[number] for number in range(users.shape[0])]
    numbers = recommender.catalogue.item_numbers
    if isinstance(recommender.engine, WeightsEngine):
        for number in range(0, len(rows), max(len(rows) // 50, 1)):
            _, theirs = model.recommend(number, rows[number], N=5)
            mine = recommender.recommend([recommender.users[number]], 5, "train", popular=False)
            scores = np.zeros(5)
            scores[: min(len(theirs), 5)] = theirs[:5]
            if np.abs(mine["score"].to_numpy() - scores).max() > 1e-5 and scores.all():
                raise SystemExit(f"lists of {recommender.users[number]} differ: {len(numbers):,} items")
    start, computed = time.perf_counter(), time.process_time()
    model.recommend(np.arange(len(rows)), users, N=topk)
    everyone = {
        "what": "implicit, all users",
        "requests": 1,
        "p50 ms": (time.perf_counter() - start) * 1e3,
        "CPU ms": (time.process_time() - computed) * 1e3,
    }
    one = measured(
        "implicit, one user", requests, lambda n: model.recommend(n % len(rows), rows[n % len(rows)], N=topk)
    )
    return [one, everyone]


def of_rectools(recommender: Recommender, requests: int, topk: int) -> list[dict[str, Any]]:
    """RecTools' times on the same users and weights; the lists are compared first."""
    from implicit.nearest_neighbours import ItemItemRecommender
    from rectools.dataset import Dataset
    from rectools.models import ImplicitItemKNNWrapperModel

    catalogue = recommender.catalogue
    train = recommender.histories.parts["train"].tocoo()
    ids = {"user_id": catalogue.user_ids[train.row], "item_id": catalogue.item_ids[train.col]}
    data = Dataset.construct(pd.DataFrame({**ids, "weight": 1.0, "datetime": pd.Timestamp(2000, 1, 1)}))
    order = catalogue.numbers_of(data.item_id_map.external_ids.tolist()) - 1  # those that somebody has in training
    model = ImplicitItemKNNWrapperModel(ItemItemRecommender())
    model.model, model.is_fitted = implicit_model(weights_of(recommender)[order][:, order]), True
    users = data.user_id_map.external_ids

    def recommend(some: Any, k: int = topk) -> pd.DataFrame:
        return model.recommend(users=some, dataset=data, k=k, filter_viewed=True)

    if isinstance(recommender.engine, WeightsEngine):
        some, within = users[:: max(len(users) // 50, 1)], catalogue.item_ids[1 + order]
        theirs = recommend(some, 5)["score"].to_numpy()
        mine = recommender.recommend(some, 5, "train", within)["score"].to_numpy()
        if len(theirs) != len(mine) or np.abs(mine - theirs).max() > 1e-5:
            raise SystemExit("RecTools' lists differ")
    one = measured("RecTools, one user", requests, lambda n: recommend([users[n % len(users)]]))
    return [one, measured("RecTools, all users", 1, lambda _: recommend(users))]


_TIMED = """
import sys
from recbole_cadmr.cli.main import main
status = main(sys.argv[1:])
print(open("/proc/thread-self/schedstat").read().split()[1])
sys.exit(status)
"""


def by_command(path: Path, topk: int, times: int) -> pd.DataFrame:
    """Seconds that the command takes, imports and writing included: wall-clock, computed, and waiting for a core."""
    rows = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _TIMED, "recommend", f"--checkpoint={path}", f"--topk={topk}"]
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            done = subprocess.run(
                [*command, f"--output={folder}/x.parquet"], check=True, capture_output=True, text=True
            )
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        wait = int(done.stdout.split()[-1]) / 1e9
        rows.append({"wall s": wall, "CPU s": computed, "wait s": wait, "without": wall - wait})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--topk", type=int, default=50)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--rectools", action="store_true")
    parser.add_argument("--commands", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    start, computed = time.perf_counter(), time.process_time()
    recommender = recbole_cadmr.load(given.path)
    took = time.perf_counter() - start, time.process_time() - computed
    rows: list[dict[str, Any]] = [
        {"what": "load, imports included", "requests": 1, "p50 ms": took[0] * 1e3, "CPU ms": took[1] * 1e3}
    ]
    users, topk = recommender.users, given.topk
    rows.append(measured("one user", given.requests, lambda n: recommender.recommend([users[n % len(users)]], topk)))
    if recommender.takes_histories:
        parts = [pd.DataFrame({"user_id": "x", "item_id": recommender.history(user)}) for user in users[:1000]]
        ask = recommender.recommend_from_history
        few = max(given.requests // 10, 1)
        rows.append(measured("one stranger, from a history", few, lambda n: ask(parts[n % len(parts)], topk)))
    rows.append(measured("all users", 1, lambda _: recommender.recommend(topk=topk)))
    if given.implicit:
        rows += of_implicit(recommender, given.requests, topk)
    if given.rectools:
        rows += of_rectools(recommender, max(given.requests // 10, 1), topk)
    took_ms = {row["what"]: row["CPU ms"] for row in rows}
    for name in ("implicit", "RecTools"):
        for row in rows:
            if other := took_ms.get(f"{name}, {row['what']}"):
                row[f"of {name}'s"] = row["CPU ms"] / other
    frame = pd.DataFrame(rows)
    print(f"{recommender.model_name}, {len(users):,} users, {len(recommender.items):,} items, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print(frame.to_markdown(index=False, floatfmt=",.2f"))
    if given.commands:
        commands = by_command(given.path, topk, given.commands)
        print("\n" + commands.to_markdown(index=False, floatfmt=",.2f"))
        print("\n" + commands.describe().loc[["min", "50%"]].to_markdown(floatfmt=",.2f"))
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        frame.to_csv(given.output / "recommending.csv", index=False)


if __name__ == "__main__":
    main()

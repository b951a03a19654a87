"""A search beside the same trials run by hand, one after the other: seconds in all, and memory of a trial.

    python tests/benchmarks/tuning.py --dataset baby --data_path DIR [--model BPR --trials 4 --jobs 1]

By hand is a command a trial, as a person would type it, with the same settings and thread; ``--jobs 2`` runs two of
them at once. All trials are trained to their ends (scheduler fifo), so that both do the same work; their scores must
agree.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from recbole_cadmr.cli.options import settings_of
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.tune import tune


def by_hand(plan: Plan, folder: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of the trials, each a command of its own."""

    def run(number: int, point: dict[str, Any]) -> dict[str, Any]:
        names = {"model": plan.model, "dataset": plan.dataset} | ({"preset": plan.preset} if plan.preset else {})
        settings = {**names, **plan.settings, **point, "evaluate_test": False, "show_progress": False}
        file, output = folder / f"{number}.yaml", folder / str(number)
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "recbole_cadmr", "train", f"--config_files={file}", f"--output={output}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read_result(output)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run, *zip(*enumerate(plan.points(), 1))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="BPR")
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    known, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        result = tune(
            known.model,
            known.dataset,
            output=Path(scratch) / "search",
            scheduler="fifo",
            trials=known.trials,
            settings=settings_of(rest),
            resources=Resources(jobs=known.jobs),
            test=False,
        )
        searched = time.perf_counter() - start
        start = time.perf_counter()
        plan = result.plan
        results = by_hand(plan, Path(scratch), known.jobs)
        typed = time.perf_counter() - start
    best = [record.best(plan.bigger) for record in result.records]
    if [entry and entry["valid_score"] for entry in best] != [one["best_valid_score"] for one in results]:
        raise SystemExit("the search and the trials by hand do not agree")
    peaks = ([record.peak_memory_bytes for record in result.records], [one["peak_memory_bytes"] for one in results])
    memory = [max(sizes) / 2**30 for sizes in peaks]
    print(
        f"{plan.model} on {plan.dataset}, {plan.trials} trials, {known.jobs} at once: search {searched:.1f} s, by hand "
        f"{typed:.1f} s, {searched / typed - 1:+.0%}; largest trial {memory[0]:.2f} GB, by hand {memory[1]:.2f} GB"
    )


if __name__ == "__main__":
    main()

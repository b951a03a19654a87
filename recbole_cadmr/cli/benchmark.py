"""``benchmark``: many models on many data sets over several seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_cadmr.arguments import names, positive, whole_number
from recbole_cadmr.cli.settings import settings_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark``."""
    parser.epilog = "Settings: --name=value for all models that have it, --MODEL.name=value for one."
    add = parser.add_argument
    add("--models", required=True, type=names, help="as in CADMR@best,LightGCN,FREEDOM; @ names a preset")
    add("--datasets", default=["synthetic"], type=names, help="as in baby,sports (default: the embedded one)")
    add("--seeds", default="3", help="how many (5), or which (1,2,2020); default 3")
    add("--output", required=True, metavar="DIR", help="folder of the benchmark; an own one goes on")
    add("--tune", default=0, type=whole_number(), metavar="N", help="settings of each model to try on validation first")
    add("--jobs", default=1, type=whole_number(1), help="cells at once (default 1)")
    add("--memory", type=positive, metavar="GB", help="memory a cell may use (default: its share of what is free)")
    add("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster, or 'local'")
    add("--runs", nargs="+", default=[], metavar="DIR", help="finished runs to set beside the cells")
    parser.set_defaults(run=run)


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run the cells, print the first tables."""
    from recbole_cadmr.benchmark.benchmark import benchmark
    from recbole_cadmr.benchmark.plan import seeds_of
    from recbole_cadmr.reports.tables import first_tables

    tables = benchmark(
        known.models,
        known.datasets,
        seeds_of(known.seeds),
        known.output,
        settings=settings_of(rest),
        tune=known.tune,
        jobs=known.jobs,
        memory=known.memory,
        ray_address=known.ray_address,
        runs=known.runs,
    )
    print("\n" + first_tables(tables))
    print("files: " + ", ".join(map(str, sorted(Path(known.output).glob("[!.]*.*")))))
    return 0

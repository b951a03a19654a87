"""``study``: the variants of a study side by side, and its answer."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.arguments import names, positive, whole_number
from recbole_cadmr.cli.options import begun_with
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``study``."""
    parser.epilog = "Settings: --name=value for all variants whose model has them."
    add = parser.add_argument
    add("study", nargs="?", metavar="NAME", help="a study of the package, or the yaml file of your own")
    add("--list", action="store_true", help="show the studies of the package")
    add("--output", metavar="DIR", help="folder of the study; the same command again resumes it")
    add("--datasets", type=names, help="data sets instead of those of the study")
    add("--models", type=names, help="classes of your own that variants have by name, as FILE.py:CLASS")
    add("--seeds", help="how many (5), or which (1,2,2020), instead of those of the study")
    add("--quick", action="store_true", help="a trial on the embedded data set, in minutes")
    add("--jobs", default=1, type=whole_number(1), help="runs at the same time (default 1)")
    add("--memory", type=positive, metavar="GB", help="memory a run may use (default: its share of what is free)")
    add("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster, or 'local'")
    add("--data_path", metavar="DIR", help="folder of the data sets (default: dataset)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print its answer, or list the studies."""
    from recbole_cadmr.benchmark.plan import seeds_of
    from recbole_cadmr.formatting import listed, unmarked
    from recbole_cadmr.on_screen import fitted, laid_out
    from recbole_cadmr.study.plan import read_plan, study_names
    from recbole_cadmr.study.study import study

    if arguments.list:
        width = max(map(len, study_names()))
        for name in study_names():
            print(fitted(f"{name:<{width}}  {read_plan(name)[1].question}", " " * (width + 2)))
        return 0
    if not arguments.study or not arguments.output:
        raise UserError("a study needs its name and --output DIR; 'study --list' shows the studies of the package")
    found = study(
        arguments.study,
        arguments.output,
        datasets=arguments.datasets,
        seeds=seeds_of(arguments.seeds) if arguments.seeds else None,
        settings=begun_with(arguments),
        models=arguments.models or (),
        quick=arguments.quick,
        jobs=arguments.jobs,
        memory=arguments.memory,
        ray_address=arguments.ray_address,
    )
    print("\n" + laid_out(unmarked(found.answer())))
    print(listed(sorted(Path(arguments.output).glob("[!.]*.*"))))
    return 0

"""``benchmark``: many models on many data sets over several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.arguments import files, names, positive, whole_number
from recbole_cadmr.cli.options import OWN_MODEL, add_mmrec_config, begun_with, refuse_beside_resume, refuse_named_model
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``benchmark``."""
    parser.epilog = "Settings: --name=value for all models that have it, --MODEL.name=value for one."
    add = parser.add_argument
    add("--models", type=names, help=f"as in CADMR@best,LightGCN,FREEDOM; @ names a preset; {OWN_MODEL}")
    add("--datasets", type=names, help="as in baby,sports (default: the embedded one)")
    add("--seeds", help="how many (5), or which (1,2,2020); default 3")
    add("--output", metavar="DIR", help="folder of the benchmark; the same command again resumes it")
    add("--resume", metavar="DIR", help="resume the benchmark in DIR, with the options that it was started with")
    add_mmrec_config(
        parser,
        "for all models of both, or the one that a file is named after; later ones have priority, then settings",
    )
    add("--tune", type=whole_number(), metavar="N", help="settings of each model to try on validation first")
    add("--jobs", default=1, type=whole_number(1), help="runs at the same time (default 1)")
    add("--memory", type=positive, metavar="GB", help="memory a cell may use (default: its share of what is free)")
    add("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster, or 'local'")
    add("--data_path", metavar="DIR", help="folder of the data sets (default: dataset)")
    add("--runs", nargs="+", metavar="DIR", help="finished runs to add to the tables")
    add(
        "--lists",
        nargs="+",
        action="extend",
        metavar="NAME=FILE",
        help="lists that another toolkit has made on this split: rows user, item and score or rank, or MMRec's csv; "
        "{dataset} and {seed} may stand in FILE, or NAME@DATASET before it",
    )
    add("--columns", type=names, help="metrics of joint.tex, the table of all data sets (default: recall@20,ndcg@20)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the cells, print the first tables."""
    from recbole_cadmr.benchmark.benchmark import benchmark, resume
    from recbole_cadmr.benchmark.plan import seeds_of, take_in_models
    from recbole_cadmr.formatting import listed
    from recbole_cadmr.on_screen import laid_out
    from recbole_cadmr.reports.tables import first_tables

    where = {"jobs": arguments.jobs, "memory": arguments.memory, "ray_address": arguments.ray_address}
    where["columns"] = arguments.columns or ()
    if arguments.resume:
        refuse_beside_resume(arguments, "datasets", "seeds", "output", "tune", "runs", "lists", "mmrec_config")
        for model in arguments.models or ():
            refuse_named_model("--resume continues with the models that it was started with", model)
        tables = resume(arguments.resume, models=arguments.models or (), data_path=arguments.data_path, **where)
    elif arguments.models and arguments.output:
        settings, seeds = begun_with(arguments), seeds_of(arguments.seeds) if arguments.seeds else None
        if arguments.mmrec_config:
            from recbole_cadmr.benchmark.mmrec_files import settings_of_files

            labels = take_in_models(arguments.models)
            found = settings_of_files(files(arguments.mmrec_config), labels, settings, seeds)
            print("\n".join(found.notes))
            settings, seeds = {**found.settings, **settings}, seeds or found.seeds
        tables = benchmark(
            arguments.models,
            arguments.datasets or ["synthetic"],
            seeds or seeds_of("3"),
            arguments.output,
            settings=settings,
            tune=arguments.tune or 0,
            runs=arguments.runs or (),
            lists=arguments.lists or (),
            **where,
        )
    else:
        raise UserError("a benchmark needs --models and --output, or --resume with the folder of one")
    print("\n" + laid_out(first_tables(tables)))
    print(listed(sorted(Path(arguments.resume or arguments.output).glob("[!.]*.*"))))
    return 0

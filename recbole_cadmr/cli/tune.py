"""``tune``: a search of settings on validation."""

from __future__ import annotations

import argparse

from recbole_cadmr.arguments import files, not_negative, positive, whole_number
from recbole_cadmr.cli.options import (
    add_mmrec_config,
    add_subject,
    begun_with,
    read_mmrec_config,
    refuse_beside_resume,
    settings_in,
)
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``tune``."""
    parser.epilog = "Settings of all trials: --name=value; they are not searched."
    add, count = parser.add_argument, whole_number(1)
    add_subject(parser)
    add_mmrec_config(parser)
    add(
        "--space",
        metavar="FILE",
        help="yaml file, 'name: [choices]' a line, or RecBole's NAME.hyper (default: the model's own)",
    )
    add("--trials", type=count, metavar="N", help="how many at most; the first are the defaults (default 20)")
    add("--sampler", help="random (default), grid, or bayesian")
    add("--scheduler", help="asha (default), pbt, or fifo")
    add("--grace", type=count, metavar="EPOCHS", help="epochs before a trial may be stopped, or changed (pbt)")
    add("--output", metavar="DIR", help="folder of the search; the same command again resumes it")
    add("--resume", metavar="DIR", help="resume the search in DIR, with the options that it was started with")
    add("--cpus", type=positive, metavar="CORES", help="cores of a trial, and its threads (default 1; fractions too)")
    add("--gpus", type=not_negative, metavar="GPUS", help="GPUs of a trial (default: one if any; fractions too)")
    add("--jobs", type=count, metavar="N", help="trials at once, at most (default: as many as fit)")
    add("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster (default: one started here)")
    add("--dashboard", action="store_true", help="start Ray's dashboard with a cluster started here")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Search, or resume a search, and print the outcome."""
    from recbole_cadmr.tuning.resources import Resources
    from recbole_cadmr.tuning.tune import resume, tune

    resources = Resources(
        address=arguments.ray_address or "local",
        cpus=arguments.cpus,
        gpus=arguments.gpus,
        jobs=arguments.jobs,
        dashboard=arguments.dashboard,
    )
    if arguments.resume:
        subject = ("dataset", "preset", "config_files", "mmrec_config")
        refuse_beside_resume(arguments, *subject, "space", "sampler", "scheduler", "grace", "output")
        result = resume(
            arguments.resume,
            model=arguments.model,
            trials=arguments.trials,
            data_path=arguments.data_path,
            resources=resources,
        )
    elif arguments.output:
        model, space, settings = arguments.model, arguments.space, {}
        if (found := read_mmrec_config(arguments)) is not None:
            if found.space and space:
                raise UserError("--space and the lists in --mmrec_config both say what is searched; give one of them")
            print("\n".join(found.notes))
            model, space, settings = found.model, space or found.space or None, found.settings
        result = tune(
            model,
            arguments.dataset,
            output=arguments.output,
            preset=arguments.preset,
            space=space,
            sampler=arguments.sampler or "random",
            scheduler=arguments.scheduler or "asha",
            trials=arguments.trials,
            grace=arguments.grace,
            settings={**settings, **settings_in(files(arguments.config_files)), **begun_with(arguments)},
            resources=resources,
        )
    else:
        raise UserError("a search needs --output DIR, its folder, or --resume with the folder of one")
    print(f"\n{result!r}")
    return 0

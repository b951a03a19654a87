"""``tune``: a search of settings on validation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from recbole_cadmr.arguments import files, not_negative, positive, whole_number
from recbole_cadmr.cli.settings import settings_in, settings_of
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``tune``."""
    parser.epilog = "Settings of all trials: --name=value; they are not searched."
    add, count = parser.add_argument, whole_number(1)
    add("--model", help="CADMR (default), or any other model")
    add("--dataset", help="name of a data set (default: the embedded one, 'synthetic')")
    add("--preset", help="a preset of the model (CADMR: paper)")
    add("--config_files", nargs="+", default=[], help="yaml files of settings, in rising priority")
    add("--data_path", help="folder of the data sets (default: dataset)")
    add("--space", metavar="FILE", help="yaml file, 'name: [choices]' a line (default: the model's own)")
    add("--trials", type=count, metavar="N", help="most trials, the first of which are the defaults (default 20)")
    add("--sampler", help="random (default), grid, or bayesian")
    add("--scheduler", help="asha (default), pbt, or fifo")
    add("--grace", type=count, metavar="EPOCHS", help="epochs before a trial may be stopped, or changed (pbt)")
    add("--output", metavar="DIR", help="folder of the search; the same command again resumes it")
    add("--resume", metavar="DIR", help="resume the search in DIR, by the options that it was begun with")
    add("--cpus", type=positive, metavar="CORES", help="cores of a trial, and its threads (default 1; fractions too)")
    add("--gpus", type=not_negative, metavar="GPUS", help="GPUs of a trial (default: one if any; fractions too)")
    add("--jobs", type=count, metavar="N", help="most trials at once (default: as many as there is room for)")
    add("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster (default: one started here)")
    add("--dashboard", action="store_true", help="let a cluster started here have Ray's dashboard")
    parser.set_defaults(run=run)


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Search, or resume a search, and print the outcome."""
    from recbole_cadmr.tuning.outputs import summary
    from recbole_cadmr.tuning.resources import Resources
    from recbole_cadmr.tuning.tune import resume, tune

    settings, settings_files = settings_of(rest), files(known.config_files)
    resources = Resources(
        address=known.ray_address or "local",
        cpus=known.cpus,
        gpus=known.gpus,
        jobs=known.jobs,
        dashboard=known.dashboard,
    )
    if known.resume:
        begun_with = ("model", "dataset", "preset", "space", "sampler", "scheduler", "grace", "output")
        given = [f"--{name}" for name in begun_with if getattr(known, name) is not None]
        given += ["a setting"] * bool(settings or settings_files)
        if given:
            raise UserError(f"--resume DIR resumes the search in DIR as it was begun; leave out {given[0]}")
        result = resume(known.resume, trials=known.trials, data_path=known.data_path, resources=resources)
    elif known.output:
        if known.data_path:
            settings["data_path"] = known.data_path
        result = tune(
            known.model,
            known.dataset,
            output=known.output,
            preset=known.preset,
            space=known.space,
            sampler=known.sampler or "random",
            scheduler=known.scheduler or "asha",
            trials=known.trials,
            grace=known.grace,
            settings={**settings_in(settings_files), **settings},
            resources=resources,
        )
    else:
        raise UserError("a search needs --output DIR, its folder, or --resume with the folder of one")
    print(summary(result.plan, result.records, result.winner, result.test, result.folder))
    return 0

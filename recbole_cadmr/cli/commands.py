"""The subcommands: their options, and the workflow each one calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from recbole_cadmr.errors import UserError, did_you_mean


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see '{self.prog} --help'")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command sets ``run(known, rest) -> exit status``."""
    parser = _Parser(prog="recbole-cadmr", description="Multimodal recommendation in RecBole.")
    parser.add_argument("--version", action="version", version=version("recbole_cadmr"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, help_text in (
        ("train", _add_train, "train a model and evaluate it"),
        ("evaluate", _add_evaluate, "score a checkpoint with other metrics, masking or part"),
        ("recommend", _add_recommend, "write the top items of users, or of people given by their history"),
        ("benchmark", _add_benchmark, "many models on many data sets over several seeds, side by side"),
        ("tune", _add_tune, "search settings on validation with Ray Tune"),
        ("table", _add_table, "finished runs side by side, as markdown"),
        ("prepare", _add_prepare, "turn other layouts into a data set"),
        ("generate", _add_generate, "make a synthetic data set as the embedded one"),
        ("doctor", _add_doctor, "versions, known incompatibilities, devices, data sets"),
    ):
        # Abbreviated options would swallow settings: --data for --data_path, --out for --output.
        add(commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Every setting of the model, of RecBole and of this package: --name=value."
    parser.add_argument("--model", help="CADMR (default), or a general recommender of RecBole's")
    parser.add_argument("--dataset", help="name of a data set (default: the embedded one, 'synthetic')")
    parser.add_argument("--preset", help="a preset of the model (CADMR: paper)")
    parser.add_argument("--config_files", nargs="+", default=[], help="yaml files of settings, in rising priority")
    parser.add_argument("--output", help="folder of the run (default: a new one under saved/)")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in DIR that was cut")
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.add_argument("--download", action="store_true", help="get the data set first, if it is not there")
    parser.set_defaults(run=_train)


def _train(known: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_cadmr.workflows.train import resume, train

    settings = settings_of(rest)
    if known.resume:
        if settings or known.config_files or any((known.model, known.dataset, known.preset, known.output)):
            raise UserError("--resume goes on with the settings of the run; only --data_path may stand beside it")
        resume(known.resume, known.data_path)
        return 0
    if known.data_path:
        settings["data_path"] = known.data_path
    if known.download:
        from recbole_cadmr.data.prepare.known import get

        if not known.dataset:
            raise UserError("--download needs --dataset, the name of the data set to get")
        get(known.dataset, Path(known.data_path or "dataset"))
    files = _files(known.config_files)
    train(
        known.model,
        known.dataset,
        preset=known.preset,
        output=known.output,
        config_files=files,
        settings=settings,
    )
    return 0


def settings_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings from ``--name=value`` or ``--name value``.

    Raises:
        UserError: on anything else, and on a setting given twice.
    """
    from recbole_cadmr.config.declarations import parse_value

    settings: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name:
            raise UserError(f"cannot read '{argument}'; settings are given as --name=value")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise UserError(f"--{name} has no value; give it as --{name}=value")
            value = waiting.pop(0)
        if name in settings:
            raise UserError(f"--{name} is given twice")
        settings[name] = parse_value(value)
    return settings


def _nothing_left(rest: Sequence[str], parser: argparse.ArgumentParser) -> None:
    if rest:
        options = [option for action in parser._actions for option in action.option_strings]
        name = rest[0].partition("=")[0]
        raise UserError(f"there is no option '{rest[0]}'{did_you_mean(name, options)}")


def _add_checkpoint(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--checkpoint", required=required, metavar="FILE", help="model.pt of a run")
    parser.add_argument("--data_path", help="folder of the data sets, if moved since training")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint(parser, required=False)
    parser.add_argument("--run", metavar="DIR", dest="folder", help="read the test part that a run left unread, once")
    parser.add_argument("--part", default="test", help="valid or test (default)")
    parser.add_argument("--metrics", help="as in Recall,NDCG (default: those of the run)")
    parser.add_argument("--topk", help="as in 10,20 (default: those of the run)")
    parser.add_argument("--mask_valid_at_test", help="True or False (default: as in the run)")
    parser.add_argument("--output", metavar="FILE", help="write the result as JSON, too")

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        from recbole_cadmr.workflows.evaluate import evaluate, read_test
        from recbole_cadmr.workflows.results import metric_table, write_json

        _nothing_left(rest, parser)
        _refuse_existing(known.output)
        if bool(known.folder) == bool(known.checkpoint):
            raise UserError("give either --checkpoint FILE or --run DIR")
        if known.folder:
            if known.metrics or known.topk or known.mask_valid_at_test or known.output or known.part != "test":
                raise UserError("--run measures what the run measures; only --data_path may stand beside it")
            print(metric_table({f"test of {known.folder}": read_test(known.folder, known.data_path)}))
            return 0
        result = evaluate(
            known.checkpoint,
            part=known.part,
            metrics=known.metrics.split(",") if known.metrics else None,
            topk=[_whole_number(k, "--topk") for k in known.topk.split(",")] if known.topk else None,
            mask_valid_at_test=_truth(known.mask_valid_at_test, "--mask_valid_at_test"),
            data_path=known.data_path,
        )
        left_out = (
            "train and validation" if result["protocol"]["mask_valid_at_test"] and known.part == "test" else "train"
        )
        title = f"{result['model']} on {result['dataset']}, {known.part}, {left_out} items left out"
        print(metric_table({title: result["result"]}))
        if known.output:
            write_json(Path(known.output), result)
        return 0

    parser.set_defaults(run=run)


def _add_recommend(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint(parser)
    parser.add_argument("--topk", default="50", help="items a user (default 50)")
    parser.add_argument("--users", metavar="FILE", help="user ids, one a line (default: all users)")
    parser.add_argument("--history", metavar="FILE", help="rows 'user item' of people the model has not seen")
    parser.add_argument(
        "--leave_out",
        default="train",
        help="interactions not recommended again: train (default), train+valid, all, none",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="tab-separated user_id, item_id, rank, score")

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        from recbole_cadmr.workflows import recommend as workflow

        _nothing_left(rest, parser)
        _refuse_existing(known.output)
        if known.users and known.history:
            raise UserError("give either --users or --history")
        topk = _whole_number(known.topk, "--topk")
        history = workflow.read_history(known.history) if known.history else None
        users = workflow.read_users(known.users) if known.users else None
        recommender = workflow.Recommender(known.checkpoint, known.data_path)
        if history is not None:
            frame, unknown = recommender.recommend_from_history(history, topk)
            if unknown:
                print(
                    f"{unknown} of {len(history)} rows name items that are not in the data set; they were passed over"
                )
        else:
            frame = recommender.recommend(users, topk, known.leave_out)
        workflow.write_recommendations(frame, known.output)
        print(f"{len(frame):,} rows for {frame['user_id'].nunique():,} users in {known.output}")
        return 0

    parser.set_defaults(run=run)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of finished runs on one data set")

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        from recbole_cadmr.workflows.table import results_table

        _nothing_left(rest, parser)
        print(results_table(known.folders))
        return 0

    parser.set_defaults(run=run)


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Settings: --name=value for all models that have it, --MODEL.name=value for one."
    parser.add_argument("--models", required=True, help="as in CADMR@best,LightGCN,FREEDOM; @ names a preset")
    parser.add_argument("--datasets", default="synthetic", help="as in baby,sports (default: the embedded one)")
    parser.add_argument("--seeds", default="3", help="how many (5), or which (1,2,2020); default 3")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the benchmark; an own one goes on")
    parser.add_argument("--tune", default="0", metavar="N", help="settings of each model to try on validation first")
    parser.add_argument("--jobs", default="1", help="cells at once (default 1)")
    parser.add_argument("--memory", metavar="GB", help="memory a cell may use (default: its share of what is free)")
    parser.add_argument("--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster, or 'local'")
    parser.add_argument("--runs", nargs="+", default=[], metavar="DIR", help="finished runs to set beside the cells")

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        from recbole_cadmr.workflows.benchmark.benchmark import benchmark
        from recbole_cadmr.workflows.benchmark.plan import seeds_of
        from recbole_cadmr.workflows.benchmark.tables import first_tables

        tables = benchmark(
            _names(known.models),
            _names(known.datasets),
            seeds_of(known.seeds),
            known.output,
            settings=settings_of(rest),
            tune=_whole_number(known.tune, "--tune", least=0),
            jobs=_whole_number(known.jobs, "--jobs", least=1),
            memory=_positive(known.memory, "--memory"),
            ray_address=known.ray_address,
            runs=known.runs,
        )
        print("\n" + first_tables(tables))
        print("files: " + ", ".join(map(str, sorted(Path(known.output).glob("[!.]*.*")))))
        return 0

    parser.set_defaults(run=run)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Settings of all trials: --name=value; they are not searched."
    parser.add_argument("--model", help="CADMR (default), or any other model")
    parser.add_argument("--dataset", help="name of a data set (default: the embedded one, 'synthetic')")
    parser.add_argument("--preset", help="a preset of the model (CADMR: paper)")
    parser.add_argument("--config_files", nargs="+", default=[], help="yaml files of settings, in rising priority")
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.add_argument(
        "--space", metavar="FILE", help="yaml file, 'name: [choices]' a line (default: the model's own)"
    )
    parser.add_argument("--trials", metavar="N", help="most trials, the first of which are the defaults (default 20)")
    parser.add_argument("--sampler", help="random (default), grid, or bayesian")
    parser.add_argument("--scheduler", help="asha (default), pbt, or fifo")
    parser.add_argument("--grace", metavar="EPOCHS", help="epochs before a trial may be stopped, or changed (pbt)")
    parser.add_argument("--output", metavar="DIR", help="folder of the search")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="DIR", help="go on with the search in DIR, or --output"
    )
    parser.add_argument("--cpus", metavar="CORES", help="cores of a trial, and its threads (default 1; fractions too)")
    parser.add_argument("--gpus", metavar="GPUS", help="GPUs of a trial (default: one if there are any; fractions too)")
    parser.add_argument("--jobs", metavar="N", help="most trials at once (default: as many as there is room for)")
    parser.add_argument(
        "--ray-address", "--ray_address", metavar="ADDRESS", help="a Ray cluster (default: one started here)"
    )
    parser.add_argument("--dashboard", action="store_true", help="let a cluster started here have Ray's dashboard")
    parser.set_defaults(run=_tune)


def _tune(known: argparse.Namespace, rest: Sequence[str]) -> int:
    from recbole_cadmr.workflows.tune.files import summary
    from recbole_cadmr.workflows.tune.resources import Resources
    from recbole_cadmr.workflows.tune.tune import resume, tune

    settings = settings_of(rest)
    trials = None if known.trials is None else _whole_number(known.trials, "--trials", least=1)
    cpus = _positive(known.cpus, "--cpus")
    resources = Resources(
        address=known.ray_address or "local",
        cpus=cpus,
        gpus=_positive(known.gpus, "--gpus", zero=True),
        jobs=None if known.jobs is None else _whole_number(known.jobs, "--jobs", least=1),
        dashboard=known.dashboard,
    )
    files = _files(known.config_files)
    if known.resume:
        others = ("model", "dataset", "preset", "space", "sampler", "scheduler", "grace", "output")
        given = [f"--{name}" for name in others if getattr(known, name)]
        if settings or files or given:
            what = given[0] if given else "a setting"
            raise UserError(f"--resume DIR goes on with the search in DIR as it was; leave out {what}")
        found = resume(
            known.resume,
            trials=trials,
            data_path=known.data_path,
            resources=resources,
        )
    else:
        if not known.output:
            raise UserError("a search needs --output DIR, its folder")
        if known.data_path:
            settings["data_path"] = known.data_path
        found = tune(
            known.model,
            known.dataset,
            output=known.output,
            preset=known.preset,
            space=known.space,
            sampler=known.sampler or "random",
            scheduler=known.scheduler or "asha",
            trials=trials,
            grace=None if known.grace is None else _whole_number(known.grace, "--grace", least=1),
            settings={**settings_in(files), **settings},
            resources=resources,
            resume=known.resume is not None,
        )
    print(summary(found.plan, found.records, found.winner, found.test, found.folder))
    return 0


def _files(groups: Sequence[str]) -> list[str]:
    """Names of files, several of which may stand in one argument, as RecBole takes them."""
    return [file for group in groups for file in ([group] if Path(group).exists() else group.split())]


def settings_in(files: Sequence[str]) -> dict[str, Any]:
    """The settings in yaml files, in rising priority."""
    from recbole_cadmr.config.declarations import read_yaml

    return {name: value for file in files for name, value in read_yaml(Path(file)).items()}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    from recbole_cadmr.data.prepare import SOURCES

    sources = parser.add_subparsers(dest="source_kind", required=True, metavar="SOURCE")
    for name, source in SOURCES.items():
        summary = (source.__doc__ or "").strip().splitlines()[0]
        child = sources.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        source.add_arguments(child)
        child.set_defaults(run=_writer(source, child))


def _add_generate(parser: argparse.ArgumentParser) -> None:
    from recbole_cadmr.data import generate

    generate.add_arguments(parser)
    parser.set_defaults(run=_writer(generate, parser))


def _writer(source: Any, parser: argparse.ArgumentParser) -> Any:
    """Run a module that makes a data set: ``source.run(arguments)`` returns the folder it wrote."""

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        _nothing_left(rest, parser)
        try:
            folder = source.run(known)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                "stopped; the same command goes on with what has been fetched and computed"
            ) from error
        print(f"wrote {folder}")
        return 0

    return run


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data_path", default="dataset", help="folder of the data sets (default: dataset)")

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        from recbole_cadmr.workflows.doctor import doctor

        _nothing_left(rest, parser)
        report, sound = doctor(known.data_path)
        print(report)
        return 0 if sound else 1

    parser.set_defaults(run=run)


def _refuse_existing(path: str | None) -> None:
    if path and Path(path).exists():
        raise UserError(f"{path} is already there; choose another --output")


def _whole_number(text: str, option: str, least: int | None = None) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise UserError(f"{option} must be a whole number, not {text!r}") from error
    if least is not None and number < least:
        raise UserError(f"{option} must be at least {least}, not {number}")
    return number


def _positive(text: str | None, option: str, zero: bool = False) -> float | None:
    try:
        number = None if text is None else float(text)
    except ValueError as error:
        raise UserError(f"{option} must be a number, not {text!r}") from error
    if number is not None and not (0 < number < float("inf") or (zero and number == 0)):
        raise UserError(f"{option} must be above 0, not {text}")
    return number


def _truth(text: str | None, option: str) -> bool | None:
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise UserError(f"{option} must be True or False, not {text!r}")
    return text.lower() == "true"

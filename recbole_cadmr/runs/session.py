"""Settings to a model on its data: the steps that training, evaluation and recommendation share."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from time import perf_counter
from typing import Any, cast

import torch
from recbole.utils import init_seed

from recbole_cadmr.compat.numpy import verified_inverses
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import current_names, with_former_values
from recbole_cadmr.config.rules import first_metric, refuse_long_lists, without_inert
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.fingerprint import fingerprint
from recbole_cadmr.data.loaders import eval_batch_size, joined, prepare_loaders
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.own import source_of
from recbole_cadmr.models.registry import is_own
from recbole_cadmr.schema import checked
from recbole_cadmr.training.checkpoint import load_checkpoint
from recbole_cadmr.training.contents import Fingerprint, OwnModel, RunContent
from recbole_cadmr.training.energy import energy_now
from recbole_cadmr.training.refusals import refusals
from recbole_cadmr.training.state import cpu_now
from recbole_cadmr.training.trainer import RunTrainer, get_trainer

_MACHINE = ("gpu_id", "checkpoint_dir", "output")


@dataclass
class Session:
    """A model on its data, with the trainer that trains or scores it.

    Attributes:
        note: what whoever reads its metrics has to know.
    """

    config: Config
    dataset: MultimodalDataset
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    trainer: RunTrainer
    fingerprint: Fingerprint
    note: str = ""


def open_session(config: Config, folder: Path, run_id: str | None = None) -> Session:
    """Read the data, split it, and build the model and its trainer, whose run lies in ``folder``."""
    set_up_process(config)
    cpu_start, energy_start = cpu_now(), energy_now()
    config["checkpoint_dir"] = str(folder)
    dataset, parts = split_data(config)
    identity = cast(Fingerprint, fingerprint(*parts))
    if config.final is not None:
        refuse_other_data(config, identity, config.final["data"], "the run that this is a final run of")
        parts = joined(parts)
        identity = cast(Fingerprint, fingerprint(*parts))
    train_data, valid_data, test_data = loaders_of(config, parts)
    # The split has used random numbers; the model starts from the seed whatever the data set.
    init_seed(config["seed"], config["reproducibility"])
    start = perf_counter()
    with refusals(config, config.model_class, "build"), verified_inverses():
        model = config.model_class(config, parts[0]).to(config["device"])
        seconds = perf_counter() - start
        metadata = checkpoint_metadata(config, identity, run_id)
        trainer = get_trainer(config.model_class)(config, model, train_data, metadata, seconds)
    trainer.count_from(cpu_start, energy_start)
    if is_own(config.model_class) and dataset.coverage() and not traits(config.model_class).multimodal:
        raise UserError(  # the features would be missing in what says what data the model was trained on
            f"{config['model']} reads item features and does not say so; give its class "
            f"traits = ModelTraits(multimodal=True), of recbole_cadmr.models.contract"
        )
    return Session(config, dataset, train_data, valid_data, test_data, model, trainer, identity)


def set_up_process(config: Config) -> None:
    """Set what holds for the whole process: threads, and what repeats bit for bit."""
    _use_threads(config["threads"])
    # Without it, sums over indices (an embedding's gradient) are added up in the order threads happen to finish.
    # (torch.use_deterministic_algorithms would say it to the compiler too, which takes 2 s to import.)
    torch.set_deterministic_debug_mode("warn" if config["reproducibility"] else "default")
    # Nothing here reads memory that was not written, and filling it first costs a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # the module's property
    if config["reproducibility"]:  # else sums of cuBLAS may be added up in another order each time
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def split_data(config: Config) -> tuple[MultimodalDataset, list[MultimodalDataset]]:
    """The data set of a run, and its train, validation and test part, by the seed of the split."""
    split_seed = config["seed"] if config["split_seed"] is None else config["split_seed"]
    init_seed(split_seed, config["reproducibility"])
    dataset = MultimodalDataset(config)
    check_topk(config, dataset)
    return dataset, cast(list[MultimodalDataset], dataset.build())


def check_topk(config: Config, dataset: MultimodalDataset) -> None:
    """Raise :class:`UserError` if a list would be longer than the catalogue."""
    refuse_long_lists(config["topk"], dataset.item_num - 1, config["dataset"])


def loaders_of(config: Config, parts: Sequence[MultimodalDataset]) -> tuple[Any, Any, Any]:
    """The train, validation and test loader that the model of ``config`` takes, of the parts of a data set.

    Raises:
        UserError: as of :func:`recbole_cadmr.data.loaders.prepare_loaders`.
    """
    own = traits(config.model_class)
    scores_at_once = eval_batch_size(config["eval_batch_size"], parts[0].item_num, own.ranks_all_items)
    return prepare_loaders(config, parts, own.batch_by_rows, scores_at_once, own.sequential)


# How many threads torch was set to by a run of this process, and how many it had before.
_threads: dict[str, int] = {}


def _use_threads(n: int | None) -> None:
    """Set the number of torch's threads, or restore the one from before a run that had set it."""
    now = torch.get_num_threads()
    if now != _threads.get("set"):
        _threads["own"] = now
    torch.set_num_threads(n or _threads["own"])
    _threads["set"] = torch.get_num_threads()


def checkpoint_metadata(config: Config, identity: Fingerprint, run_id: str | None = None) -> dict[str, Any]:
    """What every checkpoint says about where it comes from."""
    settings = {key: value for key, value in config.plain_settings().items() if key not in _MACHINE}
    return {
        **({} if run_id is None else {"id": run_id}),  # runs of earlier versions have none
        **({} if config.final is None else {"final": dict(config.final)}),
        **({} if (own := own_model(config)) is None else {"own_model": own}),
        "model": config["model"],
        "dataset": config["dataset"],
        "fingerprint": identity,
        "settings": settings,
        "changed": dict(config.changed),
        "versions": versions(),
    }


def own_model(config: Config) -> OwnModel | None:
    """What is kept of a model that is the user's own; None of another one."""
    source, own = source_of(config["model"]), traits(config.model_class)
    if source is None:
        return None
    return {
        "reference": source.reference,
        "sha256": source.sha256,
        "multimodal": own.multimodal,
        "deterministic": own.deterministic,
    }


def check_own_model(content: Mapping[str, Any], what: str = "it") -> None:
    """Raise :class:`UserError` if a checkpoint or a result is of a class of the user's own that is not known here.

    That its source is no longer what it was is a warning.
    """
    kept = content.get("own_model")
    if kept is None:
        return
    name, source = content["model"], source_of(content["model"])
    if source is None:
        raise UserError(
            f"{what} is of {name}, a class of its author's own, which no file is imported for: name it again by "
            f"`model`, as in {kept['reference']}"
        )
    if kept["sha256"] and source.sha256 and kept["sha256"] != source.sha256:
        warn_once(f"{what} was trained by another source of {name} than {source.reference} is now")


@cache
def warn_once(message: str) -> None:
    """Show a warning, once in a process."""
    # While a checkpoint is opened, the package's own logger writes into a file that is removed again.
    logging.getLogger("recbole_cadmr_models").warning(message)


def read_checkpoint(path: str | os.PathLike[str]) -> RunContent:
    """The content of ``model.pt``; :class:`UserError` if it is none."""
    content = load_checkpoint(path)
    lacking = RunContent.__required_keys__ - content.keys()
    if lacking:
        raise UserError(f"{path} is no checkpoint of a run: it lacks {', '.join(sorted(lacking))}")
    return checked(content, RunContent, Path(path))


def check_origin(content: Mapping[str, Any], other: Mapping[str, Any], path: Path, other_path: Path) -> None:
    """Raise :class:`UserError` unless two files that lie side by side, checkpoints or ``result.json``, are of one run.

    Files of earlier versions have no ``id``: of these, only model, data and seed are compared.
    """
    names = ["id", "model", "dataset", "fingerprint"]
    seeds = [place.get("protocol", place["settings"]).get("seed") for place in (content, other)]
    different = [name for name in names if content.get(name) != other.get(name)] + ["seed"] * (seeds[0] != seeds[1])
    if different:
        raise UserError(
            f"{path} is of another run than {other_path}: its {different[0]} is another; put back the right one"
        )


def restore_config(
    content: Mapping[str, Any],
    data_path: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """The settings a checkpoint was trained with, but for ``changes`` and the place of the data.

    Raises:
        UserError: if its data set is not there, or without the files of a modality that it read.
    """
    check_own_model(content, "the checkpoint")
    model = content["settings"].get("model")
    changes = current_names(model, changes or {}, "settings")
    kept = {name: value for name, value in content["settings"].items() if name not in _MACHINE}
    own = current_names(model, kept, "the checkpoint")
    complete = with_former_values(model, own)
    settings = without_inert({**complete, **changes})
    if data_path is not None:
        settings["data_path"] = str(data_path)
    # What is installed may have moved; the data are compared below.
    elif not Path(str(settings.get("data_path"))).is_dir():
        settings.pop("data_path", None)
    lists = [entry for name in ("metrics", "topk") if isinstance(entry := settings.get(name), list) and entry]
    if changes and not {"metrics", "topk"}.isdisjoint(changes) and len(lists) == 2:
        # Training is over and nothing is selected, so that any metric that is computed may stand for valid_metric.
        settings["valid_metric"] = first_metric(*lists)
    changed = current_names(model, content["changed"], "the checkpoint")
    if complete != own:
        changed = with_former_values(model, changed)
    changed |= changes
    config = Config(settings=settings, changed=changed, final=content.get("final"))
    dataset = config["dataset"]
    for name in (config["modalities"] or ()) if config["model_is_multimodal"] else ():
        if not (config.data_folder / f"{dataset}.{name}").is_file():
            raise UserError(
                f"the checkpoint was trained with the modality '{name}', which {dataset} in {config.data_root} does "
                f"not have (any more); add it (prepare add-modality), or name the right place with `data_path`"
            )
    return config


def check_data(session: Session, content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Raise :class:`UserError` unless the session's data are those that a checkpoint was trained on."""
    if [session.config[name] for name in ("model", "dataset")] != [content["model"], content["dataset"]]:
        raise UserError(f"{path} is damaged or was edited: its settings are not those of {content['model']}")
    refuse_other_data(session.config, session.fingerprint, content["fingerprint"], path)


def refuse_other_data(
    config: Config, mine: Mapping[str, Any], trained_on: Mapping[str, Any], trained: str | os.PathLike[str]
) -> None:
    """Raise :class:`UserError` unless the fingerprint of some data is the one that something was ``trained_on``."""
    differences = {"id_maps": "its users or items are others", "sha256": "its interactions or features have changed"}
    for part, difference in differences.items():
        if mine[part] != trained_on[part]:
            raise UserError(
                f"{trained} was trained on other data than {config['dataset']} in {config['data_path']}: "
                f"{difference}; name the right place with `data_path`"
            )


def load_session(
    checkpoint: str | os.PathLike[str],
    folder: Path,
    data_path: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Session:
    """The model of a checkpoint on the data it was trained on.

    Raises:
        UserError: if the file is no checkpoint, or the data are missing or others.
    """
    content = read_checkpoint(checkpoint)
    session = open_session(restore_config(content, data_path, changes), folder)
    check_data(session, content, checkpoint)
    load_model(session.trainer, content, checkpoint)
    session.model.eval()
    return session


def load_model(trainer: RunTrainer, content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Load the state of a trainer's model from the content of ``model.pt``; :class:`UserError` if it does not fit."""
    try:
        trainer.load_model_state(content)
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not fit the model {content['model']} of this version: {reason}") from error


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    packages = ("recbole_cadmr", "recbole", "torch", "numpy", "scipy", "pandas")
    return {"python": python_version()} | {name: installed(name) or "not installed" for name in packages}


@cache  # reading them takes as long as all else of opening a small model
def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    with suppress(PackageNotFoundError):
        return version(name)
    return None

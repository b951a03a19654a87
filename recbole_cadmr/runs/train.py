"""Train a model, choose its best epoch on validation, and read the test part once."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import ModelError, UserError
from recbole_cadmr.files import path_of, refuse_links, remove_temporaries
from recbole_cadmr.formatting import covered
from recbole_cadmr.locking import alone_in
from recbole_cadmr.runs.folder import CURVES, RESULT, RunFolder, create_run_folder, is_used, refuse_used, run_log
from recbole_cadmr.runs.history import HistoryWriter, read_history, rewrite_history
from recbole_cadmr.runs.learning_curves import learning_curves
from recbole_cadmr.runs.result import metric_table, training_result, write_json
from recbole_cadmr.runs.session import (
    Session,
    check_data,
    check_origin,
    load_session,
    open_session,
    read_checkpoint,
    restore_config,
)
from recbole_cadmr.runs.topk_lists import LISTS, test_lists, write_lists
from recbole_cadmr.schema import checked
from recbole_cadmr.training.callbacks import PauseBefore, Paused, TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint
from recbole_cadmr.training.contents import ResumeContent
from recbole_cadmr.training.state import random_state, set_random_state
from recbole_cadmr.training.trainer import BEST, LAST


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the content of its ``result.json``."""

    folder: Path
    result: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        """The best model."""
        return self.folder / BEST


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; the message says how to go on."""


def train(
    model: str | None = None,
    dataset: str | None = None,
    *,
    preset: str | None = None,
    output: str | os.PathLike[str] | None = None,
    config_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[TrainingCallback] = (),
) -> Run:
    """Train and evaluate a model.

    Args:
        model, dataset: names; CADMR and the embedded data set if neither the arguments nor a file names them.
        preset: name of a preset of the model.
        output: folder of the run; if not given, a new one under the setting ``checkpoint_dir``.
        config_files: yaml file of settings, or several in rising priority.
        settings: settings by name, over all files.
        callbacks: called on the way; see :class:`TrainingCallback`.

    Returns:
        The run, whose folder holds ``result.json``, the checkpoints, the log and the learning curves.

    Raises:
        UserError: on anything wrong with the settings, the data or the place of the output.
    """
    given = dict(settings or {})
    for argument, value in (("model", model), ("dataset", dataset), ("preset", preset)):
        if value == "":
            raise UserError(f"`{argument}` is empty; leave it out for the default")
    if preset is not None:
        given["preset"] = preset
    several = [config_files] if isinstance(config_files, (str, bytes, os.PathLike)) else config_files
    config = Config(model, dataset, [path_of(file, "config_files") for file in several], given)
    place = path_of(output, "output") if output is not None else config["output"]
    name = f"{config['model']}-{config['dataset']}"
    folder = create_run_folder(str(place) if place else None, config["checkpoint_dir"], name)
    with ExitStack() as stack:
        stack.enter_context(alone_in(folder, "run"))
        refuse_used(folder)  # by another process meanwhile
        # Nothing is left of a run that never began.
        stack.callback(_remove_unless_begun, folder)
        stack.enter_context(run_log(folder, name, level=config["state"] or "INFO"))
        try:
            session = open_session(config, folder)
            _keep_id(session, {"id": uuid4().hex})
            return _run(session, folder, callbacks)
        except ModelError:
            if not (folder / BEST).is_file():
                (folder / LAST).unlink(missing_ok=True)  # it would come to the same end
            raise


def resume(
    folder: str | os.PathLike[str],
    data_path: str | os.PathLike[str] | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    callbacks: Sequence[TrainingCallback] = (),
) -> Run:
    """Go on with a run that was cut, from the start of the epoch it was cut in, as if it never had been.

    Args:
        changes: settings that are others from here on.
        callbacks: as in :func:`train`.

    Raises:
        UserError: if the run is finished or never began, or the data have changed.
    """
    folder = path_of(folder, "resume").absolute()
    if data_path is not None:
        data_path = path_of(data_path, "data_path")
    if not os.path.isdir(folder):
        raise UserError(f"there is no run folder {folder}")
    with ExitStack() as stack:
        stack.enter_context(alone_in(folder, "run"))
        if is_used(folder):
            raise UserError(f"the run in {folder} is finished; its figures are in {RESULT}")
        if not (folder / LAST).is_file():
            raise UserError(f"{folder} holds no {LAST}, so there is nothing to go on with; start the run again")
        refuse_links(folder.resolve())
        content = read_state(folder / LAST)
        if (folder / BEST).is_file():
            check_origin(read_checkpoint(folder / BEST), content, folder / BEST, folder / LAST)
        remove_temporaries(folder)
        name = f"{content['model']}-{content['dataset']}"
        stack.enter_context(run_log(folder, name, level=content["settings"].get("state") or "INFO"))
        session = _reopen(content, folder, data_path, changes)
        return _run(session, folder, callbacks)


def read_state(path: Path) -> ResumeContent:
    """The content of ``resume.pt``; :class:`UserError` if it is none."""
    return checked(load_checkpoint(path), ResumeContent, path)


def _keep_id(session: Session, content: Mapping[str, Any]) -> None:
    """Let what the session writes be of the run that ``content`` is of."""
    session.trainer.metadata |= {"id": content["id"]} if "id" in content else {}


def _reopen(
    content: ResumeContent,
    folder: Path,
    data_path: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Session:
    """The session of ``resume.pt``, with what ``settings_schedule`` changes at its epoch, and ``changes``."""
    schedule = restore_config(content, data_path)["settings_schedule"] or {}
    due = {**schedule.get(content["epoch"], {}), **(changes or {})}
    session = open_session(restore_config(content, data_path, due), folder)
    check_data(session, content, folder / LAST)
    _keep_id(session, content)
    file = RunFolder(folder).history
    history = read_history(file)
    try:
        session.trainer.restore(content, history)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if due:
            raise UserError(f"{', '.join(due)} cannot change in the course of training: {reason}") from error
        raise UserError(f"{folder / LAST} is damaged, was edited, or is of another version: {reason}") from error
    rewrite_history(file, session.trainer.history)
    changed = f" with {', '.join(f'{name}={value}' for name, value in due.items())}" if due else ""
    logging.getLogger("recbole_cadmr").info(f"going on with epoch {content['epoch']} ({content['phase']}){changed}")
    return session


def _fit(session: Session, folder: Path, callbacks: Sequence[TrainingCallback]) -> tuple[Session, float, Any]:
    """Train to the end; a change of settings on the way takes a new session."""
    while True:
        config, trainer = session.config, session.trainer
        later = [epoch for epoch in config["settings_schedule"] or () if epoch > trainer.start_epoch]
        pauses = [PauseBefore(epoch) for epoch in sorted(later)[:1]]
        trainer.callbacks += [HistoryWriter(RunFolder(folder).history), *pauses, *callbacks]
        try:
            score, valid = trainer.fit(
                session.train_data,
                session.valid_data,
                saved=True,
                show_progress=bool(config["show_progress"]),
            )
        except Paused:
            session = _reopen(read_state(folder / LAST), folder)
        else:
            return session, score, valid


def _run(session: Session, folder: Path, callbacks: Sequence[TrainingCallback]) -> Run:
    logger = logging.getLogger("recbole_cadmr")
    logger.info(_summary(session))
    try:
        session, score, valid = _fit(session, folder, callbacks)
        config, trainer = session.config, session.trainer
        test = _read_test(session, folder) if config["evaluate_test"] else None
    except KeyboardInterrupt as error:
        kept = (folder / LAST).is_file()
        raise Interrupted(
            f"stopped; the state is kept, go on with: python -m recbole_cadmr train --resume {folder}"
            if kept
            else f"stopped before the first epoch; nothing is kept of {folder}"
        ) from error
    result = training_result(session, score, valid, test)
    with_note = f" ({config['data_note']})" if config["data_note"] else ""
    masked = "train and validation" if config["mask_valid_at_test"] else "train"
    tables = {"best validation": valid, f"test, {masked} items left out": test}
    logger.info(f"\n{config['model']} on {config['dataset']}{with_note}\n\n{metric_table(tables)}\n")
    if not config["evaluate_test"]:
        logger.info("the test part was left unread (evaluate_test=False)\n")
    learning_curves(trainer.history, config["valid_metric"], folder / CURVES)
    write_json(folder / RESULT, result)
    for callback in trainer.callbacks:
        callback.on_end(trainer)
    logger.info("files: " + ", ".join(str(folder / name) for name in (RESULT, BEST, CURVES)))
    return Run(folder, result)


def _read_test(session: Session, folder: Path) -> dict[str, float] | None:
    """The test metrics of the best epoch, by the settings that it was trained with."""
    best = read_checkpoint(folder / BEST)
    if best["settings"] == session.trainer.metadata["settings"]:
        session.trainer.load_best()
    else:
        session = load_session(folder / BEST, folder)
    config, state = session.config, random_state()
    test = session.trainer.evaluate(session.test_data, False, show_progress=bool(config["show_progress"]))
    if config["save_lists"] and test is not None:
        set_random_state(state)  # so that the lists are those of the figures where scores are drawn
        write_lists(test_lists(session, max(config["topk"])), folder / LISTS)
    return test


def _summary(session: Session) -> str:
    config, counts = session.config, session.dataset
    parts = [len(data._dataset) for data in (session.train_data, session.valid_data, session.test_data)]
    read = counts.coverage()
    modalities = "; ".join(
        covered(name, **read[name]) if name in read else f"{name} (not read)" for name in counts.modality_names
    )
    trainable = sum(p.numel() for p in session.model.parameters() if p.requires_grad)
    changed = ", ".join(f"{key}={value}" for key, value in config.changed.items()) or "none"
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}  {config['model']} on {config['dataset']}\n"
        f"users {counts.user_num - 1:,}, items {counts.item_num - 1:,}, interactions "
        f"{parts[0]:,} train, {parts[1]:,} validation, {parts[2]:,} test; modalities: {modalities or 'none'}\n"
        f"parameters {trainable:,}; device {config['device']}; settings other than the defaults: {changed}"
    )


def _remove_unless_begun(folder: Path) -> None:
    if not any((folder / name).exists() for name in (LAST, BEST, RESULT)):
        shutil.rmtree(folder, ignore_errors=True)

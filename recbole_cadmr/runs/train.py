"""Train a model, choose its best epoch on validation, and read the test part once."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any
from uuid import uuid4

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import ModelError, Stopped, UserError
from recbole_cadmr.files import path_of, refuse_links, remove_temporaries, write_json
from recbole_cadmr.formatting import covered, folded, listed
from recbole_cadmr.layers.shared_batch import ProcessLost
from recbole_cadmr.locking import LOCK, alone_in
from recbole_cadmr.models.own import again, named, refuse_other, source_of, take_in
from recbole_cadmr.runs.folder import RunFolder, create_run_folder, refuse_used, run_log
from recbole_cadmr.runs.history import HistoryWriter, read_history, rewrite_history
from recbole_cadmr.runs.learning_curves import learning_curves
from recbole_cadmr.runs.result import (
    PrintedResult,
    RunResult,
    headline,
    metric_table,
    outcome,
    result_tables,
    training_result,
)
from recbole_cadmr.runs.session import (
    Session,
    check_data,
    check_origin,
    load_session,
    open_session,
    read_checkpoint,
    restore_config,
)
from recbole_cadmr.runs.topk_lists import rank_test, write_lists
from recbole_cadmr.runs.trackers import refuse_missing, tracking
from recbole_cadmr.schema import checked
from recbole_cadmr.screen import in_notebook
from recbole_cadmr.training.callbacks import PauseBefore, Paused, TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint, load_settings
from recbole_cadmr.training.contents import ResumeContent, RunContent
from recbole_cadmr.training.data_parallel import led
from recbole_cadmr.training.energy import in_words, measuring, refuse_unmeasurable

_log = logging.getLogger("recbole_cadmr")


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run: its folder and the content of its ``result.json``, which print as tables."""

    folder: Path
    result: RunResult

    def __post_init__(self) -> None:
        object.__setattr__(self, "result", PrintedResult(self.result))

    def __repr__(self) -> str:
        return f"{self.result!r}\n\nin {self.folder}"

    def _repr_html_(self) -> str:
        return f"{PrintedResult(self.result)._repr_html_()}\n<p>in {escape(str(self.folder))}</p>"

    @property
    def test(self) -> Mapping[str, float]:
        """The metrics on the test part.

        Raises:
            UserError: if the run has not read it.
        """
        if (test := self.result["test_result"]) is None:
            raise UserError(f"the run in {self.folder} has not read the test part")
        return test

    @property
    def checkpoint(self) -> Path:
        """The best model."""
        return RunFolder(self.folder).best


def train(
    model: str | type | None = None,
    dataset: str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    output: str | os.PathLike[str] | None = None,
    config_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[TrainingCallback] = (),
    verbose: bool = False,
    **named_settings: Any,
) -> Run:
    """Train and evaluate a model.

    Args:
        model, dataset: names; CADMR and the embedded data set if neither the arguments nor a file names them. A model
            of your own is its class, or names it as ``FILE.py:CLASS`` or ``package.module:CLASS``; a data set may be
            given as its folder, a :class:`~pathlib.Path`.
        preset: name of a preset of the model.
        output: folder of the run; if not given, a new one under the setting ``checkpoint_dir``.
        config_files: yaml file of settings, or several in rising priority.
        settings: settings by name, over all files.
        callbacks: called on the way; see :class:`TrainingCallback`.
        verbose: show all that the log holds: each loss, and the diagnostics of the model.
        named_settings: settings as arguments: ``epochs=20`` is the same as ``settings={"epochs": 20}``.

    Returns:
        The run, whose folder holds ``result.json``, the checkpoints, the log and the learning curves.

    Raises:
        UserError: on anything wrong with the settings, the data or the place of the output.
    """
    for argument, value in (("model", model), ("dataset", dataset), ("preset", preset)):
        if value == "":
            raise UserError(f"`{argument}` is empty; leave it out for the default")
    files = [config_files] if isinstance(config_files, (str, bytes, os.PathLike)) else config_files
    preset_setting = {} if preset is None else {"preset": preset}
    if twice := next((name for name in named_settings if name in (settings or {})), None):
        raise UserError(f"`{twice}` is given twice, in `settings` and beside them")
    config = Config(
        named(model),
        dataset,
        [path_of(file, "config_files") for file in files],
        {**(settings or {}), **named_settings, **preset_setting},
    )
    refuse_missing(config["tracker"])
    return train_in(config, output, callbacks, verbose=verbose)


def train_in(
    config: Config,
    output: str | os.PathLike[str] | None,
    callbacks: Sequence[TrainingCallback] = (),
    choices: RunContent | None = None,
    verbose: bool = False,
) -> Run:
    """Train by a ``Config``; other arguments, result and errors as of :func:`train`.

    Args:
        choices: the ``model.pt`` of another run, whose model's choices are taken over.
    """
    refuse_unmeasurable(config["energy"])
    place = path_of(output, "output") if output is not None else config["output"]
    name = f"{config['model']}-{config['dataset']}"
    folder = create_run_folder(place, config["checkpoint_dir"], name)
    with ExitStack() as stack:
        stack.enter_context(alone_in(folder.path, "run"))
        stack.enter_context(measuring(config["energy"]))
        refuse_used(folder.path)  # by another process meanwhile
        remove_temporaries(folder.path)  # of a run that was killed at its start
        if not any(path.name != LOCK for path in folder.path.iterdir()):  # else it was not this run's to begin with
            stack.callback(_remove_unless_begun, folder)
        stack.enter_context(run_log(folder.path, name, level=config["state"] or "INFO", verbose=verbose))
        try:
            session = open_session(config, folder.path, uuid4().hex)
            if choices is not None:
                session.trainer.take_choices(choices)
            return _run(session, folder, callbacks)
        except ModelError:
            if not folder.best.is_file():
                folder.last.unlink(missing_ok=True)  # resuming it would fail in the same way
            raise


def resume(
    folder: str | os.PathLike[str],
    data_path: str | os.PathLike[str] | None = None,
    *,
    model: str | type | None = None,
    changes: Mapping[str, Any] | None = None,
    callbacks: Sequence[TrainingCallback] = (),
    verbose: bool = False,
) -> Run:
    """Resume an interrupted run from the start of the epoch of its ``resume.pt``, as if it had not been interrupted.

    Args:
        model: the class, of a run of a model of your own, as of :func:`train`.
        changes: settings that are different from here on.
        callbacks, verbose: as in :func:`train`.

    Raises:
        UserError: if the run is finished or never began, or the data have changed.
    """
    path, own = path_of(folder, "resume").absolute(), take_in(model)
    if data_path is not None:
        data_path = path_of(data_path, "data_path")
    if not os.path.isdir(path):
        raise UserError(f"there is no run folder {path}")
    run = RunFolder(path)
    with ExitStack() as stack:
        stack.enter_context(alone_in(path, "run"))
        if run.is_finished:
            raise UserError(f"the run in {path} is finished; its results are in {run.result.name}")
        if not run.last.is_file():
            raise UserError(
                f"{path} holds no {run.last.name}, so there is nothing to resume; start the run again, with the same "
                f"`output` if it was stopped before its first epoch"
            )
        refuse_links(path.resolve())
        content = read_state(run.last)
        refuse_other(own, content["model"])
        if run.best.is_file():
            check_origin(read_checkpoint(run.best), content, run.best, run.last)
        remove_temporaries(path)
        name = f"{content['model']}-{content['dataset']}"
        stack.enter_context(measuring(content["settings"].get("energy", False)))
        level = content["settings"].get("state") or "INFO"
        stack.enter_context(run_log(path, name, level=level, verbose=verbose))
        return _run(_reopen(content, run, data_path, changes), run, callbacks)


def read_state(path: Path) -> ResumeContent:
    """The content of ``resume.pt``; :class:`UserError` if it is none."""
    return checked(load_checkpoint(path), ResumeContent, path)


def _reopen(
    content: ResumeContent,
    folder: RunFolder,
    data_path: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Session:
    """The session of ``resume.pt``, with what ``settings_schedule`` changes at its epoch, and ``changes``."""
    schedule = restore_config(content, data_path)["settings_schedule"] or {}
    scheduled = schedule.get(content["epoch"], {})
    due = {**scheduled, **(changes or {})}
    session = open_session(restore_config(content, data_path, due), folder.path, content.get("id"))
    check_data(session, content, folder.last)
    so_far = _changes_so_far(content, scheduled, changes or {})
    session.trainer.metadata = {**session.trainer.metadata, **so_far}
    history = read_history(folder.history)
    try:
        session.trainer.restore(content, history)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if due:
            raise UserError(f"{', '.join(due)} cannot change during training: {reason}") from error
        raise UserError(f"{folder.last} is damaged, was edited, or is of another version: {reason}") from error
    rewrite_history(folder.history, session.trainer.history)
    changed = f" with {', '.join(f'{name}={value}' for name, value in due.items())}" if due else ""
    _log.info(f"resuming at epoch {content['epoch']} ({content['phase']}){changed}")
    return session


def _changes_so_far(content: ResumeContent, scheduled: Iterable[str], others: Iterable[str]) -> dict[str, Any]:
    """What checkpoints say of the settings that change, and have changed, in the course of training."""
    before = {name: content["settings"][name] for name in scheduled if name in content["settings"]}
    before |= content.get("before_schedule", {})
    named = sorted({*others, *content.get("changed_when_resumed", [])})
    return {
        **({"before_schedule": before} if before else {}),
        **({"changed_when_resumed": named} if named else {}),
    }


def pauses(session: Session) -> list[TrainingCallback]:
    """A pause before every epoch at which ``settings_schedule`` changes settings."""
    schedule = session.config["settings_schedule"] or {}
    return [PauseBefore(epoch) for epoch in sorted(schedule) if epoch > session.trainer.start_epoch]


def _fit(session: Session, folder: RunFolder, callbacks: Sequence[TrainingCallback]) -> tuple[Session, float, Any]:
    """Train to the end; a change of settings on the way takes a new session."""
    while True:
        trainer = session.trainer
        trainer.callbacks += [HistoryWriter(folder.history), *pauses(session), *callbacks]
        show_progress = bool(session.config["show_progress"])
        try:
            with led(trainer):
                return session, *trainer.fit(session.train_data, session.valid_data, show_progress=show_progress)
        except Paused:
            session = _reopen(read_state(folder.last), folder)
        finally:
            trainer.tensorboard.close()


def _run(session: Session, folder: RunFolder, callbacks: Sequence[TrainingCallback]) -> Run:
    """Train, measure and write the result, told to the trackers that ``tracker`` names."""
    names = session.config["tracker"] if session.config.final is None else []  # which is validated nowhere
    with tracking(session.trainer, names) as trackers:
        return _measured_run(session, folder, [*trackers, *callbacks])


def _measured_run(session: Session, folder: RunFolder, callbacks: Sequence[TrainingCallback]) -> Run:
    _log.info(_summary(session))
    for sentence in session.config.without_effect():
        _log.warning(sentence)
    settings = "".join(f"\n  {name}: {value}" for name, value in sorted(session.config.plain_settings().items()))
    _log.info(f"all settings:{settings}", extra={"screen": False})
    is_final = session.config.final is not None
    if in_notebook():
        own = source_of(session.config["model"])
        model = "" if own is None else f", model={repr(own.reference) if own.path else own.name}"
        way_on = f"resume with: recbole_cadmr.resume({str(folder.path)!r}{model})"
    else:
        way_on = f"resume with: python -m recbole_cadmr train --resume {quote(str(folder.path))}"
        way_on += again("--model", [session.config["model"]])
    try:
        session, score, valid = _fit(session, folder, callbacks)
        config, trainer = session.config, session.trainer
        test = _read_test(session, folder) if config["evaluate_test"] and not is_final else None
    except KeyboardInterrupt as error:
        raise Stopped(
            f"stopped; the state is kept, {way_on}"
            if folder.last.is_file()
            else f"stopped before the first epoch; nothing is kept of {folder.path}"
        ) from error
    except ProcessLost as error:
        raise ProcessLost(f"{error}; {way_on}" if folder.last.is_file() else str(error)) from error
    result = training_result(session, score, valid, test)
    if is_final:
        write_json(folder.result, result)
        _log.info("trained on all interactions, measured on none")
        _log.info(listed([folder.result, folder.best]))
        return Run(folder.path, result)
    # A notebook shows the run itself, as tables.
    brief: dict[str, Any] = {"screen": folded(outcome(result))} if in_notebook() else {}
    _log.info(f"\n{headline(result)}\n\n{metric_table(result_tables(result))}\n", extra=brief)
    if (energy := result.get("energy")) is not None:
        _log.info(f"{in_words(energy)}\n")
    if not config["evaluate_test"]:
        _log.info("the test part was left unread (evaluate_test=False)\n")
    drawn = learning_curves(result, folder.curves)
    write_json(folder.result, result)
    for callback in trainer.callbacks:
        callback.on_end(trainer)
    _log.info(listed([folder.result, folder.best, *([folder.curves] if drawn else [])]))
    return Run(folder.path, result)


def _read_test(session: Session, folder: RunFolder) -> dict[str, float] | None:
    """The test metrics of the best epoch, by the settings that it was trained with."""
    if load_settings(folder.best) == session.trainer.metadata["settings"]:
        session.trainer.load_best()
    else:
        session = load_session(folder.best, folder.path)
    config = session.config
    if not config["save_lists"] or not len(session.test_data):
        return session.trainer.evaluate(session.test_data, False, show_progress=bool(config["show_progress"]))
    test, lists = rank_test(session, max(config["topk"]))
    write_lists(lists, folder.lists)
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
    of = "" if config.final is None else f", all interactions (final run of {config.final['run'] or 'another run'})"
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M')}  {config['model']} on {config['dataset']}{of}",
        f"users {counts.user_num - 1:,}, items {counts.item_num - 1:,}",
        f"interactions {parts[0]:,} train, {parts[1]:,} validation, {parts[2]:,} test",
        f"modalities: {modalities or 'none'}",
        f"parameters {trainable:,}; device {config['device']}",
        f"settings other than the defaults: {changed}",
        *([] if session.config.final is not None else ["* marks the best epoch on validation so far"]),
    ]
    return "\n".join(folded(line) for line in lines)


def _remove_unless_begun(folder: RunFolder) -> None:
    """Leave nothing of a run that never began."""
    if not any(file.exists() for file in (folder.last, folder.best, folder.history, folder.result)):
        shutil.rmtree(folder.path, ignore_errors=True)

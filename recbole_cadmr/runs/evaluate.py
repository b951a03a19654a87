"""Score a checkpoint again: other metrics, list lengths, masking or part."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_cadmr.data.loaders import FullRankingLoader
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of, refuse_links, write_json
from recbole_cadmr.locking import alone_in
from recbole_cadmr.models.own import refuse_other, take_in
from recbole_cadmr.runs.folder import RunFolder, scratch_folder
from recbole_cadmr.runs.recbole_checkpoint import load_any_session
from recbole_cadmr.runs.result import check_model, protocol, read_result
from recbole_cadmr.runs.session import Session


def evaluate(
    checkpoint: str | os.PathLike[str],
    *,
    part: str = "test",
    metrics: str | Iterable[str] | None = None,
    topk: int | Iterable[int] | None = None,
    mask_valid_at_test: bool | None = None,
    users: Iterable[str] | None = None,
    data_path: str | os.PathLike[str] | None = None,
    trust_checkpoint: bool = False,
    model: str | type | None = None,
) -> dict[str, Any]:
    """Metrics of a checkpoint on a held-out part, over all users of that part, ranking all items.

    Args:
        part: ``valid`` or ``test``.
        metrics, topk, mask_valid_at_test: as the settings of these names, one or a list; the run's own if not given.
        users: ids of the only users to average over; those without held-out items are passed over.
        data_path: where the data set lies, if no longer where it was trained.
        trust_checkpoint: whether a checkpoint of RecBole's is read, too: a pickle, which can run code.
        model: the class, of a checkpoint of a model of your own, as of :func:`train`.

    Returns:
        ``{model, dataset, part, protocol, result}``; ``result`` has keys like ``recall@20``, unrounded. With ``users``,
        also how many were ``{given, measured}``, and ``note``, if there is something else to know.

    Raises:
        UserError: if the checkpoint cannot be read, belongs to other data, the part is empty, a user is unknown, or
            none of them has a held-out item.
    """
    if part not in ("valid", "test"):
        raise UserError(f"part must be one of valid, test, not {part!r}")
    asked = (("metrics", metrics), ("topk", topk))
    changes: dict[str, Any] = {name: _listed(value, name) for name, value in asked if value is not None}
    if mask_valid_at_test is not None:
        changes["mask_valid_at_test"] = mask_valid_at_test
    own = take_in(model)
    with scratch_folder() as folder:
        place = None if data_path is None else path_of(data_path, "data_path")
        session = load_any_session(path_of(checkpoint, "checkpoint"), folder, place, changes, trust_checkpoint)
        refuse_other(own, session.config["model"])
        if session.config.final is not None:
            raise UserError(
                f"{checkpoint} is of a final run, trained on all interactions, so that nothing is left to measure it "
                f"on; give the run whose settings it has ({session.config.final['run'] or 'another run'})"
            )
        data = session.valid_data if part == "valid" else session.test_data
        some = {} if users is None else {"users": _keep(session, data, users, part)}
        result = session.trainer.evaluate(data, load_best_model=False)
        if result is None:
            raise UserError(f"the {part} part of {session.config['dataset']} is empty")
        return {
            "model": session.config["model"],
            "dataset": session.config["dataset"],
            "part": part,
            "protocol": protocol(session),
            **some,
            "result": result,
            **({"note": session.note} if session.note else {}),
        }


def _keep(session: Session, data: FullRankingLoader, users: Iterable[str], part: str) -> dict[str, int]:
    """Let a part be measured over some users alone; how many these are."""
    names = list(dict.fromkeys(map(str, [users] if isinstance(users, str) else users)))
    numbers = session.dataset.field2token_id[session.dataset.uid_field]
    unknown = [name for name in names if not numbers.get(name)]
    if unknown or not names:
        what = f"{len(unknown):,} of {len(names):,} that {session.config['dataset']} does not have, such as"
        raise UserError(f"`users` names {what} {unknown[0]!r:.60}" if unknown else "`users` names nobody")
    data.keep(torch.tensor([numbers[name] for name in names]))
    if not data.sample_size:
        raise UserError(f"none of the {len(names):,} `users` has an item in the {part} part")
    return {"given": len(names), "measured": data.sample_size}


def _listed(value: Any, name: str) -> list[Any]:
    """One value or several as a list, numpy's as Python's own."""
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    values = [entry.item() if isinstance(entry, np.generic) else entry for entry in several]
    if not values:
        raise UserError(f"`{name}` is empty; leave it out for those of the run")
    return values


def read_test(
    folder: str | os.PathLike[str],
    data_path: str | os.PathLike[str] | None = None,
    model: str | type | None = None,
) -> dict[str, float]:
    """Read the test part of a finished run that left it unread, and add the metrics to its ``result.json``.

    Raises:
        UserError: if the run is not finished, or its test part has been read.
    """
    run = RunFolder(Path(folder))
    read_result(run.path)  # before a lock is put into what may be no run
    with alone_in(run.path, "run"):
        refuse_links(run.path.resolve())
        result = read_result(run.path)
        if result["test_read"]:
            raise UserError(f"the test part of the run in {folder} has been read; its results are in {run.result.name}")
        check_model(run.path, result)
        measured: dict[str, float] = evaluate(run.best, data_path=data_path, model=model)["result"]
        write_json(run.result, {**result, "test_read": True, "test_result": measured})
    return measured

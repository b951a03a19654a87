"""Which of the searched settings may change in the course of training, as population based training does it."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cadmr.config.config import FIXED_IN_TRAINING
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import open_session
from recbole_cadmr.tuning.plan import Plan


def mutable_hyperparameters(plan: Plan) -> list[str]:
    """The settings that leave a model's parameters what they are in number and shape.

    Found by building the model with the default and with the first and last value of each setting.
    """
    with scratch_folder() as folder:
        session = open_session(plan.config(show_progress=False), folder)
        shapes = _shapes(session.model)
        mutable = []
        for name, dimension in plan.parsed_space.items():
            values = {str(value): value for value in (dimension.values[0], dimension.values[-1])}
            if name not in FIXED_IN_TRAINING and all(
                _fits(session, plan, name, value, shapes) for value in values.values()
            ):
                mutable.append(name)
    return mutable


def _fits(session: Any, plan: Plan, name: str, value: Any, shapes: dict[str, Any]) -> bool:
    try:
        config = plan.config(**{name: value, "show_progress": False})
        config["checkpoint_dir"] = session.config["checkpoint_dir"]
        return _shapes(config.model_class(config, session.train_data._dataset)) == shapes
    except (UserError, ValueError, RuntimeError, AssertionError):  # values that do not go with the other defaults
        return False


def _shapes(model: torch.nn.Module) -> dict[str, Any]:
    return {"": type(model), **{name: tensor.shape for name, tensor in model.state_dict().items()}}

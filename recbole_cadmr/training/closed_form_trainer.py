"""Training around a closed form, which first chooses its settings on validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.data.rows import binary
from recbole_cadmr.layers.shared_batch import rank
from recbole_cadmr.models.closed_form import OF_ORDER, ClosedFormRecommender
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.closed_form_search import ClosedFormSearch
from recbole_cadmr.training.contents import RunContent
from recbole_cadmr.training.held_out import HeldOut
from recbole_cadmr.training.trainer import RunTrainer

_RECORD = "closed_form.pt"  # of a search that is not over
_FEW = 100  # users below which a choice is warned of
# Of a choice, unless a number of fits is given: fits times items; fits times users and items looked at, or fits.
_FIT_WORK, _LOOK_WORK, _LOOKS = 2_000_000, 1_000_000_000, 8


class ClosedFormTrainer(RunTrainer):
    """Lets the closed form choose its settings before the first epoch, once its state is saved."""

    model: ClosedFormRecommender

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """As RecBole's ``fit``."""
        self.model.closed_form.attended()  # what is wrong with the attention is said before anything is kept
        self.callbacks.append(_ChooseSettings(valid_data))
        return super().fit(train_data, valid_data, **options)

    def load_model_state(self, state: Mapping[str, Any]) -> None:
        """As for any model.

        Raises:
            UserError: if the settings that the model chose, which a person may have edited, cannot be.
        """
        super().load_model_state(state)
        self._check_choices()

    def take_choices(self, best: RunContent) -> None:
        """The settings of the closed form."""
        self.model.chosen = best["attributes"].get(":chosen", "")
        self._check_choices()

    def _check_choices(self) -> None:
        choices = self.model.choices()
        for part, owner in (("settings", "LinearCADMR"), ("found", "LinearCADMR"), ("attention", "CADMR")):
            declared = own_settings(owner)
            for name, value in choices.get(part, {}).items():
                declared[name].check(value, "the checkpoint was edited")


def held_out_of(trainer: ClosedFormTrainer, valid_data: Any, part: str, instead: str) -> HeldOut:
    """The validation items by which settings of a part of the model are chosen; warns if they are few.

    Args:
        instead: what keeps the defaults.
    """
    V = binary(valid_data._dataset.inter_matrix(form="csr")[:, 1:])
    held_out = HeldOut(trainer.model.closed_form.R, V, trainer.valid_metric, max(trainer.config["topk"]))
    if len(held_out.users) < _FEW:
        trainer.logger.warning(
            f"only {len(held_out.users)} users have validation items to choose the settings of the {part} by; "
            f"{instead} the defaults"
        )
    return held_out


class _ChooseSettings(TrainingCallback):
    def __init__(self, valid_data: Any) -> None:
        self._valid_data = valid_data

    def on_epoch_start(self, trainer: Any, epoch: int) -> None:
        """Choose the settings, unless that is done; one process chooses for all that share the training."""
        if rank():
            return
        model: ClosedFormRecommender = trainer.model
        settings = model.closed_form.settings
        ladders = _ladders(settings, model)
        if model.chosen or epoch or settings["adaptive_fits"] == 1 or not ladders or trainer.config.final is not None:
            return
        if isinstance(settings["reg_weight"], (list, tuple)):
            trainer.logger.info("of several values of reg_weight the best is kept; the other settings stay as they are")
            return
        if not (self._valid_data and trainer.config["eval_step"]):
            trainer.logger.warning("without a validation the closed form keeps the default settings")
            return
        start = perf_counter()
        held_out = held_out_of(trainer, self._valid_data, "closed form", "adaptive_fits=1 keeps")
        budget = settings["adaptive_fits"]
        if "adaptive_fits" not in model.given and budget > (most := _most_fits(len(held_out.users), model.n_items)):
            trainer.logger.info(f"settings are chosen by {most} fits in place of {budget}, as each takes long")
            budget = most
        search = ClosedFormSearch(model.closed_form, held_out, ladders, budget, trainer.folder / _RECORD)
        found = chosen = search.run()
        if model.least_gain and (gain := search.gain()) < model.least_gain:
            least = f"{model.least_gain:.0%}"
            trainer.logger.info(f"found {gain:.1%} better settings; below {least} those at hand are kept for now")
            chosen = {}
        counts = {"fits": search.fits, "tried": search.tried}
        model.chosen = json.dumps({"settings": chosen, **({} if chosen == found else {"found": found}), **counts})
        if trainer.config["resume_step"]:
            trainer.save_state()  # so that a kill from now on repeats no fit
        (trainer.folder / _RECORD).unlink()
        trainer.seconds["choice of settings"] = perf_counter() - start


def _most_fits(n_users: int, n_items: int) -> int:
    """By how many fits settings are chosen in a few minutes, if so many users are looked at after each."""
    return max(2, min(_FIT_WORK // n_items, max(_LOOKS, _LOOK_WORK // (n_users * n_items))))


def _ladders(settings: Mapping[str, Any], model: ClosedFormRecommender) -> dict[str, list[float]]:
    """The ladders of the settings that are free and have an effect."""
    content, is_ordered = model.closed_form.has_content, model.closed_form.order is not None
    without_content = (*OF_ORDER, "reg_weight", "row_scaling", "item_scaling", "popularity_damping")
    return {
        name: list(setting.ladder)
        for name, setting in own_settings("LinearCADMR").items()
        if setting.ladder is not None
        and name not in model.given
        and (content or name in without_content)
        and (is_ordered or name not in OF_ORDER)
    }

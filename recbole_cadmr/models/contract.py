"""The contract of models: what the trainer, the benchmark and the recommender ask of one, and what each answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import scipy.sparse as sp
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender, GeneralRecommender, SequentialRecommender
from torch import Tensor

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.models.registry import get_model


@dataclass(frozen=True)
class ModelTraits:
    """What a model is; the defaults are those of a model that declares nothing.

    Attributes:
        multimodal: whether it reads item features, so that a data set without any is an error.
        reads_item_graphs: whether it reads the nearest items of each by content, in some of its settings at least.
        deterministic: whether nothing is drawn, so that the seed does not matter.
        scores_cold_items: whether an item without train interactions is scored by its content.
        recommends_from_history: whether it scores people it was not trained on, by ``score_rows``.
        explains: whether it says what a score is made of, by ``score_paths``.
        takes_new_items: whether it scores items that came after training, by their content, after ``refit``.
        refits: whether all that it learns follows from the training rows by ``refit``.
        weighs_content: whether ``score_rows`` takes a weight of content other than 1.
        sequential: whether it reads what a user has chosen in its order, so that a data set without one is an error.
        batch_by_rows: whether its training batches are ids of rows of the rating matrix, not interactions.
        ranks_all_items: whether it scores all items of a user at once; :func:`traits` sees that for itself.
        trainer: its trainer as ``module:Class``; None for RecBole's.
        item_matrices: dense matrices, items by items, that a fit holds at its peak.
        fits_sparse: whether the fit does without these matrices where memory has no room for them.
    """

    multimodal: bool = False
    reads_item_graphs: bool = False
    deterministic: bool = False
    scores_cold_items: bool = False
    recommends_from_history: bool = False
    explains: bool = False
    takes_new_items: bool = False
    refits: bool = False
    weighs_content: bool = False
    sequential: bool = False
    batch_by_rows: bool = False
    ranks_all_items: bool = True
    trainer: str | None = None
    item_matrices: int = 0
    fits_sparse: bool = False


class TrainingHooks:
    """What the trainer asks a model for, beside its losses, and what a model that has nothing to say answers."""

    @property
    def phase(self) -> str:
        """Name of the phase that training is in."""
        return "training"

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of what ``calculate_loss`` returns; () for ``loss``, or ``loss0``, ``loss1``, ... of several."""
        return ()

    @property
    def shared_by(self) -> Literal["rows", "work"] | None:
        """How processes can share a batch, as :mod:`recbole_cadmr.layers.shared_batch` says; None if they cannot.

        By ``rows``, each has some rows: the loss is a mean over the batch, or asks for the whole one where it is not.
        By ``work``, each has all rows, and the model shares what is expensive about them.
        """
        return None

    def before_epoch(self) -> None:
        """Prepare an epoch of training."""

    def diagnostics(self) -> dict[str, float]:
        """Figures about the model that every validation records beside its metrics."""
        return {}

    def choices(self) -> dict[str, Any]:
        """``settings`` that the model chose on validation by itself, and how many it ``tried``; {} if it does not."""
        return {}

    def listed_scores(self, interaction: Interaction) -> sp.csr_matrix | None:
        """Scores of a few candidates of each user, where the catalogue is too large to score all of it.

        Args:
            interaction: the users, as ``full_sort_predict`` gets them; any number of them.

        Returns:
            float32 [B, n_items] whose stored entries, zeros included, are the candidates: each once, in any order,
            scored as ``full_sort_predict`` does, among them items that the user has, but never the padding item. All
            others rank behind them. Users of whom fewer are left than a list is long are ranked by
            ``full_sort_predict``. Of equal scores, the item of the lower id comes first. None, for all users alike, if
            the catalogue is scored whole.
        """
        return None


class OwnModel(TrainingHooks):
    """What all of the package's models are, beside one of RecBole's kinds of recommenders.

    Attributes:
        traits: what the model is; a subclass says what is different, by ``replace(Base.traits, ...)``.
        shared_settings: declarations that the model has beside its own, of ``properties/shared/NAME.yaml`` each.
    """

    traits: ClassVar[ModelTraits] = ModelTraits()
    shared_settings: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, config: Any = None, *others: Any, **named: Any) -> Any:
        """The form that the settings ask for: RecBole's functions find a model by its name, and know of no forms."""
        form = cls if config is None else cls.form(config)  # without settings, an instance is copied
        return super().__new__(cls) if form is cls else form(config, *others, **named)

    @classmethod
    def form(cls, settings: Mapping[str, Any]) -> type[OwnModel]:
        """The class that these settings ask for, of a model of several forms."""
        return cls

    def score_rows(self, rows: Tensor, content_weight: float = 1.0) -> Tensor:
        """Scores [B, n_items] of people the model has not seen, from their rows [B, n_items] of 0 and 1.

        Args:
            content_weight: factor of what content adds to the scores of a closed form; of other models 1.

        Raises:
            UserError: if the model does not recommend from a history.
        """
        raise UserError(f"{type(self).__name__} knows only the users it was trained on; it takes no `history`")

    def refit(self, before: Any, dataset: MultimodalDataset, n_known: int) -> None:
        """Compute anew what follows from the data alone, after the parameters of the same model on fewer data came in.

        Args:
            before: that model.
            dataset: what this one was built from.
            n_known: items that it was trained on, the padding item included; of the others nothing was learned.
        """

    def score_paths(self, chosen: Tensor, item: int, user: int | None = None) -> list[ScorePath]:
        """The parts that the score of an item is made of; they add up to it.

        Args:
            chosen: int64 [n], ids of the items that the person has chosen, ascending; one at least.
            user: the id of that person, None of one that the model has not seen.

        Raises:
            UserError: if nothing true can be said about this model's scores.
        """
        raise UserError(f"the scores of {type(self).__name__} do not fall into parts that can be named")


class Recommender(OwnModel, GeneralRecommender):
    """Base of the package's models of users and items."""


class SequenceRecommender(OwnModel, SequentialRecommender):
    """Base of the package's models of sequences.

    To be scored, users come with their histories in ``ITEM_SEQ`` and ``ITEM_SEQ_LEN``, as RecBole's models get them.
    """

    traits: ClassVar[ModelTraits] = ModelTraits(sequential=True)


# What the classes of RecBole's models cannot say themselves. Pop is not deterministic: it counts the items of a batch
# once each, sampled negative ones included.
_RECBOLES: dict[str, ModelTraits] = {
    "ADMMSLIM": ModelTraits(deterministic=True, item_matrices=8),
    "EASE": ModelTraits(deterministic=True, item_matrices=6),
    "ItemKNN": ModelTraits(deterministic=True, item_matrices=8),
    "NCEPLRec": ModelTraits(item_matrices=2),
    "SLIMElastic": ModelTraits(item_matrices=2),
}


def traits(model: str | type[AbstractRecommender]) -> ModelTraits:
    """The traits of a model, by its name or its class.

    Raises:
        UserError: if there is no model of this name.
    """
    model = get_model(model) if isinstance(model, str) else model
    own = getattr(model, "traits", None)  # which a class of the user's own may have on any base
    if not isinstance(own, ModelTraits):
        is_sequential = issubclass(model, SequentialRecommender)
        own = _RECBOLES.get(model.__name__, ModelTraits(sequential=is_sequential))
    return replace(own, ranks_all_items=model.full_sort_predict is not AbstractRecommender.full_sort_predict)


def training_hooks(model: AbstractRecommender) -> TrainingHooks:
    """The hooks of a model; those that do nothing, of one of RecBole's."""
    if isinstance(model, OwnModel):
        return model
    return _SharedByRows() if type(model).__name__ in _BY_ROWS else TrainingHooks()


# RecBole's models whose loss is a mean over the batch, but for its EmbLoss.
_BY_ROWS = ("BPR", "LightGCN")


class _SharedByRows(TrainingHooks):
    shared_by = "rows"

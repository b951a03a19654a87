"""Any model on its session, asked for scores."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, cast

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.attention_scores import AttentionScores
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.content_graph import GraphAttention
from recbole_cadmr.layers.content_paths import weighed
from recbole_cadmr.layers.low_rank_autoencoder import in_threads
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.models.closed_form import ClosedFormRecommender
from recbole_cadmr.models.content import content_rows
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.item_weights import ItemWeightsRecommender
from recbole_cadmr.models.linearcadmr import LinearCADMR
from recbole_cadmr.models.multimodal import MultimodalRecommender
from recbole_cadmr.models.registry import is_recboles
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.export_sources import Content
from recbole_cadmr.recommender.item_content import ItemContent
from recbole_cadmr.recommender.weights_engine import WeightsEngine
from recbole_cadmr.runs.session import Session
from recbole_cadmr.training.refusals import check_scores

_WEIGHTS_OF_RECBOLES = {"EASE": "item_similarity", "ItemKNN": "w", "SLIMElastic": "item_similarity"}  # with padding


def engine_of(session: Session) -> Engine:
    """What gives the scores of a session's model: by its weights alone, where they say it all, else by the model.

    Weights on a GPU stay with their model; those of RecBole's models are in main memory.
    """
    model, name = session.model, session.config["model"]
    if (weights := recboles_weights(model)) is not None:
        return WeightsEngine(name, weights, n_scored=_n_scored(session))
    if session.trainer.device.type != "cpu":
        return ModelEngine(session)
    if isinstance(model, (LinearCADMR, SoftmaxCADMR)):
        model.adopt_choices() if isinstance(model, LinearCADMR) else model.fit()
        closed_form = _without_data(model.closed_form, session.train_data._dataset)
        if closed_form.weights is None:
            return ModelEngine(session)
        engine = WeightsEngine(name, closed_form.weights, closed_form)
        if isinstance(model, LinearCADMR):
            return engine
        with torch.no_grad():
            attention = AttentionScores(model.attention_scores.members)
        return AttentionEngine(name, engine, attention, float(model.attention_weight), model.n_candidates)
    if isinstance(model, ItemWeightsRecommender) and model.weights is not None:
        return WeightsEngine(name, model.weights, n_scored=_n_scored(session))
    return ModelEngine(session)


def recboles_weights(model: torch.nn.Module) -> Tensor | sp.csr_matrix | None:
    """The weights [I, I] of one of RecBole's models that scores by a user's row of 0 and 1 times them; else None."""
    name = _WEIGHTS_OF_RECBOLES.get(type(model).__name__) if is_recboles(type(model)) else None
    if name is None or getattr(model, "method", "item") != "item" or sp.csr_matrix(model.interaction_matrix).max() > 1:
        return None
    weights = getattr(model, name)
    if sp.issparse(weights):
        return weights.tocsr()[1:, 1:].astype(np.float32)
    return torch.from_numpy(np.array(weights[1:, 1:], dtype=np.float32))


def _n_scored(session: Session) -> int:
    """Items that are recommended: all but those that nobody has ever had, if the model can say nothing about them."""
    unknown = 0 if traits(type(session.model)).scores_cold_items else session.dataset.new_item_count
    return session.dataset.item_num - unknown


def _without_data(closed_form: ContentAutoencoder, dataset: MultimodalDataset) -> ContentAutoencoder:
    """The closed form, which holds no interactions but its rows any more."""
    closed_form = copy.copy(closed_form)
    content = Content({}) if closed_form.settings["attention"] == "none" else ItemContent(dataset)
    closed_form.attention = GraphAttention(content, closed_form.R)
    closed_form.features = partial(content_rows, content)
    closed_form.map_blocks = in_threads
    return closed_form


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _one_at_a_time(method: _Method) -> _Method:
    """A method of :class:`ModelEngine` that no other thread is in, and which computes no gradients."""

    @wraps(method)
    def alone(engine: ModelEngine, *arguments: Any, **named: Any) -> Any:
        with engine._lock, torch.no_grad():
            return method(engine, *arguments, **named)

    return cast(_Method, alone)


class ModelEngine(Engine):
    """Scores by the model and the trainer of a session, of one thread at a time: models keep what they compute."""

    knows_users = True

    def __init__(self, session: Session) -> None:
        own = traits(type(session.model))
        self.name = session.config["model"]
        self.takes_histories, self.sequential = own.recommends_from_history, own.sequential
        self.explains, self.weighs_content = own.explains, own.weighs_content
        self.n_users, self.n_items = session.dataset.user_num, session.dataset.item_num
        self._user_field = session.dataset.uid_field
        self.n_scored = _n_scored(session)
        self.config, self.model, self.trainer = session.config, session.model, session.trainer
        self.trainer.tensorboard = None  # its writer cannot be copied, and nothing is written any more
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    @property
    def users_at_once(self) -> int:
        """As many as the setting ``eval_batch_size`` says."""
        return max(self.trainer.test_batch_size // self.n_items, 1)

    @_one_at_a_time
    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> Tensor:
        """Scores of people by what they have."""
        how = {} if content_weight == 1.0 else {"content_weight": content_weight}
        scores = self.model.score_rows(rows.dense.to(self.trainer.device), **how)
        check_scores(scores, self.config)
        return self._without_unknown(scores.cpu())

    @_one_at_a_time
    def scores_of_users(self, users: Tensor, sequences: Sequences | None = None) -> Tensor:
        """Scores of users that the model was trained on."""
        return self._without_unknown(self.trainer.scores(self._interaction(users, sequences)).cpu())

    def _without_unknown(self, scores: Tensor) -> Tensor:
        scores[:, self.n_scored :] = -torch.inf
        return scores

    @_one_at_a_time
    def raw_scores(self, users: Tensor) -> Tensor | None:
        """What the model itself gives for users [B]: [B, n_items] on its device; None if it scores pairs."""
        if not traits(type(self.model)).ranks_all_items:
            return None
        interaction = self._interaction(users, None).to(self.trainer.device)
        return self.model.full_sort_predict(interaction).view(-1, self.n_items)

    @_one_at_a_time
    def listed(self, rows: RowBatch) -> sp.csr_matrix | None:
        """The candidates that the model lists, if it does; of a model of sequences, or of two domains, None."""
        if self.sequential or self.trainer.domains is not None or rows.ids is None:
            return None
        listed = self.trainer.hooks.listed_scores(self._interaction(rows.ids, None).to(self.trainer.device))
        if listed is not None:
            check_scores(torch.from_numpy(listed.data)[None], self.config)
        return listed

    def _interaction(self, users: Tensor, sequences: Sequences | None) -> Interaction:
        interaction = Interaction({self._user_field: users})
        if sequences is not None:
            interaction.update(sequences.interaction(users, self.config))
        return interaction

    @_one_at_a_time
    def score_paths(
        self, chosen: Tensor, item: int, user: int | None, content_weight: float = 1.0, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The parts of the score of an item."""
        if self.sequential and not self.explains:
            raise UserError(
                f"{self.name} is a model of sequences: its scores come from the order of all that a person has chosen, "
                f"and do not fall into parts that can be named"
            )
        if not self.explains:
            return super().score_paths(chosen, item, user, content_weight)
        how = {} if counts is None else {"counts": counts}  # of a closed form alone
        return weighed(self.model.score_paths(chosen, item, user, **how), content_weight)

    @property
    def modality_weights(self) -> Mapping[str, float]:
        """Those of the closed form's attention."""
        if not isinstance(self.model, ClosedFormRecommender):
            return {}
        self.model.adopt_choices()
        return self.model.closed_form.modality_weights

    @_one_at_a_time
    def item_vectors(self) -> Tensor | None:
        """The vectors of the items in inner products with users, or free ones, of a model that has such ones."""
        if isinstance(self.model, MultimodalRecommender):
            vectors = self.model.forward()[1]
        else:
            table = getattr(self.model, "item_embedding", None)
            if not isinstance(table, torch.nn.Embedding) or table.num_embeddings < self.n_items:
                return None
            vectors = table.weight[: self.n_items]
        vectors = F.normalize(vectors.detach().cpu().float(), dim=1)
        vectors[self.n_scored :] = 0.0  # nothing has been learned about these items
        return vectors

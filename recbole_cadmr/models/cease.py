"""CEASE: one linear autoencoder of interactions and content."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender


class CEASE(ItemWeightsRecommender):
    """Collective EASE (Jeunen, Van Balen and Goethals, *Closed-Form Models for Collaborative Filtering with
    Side-Information*, RecSys 2020): the B with zero diagonal that minimises ``|X - X B|^2 + reg_weight |B|^2`` for
    ``X = [R; content_weight F']``, the training rows above the transposed content F [I, D] of the items.

    Settings are declared in ``properties/model/CEASE.yaml``.
    """

    traits = replace(ItemWeightsRecommender.traits, item_matrices=3)

    @staticmethod
    def item_weights(given: Given) -> Tensor:
        """B [I, I], by the Gram matrix ``R'R + content_weight^2 F F'``."""
        gram = given.rating_gram().add_(given.content_gram(), alpha=given.settings["content_weight"] ** 2)
        return exact_autoencoder(gram, given.settings["reg_weight"])

"""AddEASE: the weighted sum of two linear autoencoders, one of interactions and one of content."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender


class AddEASE(ItemWeightsRecommender):
    """Additive EASE (Jeunen, Van Balen and Goethals, *Closed-Form Models for Collaborative Filtering with
    Side-Information*, RecSys 2020): ``(1 - content_weight) B + content_weight A``, where B is the EASE of the training
    rows and A that of the transposed content, each with a ridge of its own.

    Settings are declared in ``properties/model/AddEASE.yaml``.
    """

    traits = replace(ItemWeightsRecommender.traits, item_matrices=4)

    @staticmethod
    def item_weights(given: Given) -> Tensor:
        """The sum [I, I]."""
        share = given.settings["content_weight"]
        A = exact_autoencoder(given.content_gram(), given.settings["content_reg_weight"], "content_reg_weight")
        B = exact_autoencoder(given.rating_gram(), given.settings["reg_weight"])
        return B.mul_(1 - share).add_(A, alpha=share)

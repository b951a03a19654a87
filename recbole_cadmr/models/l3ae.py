"""L3AE: a linear autoencoder of interactions, drawn towards one of content."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder, guided_autoencoder
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender


class L3AE(ItemWeightsRecommender):
    """Moon, Park and Lee, *LLM-Enhanced Linear Autoencoders for Recommendation*, CIKM 2025.

    First A, the EASE of the items' content F with the ridge ``content_reg_weight`` (lambda_F); then the B with zero
    diagonal that minimises ``|R - R B|^2 + reg_weight |B|^2 + content_weight |B - A|^2`` (lambda_X and lambda_E).

    Settings are declared in ``properties/model/L3AE.yaml``.
    """

    traits = replace(ItemWeightsRecommender.traits, item_matrices=4)

    @staticmethod
    def item_weights(given: Given) -> Tensor:
        """B [I, I]."""
        A = exact_autoencoder(given.content_gram(), given.settings["content_reg_weight"], "content_reg_weight")
        return guided_autoencoder(
            given.rating_gram(), A, given.settings["reg_weight"], given.settings["content_weight"]
        )

"""What a recommender is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.sources import Source


@dataclass(frozen=True)
class Parts:
    """What a recommender is made of, and where it comes from.

    Attributes:
        card: what is known of the model: ``model``, ``dataset``, ``fingerprint``, ``settings``, ``changed``,
            ``versions`` and ``version``, a text that tells models apart.
        source: where the model comes from, to take in more; None if it takes in nothing.
    """

    catalogue: Catalogue
    histories: Histories
    engine: Engine
    card: dict[str, Any]
    source: Source | None = None

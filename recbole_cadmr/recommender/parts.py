"""What a recommender is made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what its model can be given beyond what it was trained on.

    Attributes:
        file: the checkpoint.
        data_path: where the data set lies, if no longer where it was trained.
        takes_new_items, refits: as of ``ModelTraits``.
    """

    file: Path
    data_path: str | os.PathLike[str] | None
    takes_new_items: bool
    refits: bool


@dataclass(frozen=True)
class Parts:
    """What a recommender is made of, and where it comes from.

    Attributes:
        card: what is known of the model: ``model``, ``dataset``, ``fingerprint``, ``settings``, ``changed`` and
            ``versions``.
        source: where the model can be opened again, to take in more; None if it cannot.
    """

    catalogue: Catalogue
    histories: Histories
    engine: Engine
    card: dict[str, Any]
    source: Source | None = None

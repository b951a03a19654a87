"""What a source provides about items (titles, texts, pictures, vectors), and the data set that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from recbole_cadmr.data.encoders import Encoder


@dataclass(frozen=True)
class Features:
    """One modality as it will be written: vectors, a graph of nearest items, or both.

    Attributes:
        name: of the modality.
        items: ids in the order of the rows; items that lack the modality are not among them.
        rows: a ``.npy`` file of vectors, None if there is a graph alone.
        at: the row of that file that each of ``items`` has; None if they are the file's rows, in its order.
        graph: ``idx`` (places in ``items``, -1 for none) and ``cos`` [len(items), k].
        made_by: what made the vectors, for the data set's card.
        encoder: the same for a program, if it is one that can encode further items.
    """

    name: str
    items: list[str]
    rows: Path | None = None
    at: np.ndarray | None = None
    graph: tuple[np.ndarray, np.ndarray] | None = None
    made_by: str = ""
    encoder: Encoder | None = None


@dataclass(frozen=True)
class Content:
    """What is known about the remaining items, by item id; an item that lacks something is not in that dict.

    Attributes:
        columns: by ``text`` and ``image``, which columns of the source texts were made of, or which named the pictures.
        kept: by column of the source, what it says of each item, to stand in the data set as it is.
    """

    titles: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    features: list[Features] = field(default_factory=list)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# The ids of all products that a source describes, whether somebody has them or not.
Catalogue = Callable[[], Iterable[str]]


class Answer(Protocol):
    """What a database answered to a query."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def query(self) -> str:
        """The query as the user gave it."""

    @property
    def size(self) -> int:
        """Bytes of its rows that were read, as lines of text."""

    @property
    def sha256(self) -> str:
        """The hash of the same."""


# Where raw data come from.
Source = Path | Answer
# From the remaining items, and a folder for intermediate results, to what is known about the items.
ContentReader = Callable[[Sequence[str], Path], Content]


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be written.

    Attributes:
        parts: ``user_id``, ``item_id`` and, if known, ``rating``, ``timestamp`` and ``order`` (place in the user's
            sequence) of train, valid and test.
        titles: by item id, one line each.
        origin, licence: what the raw data are, and what is known about their licence, a sentence each.
        sources: the files, or the answers of databases, that they were read from.
        notes: what was skipped, a line each.
        steps: what was done, by name, such as ``k-core``: ``5``.
        settings: of ``NAME.yaml``, in addition to those that follow from the rest.
        domains: the domain of each item, of a data set of several; {} of one.
        new_items: items without any interaction that belong to the catalogue.
        kept, pictures: as of :class:`Content`.
    """

    name: str
    parts: Mapping[str, pd.DataFrame]
    titles: Mapping[str, str]
    features: Sequence[Features]
    origin: str
    licence: str
    sources: Sequence[Source]
    notes: Sequence[str]
    steps: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    new_items: Sequence[str] = ()
    kept: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)

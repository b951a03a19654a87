"""Controls of what content is worth: vectors dealt out anew among the items, taken away, and made of noise."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError

NOISE = "noise"  # name of the modality that is made of it


def changes(controls: Mapping[str, Any], name: str) -> bool:
    """Whether controls leave a modality other than it is in the files."""
    return bool(controls.get("missing")) or _is_shuffled(controls, name)


def _is_shuffled(controls: Mapping[str, Any], name: str) -> bool:
    shuffled = controls.get("shuffled", False)
    return shuffled if isinstance(shuffled, bool) else name in shuffled


def controlled(modality: Modality, controls: Mapping[str, Any]) -> Modality:
    """A modality under controls; the same controls give the same vectors, each modality by draws of its own.

    Args:
        controls: the setting ``content_controls``.
    """
    if not changes(controls, modality.name):
        return modality
    drawn = _generator(controls, modality.name)
    features, present = modality.features, modality.present.clone()
    items = present.nonzero().squeeze(1)
    if _is_shuffled(controls, modality.name):
        features = features.clone()
        features[items] = modality.features[items[torch.from_numpy(drawn.permutation(len(items)))]]
    n_lost = round(controls.get("missing", 0.0) * len(items))
    if n_lost:
        lost = items[torch.from_numpy(drawn.permutation(len(items))[:n_lost])]
        present[lost] = False
        features = features.masked_fill(~present[:, None], 0.0)
    if not present.any():
        raise UserError(f"content_controls leave no item with {modality.name}; let missing be a smaller share")
    return Modality(modality.name, features, present)


def noise(controls: Mapping[str, Any], n_items: int) -> Modality:
    """The modality ``NOISE``: standard normal numbers for every item but the padding item."""
    features = torch.from_numpy(_generator(controls, NOISE).standard_normal((n_items, controls[NOISE]), np.float32))
    features[0] = 0.0
    present = torch.ones(n_items, dtype=torch.bool)
    present[0] = False
    return Modality(NOISE, features, present)


def _generator(controls: Mapping[str, Any], name: str) -> np.random.Generator:
    return np.random.default_rng([controls.get("seed", 0), zlib.crc32(name.encode())])

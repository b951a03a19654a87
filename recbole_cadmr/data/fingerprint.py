"""What data a model was trained on, in a few hashes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.files import sha256_of


def fingerprint(train: MultimodalDataset, valid: MultimodalDataset, test: MultimodalDataset) -> dict[str, Any]:
    """Hashes of a split data set; the same data give the same hashes on every machine.

    Returns:
        ``id_maps`` (tokens in the order of their ids), ``interactions`` (who has what in which part), ``features``
        (bytes of each feature file), ``sha256`` of all of these, and ``counts``.
    """
    pairs_of = (part.pair_ids().numpy() for part in (train, valid, test))
    result: dict[str, Any] = {
        "id_maps": _hash(
            *("\n".join(map(str, train.field2id_token[field])).encode() for field in (train.uid_field, train.iid_field))
        ),
        "interactions": _hash(*(np.sort(pairs).astype("<i8").tobytes() for pairs in pairs_of)),
        "features": {file.name: sha256_of(file) for file in train.feature_files()},
    }
    result["sha256"] = _hash(*(repr(result[name]).encode() for name in sorted(result)))
    result["counts"] = {
        "users": train.user_num - 1,
        "items": train.item_num - 1,
        "interactions": [len(part) for part in (train, valid, test)],
    }
    return result


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()

"""Texts to vectors, by a sentence-transformers model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.shards import ABSENT, PRESENT, Extracted, in_shards
from recbole_cadmr.files import sha256_of

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def extract_text(
    texts: Sequence[str],
    store: Path,
    *,
    model: str = "sentence-transformers/all-MiniLM-L6-v2",
    dtype: str = "float32",
    batch_size: int = 64,
    device: str | None = None,
) -> Extracted:
    """Vectors of ``texts``; a blank text has none.

    Args:
        store: folder of the shards, from which a killed run resumes.
        model: a folder, or a name that sentence-transformers knows.
        device: such as ``cuda:0``; a GPU if there is one.

    Raises:
        UserError: if the model cannot be loaded.
    """
    encoder = _load(model, device)
    present = np.array([bool(text.strip()) for text in texts])
    width = encoder.get_embedding_dimension()

    def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
        here = present[part]
        vectors = np.zeros((len(here), width), dtype=np.float32)
        written = [text for text, is_there in zip(texts[part], here) if is_there]
        if written:
            vectors[here] = encoder.encode(written, batch_size=batch_size, show_progress_bar=False)
        return vectors, np.where(here, PRESENT, ABSENT)

    weights = _weights_hash(encoder)
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    key = {"model": weights or model, "texts": digest, "max_seq_length": str(encoder.max_seq_length)}
    card = {"model": Path(model).name, "SHA-256 of its weights": weights or "unknown"}
    return in_shards(store, len(texts), width, compute, key=key, card=card, dtype=dtype, label="texts")


def _load(model: str, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model, device=device, trust_remote_code=False)
    except Exception as error:  # the hub, the file system, safetensors and torch each have errors of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"cannot load the text model {model}: {reason}; "
            f"give --text_model a folder that holds it, or none for no text vectors"
        ) from error


def _weights_hash(encoder: Any) -> str:
    """SHA-256 of the file of weights, "" if its place is not known."""
    from transformers.utils import cached_file

    name = encoder[0].auto_model.name_or_path
    for file in _WEIGHTS:
        with suppress(OSError):
            if path := cached_file(name, file, local_files_only=True):
                return sha256_of(path)
    return ""

"""Texts to vectors, by a sentence-transformers model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.device import place_of
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
    over: Over = here,
) -> Extracted:
    """Vectors of ``texts``; a blank text has none.

    Args:
        store: folder of the shards, from which a killed run resumes.
        model: a folder, or a name that sentence-transformers knows.
        device: such as ``cuda:0``; a GPU if there is one.
        over: who computes the shards.

    Raises:
        UserError: if the model cannot be loaded.
    """
    encoder = _load(model)
    weights = _weights_hash(encoder)
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    key = {"model": weights or model, "texts": digest, "max_seq_length": str(encoder.max_seq_length)}
    card = {"model": Path(model).name, "SHA-256 of its weights": weights or "unknown"}
    compute, width = _Encode(encoder, batch_size, device), encoder.get_embedding_dimension()
    how: dict[str, Any] = {"key": key, "card": card, "dtype": dtype, "label": "texts"}
    return in_shards(store, len(texts), width, compute, read=texts.__getitem__, over=over, **how)


@dataclass(frozen=True)
class _Encode:
    """Texts to vectors, on this machine or on another one that has not got the model's files."""

    encoder: Any
    batch_size: int
    device: str | None

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.encoder.to(place_of(self.device))
        present = np.array([bool(text.strip()) for text in texts])
        vectors = np.zeros((len(texts), self.encoder.get_embedding_dimension()), dtype=np.float32)
        written = [text for text, is_there in zip(texts, present) if is_there]
        if written:
            vectors[present] = self.encoder.encode(written, batch_size=self.batch_size, show_progress_bar=False)
        return vectors, np.where(present, PRESENT, ABSENT)


def _load(model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model, device="cpu", trust_remote_code=False)
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

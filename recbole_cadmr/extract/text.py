"""Texts to vectors, by a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.device import place_of
from recbole_cadmr.extract.hf_folder import quiet
from recbole_cadmr.extract.kept import kept_or_loaded
from recbole_cadmr.extract.places import UNKNOWN, WEIGHTS_HASH
from recbole_cadmr.extract.reach import is_reachable
from recbole_cadmr.extract.shards import PRESENT, Extracted, in_shards
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.files import sha256_of
from recbole_cadmr.progress import advance
from recbole_cadmr.schema import read_json

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
BATCH = 64  # texts encoded at once, unless told otherwise
_STEP = 8  # tokens between the lengths to which texts are padded


def extract_text(
    texts: Sequence[str],
    work: Path,
    *,
    model: str = "sentence-transformers/all-MiniLM-L6-v2",
    dtype: str = "float32",
    batch_size: int = BATCH,
    device: str | None = None,
    over: Over = here,
    cache: VectorCache | None = None,
    usual_will_do: bool = False,
) -> Extracted:
    """Vectors of ``texts``; a blank text has none.

    A text's vector is the same, bit for bit, whichever texts are encoded with it: in the same versions of the packages,
    by the same kind of device and number of threads.

    Args:
        work: folder of the result.
        model: a folder, or a name that sentence-transformers knows.
        device: such as ``cuda:0``; a GPU if there is one.
        over: who computes the shards.
        cache: where vectors are kept, and taken from.
        usual_will_do: take those, too, that were encoded in batches of the usual size, which round otherwise.

    Raises:
        UserError: if the model cannot be loaded.
    """
    encoder, card, identity = kept_or_loaded("text", model, Path(model), partial(_opened, model))
    compute, width = _Encode(encoder, batch_size, device), encoder.get_embedding_dimension()
    keys = [sha256(text.encode("utf-8", "surrogatepass")).digest() if text.strip() else None for text in texts]
    # The longest first: texts that are encoded together are of about one length.
    longest = sorted(range(len(texts)), key=lambda place: -len(texts[place]))

    def read(places: Sequence[int]) -> list[str]:
        return [texts[place] for place in places]

    own = {**identity, "batches": _batches(batch_size)}
    how: dict[str, Any] = {"card": card, "dtype": dtype, "label": "texts", "cache": cache, "order": longest}
    how["alike"] = {**own, "batches": _batches(BATCH)} if usual_will_do else None
    return in_shards(work, keys, width, compute, encoder=own, read=read, over=over, **how)


def _opened(model: str) -> tuple[Any, dict[str, str], dict[str, str]]:
    """A model, what a card says of it, and what vectors of batches of the usual size depend on."""
    encoder = _load(model)
    card = {"model": Path(model).name, WEIGHTS_HASH: _weights_hash(encoder) or UNKNOWN}
    return encoder, card, _identity(encoder, BATCH)


@dataclass(frozen=True)
class _Encode:
    """Texts to vectors, on this machine or on another one that has not got the model's files.

    What else is in a batch changes a vector by its shape alone: by the padding, to which kernels round otherwise, and
    by the number of texts. So the length of a text decides how far it is padded, and every batch is full.
    """

    encoder: Any
    batch_size: int
    device: str | None

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.encoder.to(place_of(self.device))
        vectors = np.zeros((len(texts), self.encoder.get_embedding_dimension()), dtype=np.float32)
        lengths, step = self._padded_lengths(texts), max(self.batch_size - 1, 1)
        count_of_specials = getattr(self.encoder.tokenizer, "num_special_tokens_to_add", int)  # none, of other kinds
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            # It has more tokens than the others of its batch, which are padded to it, and fills the batch up.
            ruler = "a " * max(int(length) + 1 - count_of_specials(), 1)
            for start in range(0, len(alike), step):
                rows = alike[start : start + step]
                batch = [*(texts[row] for row in rows), *[ruler] * (self.batch_size - len(rows))]
                encoded = self.encoder.encode(batch, batch_size=self.batch_size, show_progress_bar=False)
                vectors[rows] = encoded[: len(rows)]
                advance(len(rows))
        return vectors, np.full(len(texts), PRESENT)

    def _padded_lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text, rounded up, and apart those that are cut off: they need no padding at all."""
        from transformers import PreTrainedTokenizerBase

        tokenizer, most = self.encoder.tokenizer, self.encoder.max_seq_length
        if not isinstance(tokenizer, PreTrainedTokenizerBase):  # of static vectors, which are not padded
            return np.zeros(len(texts), dtype=int)
        cut = {"truncation": True, "max_length": most} if most else {}
        read = tokenizer([_prompt(self.encoder) + text for text in texts], **cut)["input_ids"]
        counts = np.array([len(tokens) for tokens in read])
        return np.where(counts == (most or -1), counts, -(-counts // _STEP) * _STEP)


def _prompt(encoder: Any) -> str:
    """What the model puts before every text."""
    return (encoder.prompts or {}).get(encoder.default_prompt_name or "") or ""


def _identity(encoder: Any, batch_size: int) -> dict[str, str]:
    """What a vector depends on beside its text."""
    weights = sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        weights.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
    tokenizer = backend.to_str() if backend is not None else repr(encoder.tokenizer)
    return {
        "weights": weights.hexdigest(),
        "modules": str(encoder),
        "tokenizer": sha256(tokenizer.encode()).hexdigest(),
        "prompt": _prompt(encoder),
        "max_seq_length": str(encoder.max_seq_length),
        "batches": _batches(batch_size),
        **{name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
    }


def _batches(size: int) -> str:
    return f"full, of {size}, padded beyond steps of {_STEP} tokens"


def _load(model: str) -> Any:
    from huggingface_hub.constants import ENDPOINT, is_offline_mode
    from sentence_transformers import SentenceTransformer

    _refuse_code(Path(model))
    is_here = Path(model).is_dir() or is_offline_mode() or not is_reachable(ENDPOINT)
    try:
        with quiet() if is_here else nullcontext():  # a download shows how far it is
            return SentenceTransformer(model, device="cpu", trust_remote_code=False, local_files_only=is_here)
    except Exception as error:  # the hub, the file system, safetensors and torch each have errors of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if is_here and not Path(model).is_dir():
            reason = f"it is not on this machine, and there is no connection to {ENDPOINT}"
        raise UserError(
            f"cannot load the text model {model}: {reason}; get its files by hand and put them into "
            f"{Path(model).absolute()}, give --text_model a folder that holds it, or none for no text vectors"
        ) from error


def _refuse_code(folder: Path) -> None:
    """Raise :class:`UserError` for a folder whose model is code of its own: data sets of strangers name such folders.

    sentence-transformers before 6.0 runs the code of a folder whatever ``trust_remote_code`` says.
    """
    file = folder / "modules.json"
    if not file.is_file():
        return
    kind: Any = list[_Module]
    if own := next((m.type for m in read_json(file, kind) if not m.type.startswith("sentence_transformers.")), None):
        raise UserError(f"the text model {folder} has code of its own ({own:.100}), which is not run; name another one")


class _Module(msgspec.Struct):
    """A part of a text model, of which its class is read alone."""

    type: str


def _weights_hash(encoder: Any) -> str:
    """SHA-256 of the file of weights, "" if its place is not known."""
    from transformers.utils import cached_file

    name = encoder[0].auto_model.name_or_path
    for file in _WEIGHTS:
        with suppress(OSError):
            if path := cached_file(name, file, local_files_only=True):
                return sha256_of(path)
    return ""

"""Sounds to vectors, by an audio model of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.extract.by_file import Network, extract_files
from recbole_cadmr.extract.hf_folder import Opened, Vectors, open_folder, probed
from recbole_cadmr.extract.shards import Extracted
from recbole_cadmr.extract.sound import need_decoder, read_sound

_WINDOW = 10  # seconds that a model hears at once, unless its feature extractor takes another number of samples
_LEAST = 1  # second; what is shorter is filled up with silence


def extract_hf_audio(paths: Sequence[Path | None], work: Path, *, folder: Path, **how: Any) -> Extracted:
    """Vectors of sounds by the model in ``folder`` (wav2vec 2.0, HuBERT, AST, CLAP, Whisper), see :class:`Vectors`.

    A recording is heard in windows of ten seconds (of Whisper thirty); the last one ends where it ends. Its vector is
    the mean of theirs.

    Args:
        work: folder of the result.
        how: as of :func:`extract_files`, which says what becomes of missing and damaged files.

    Raises:
        UserError: as of :func:`open_folder`, and without the package soundfile.
    """
    need_decoder()
    opened = open_folder(folder, "audio")
    vectors, read = Vectors(opened, "audio"), _Read.by(opened)
    noise = np.random.default_rng(0).normal(0, 0.1, _LEAST * read.rate).astype(np.float32)
    width = probed(vectors, lambda: read.prepared(noise), 1, folder)
    identity = {
        **opened.identity,
        "heard": f"{read.rate} Hz, windows of {read.window} samples, one at once",
        **{package: version(package) for package in ("soundfile", "scipy", "numpy")},
    }
    network = Network(vectors, read, width, {**opened.card, "vector": vectors.taken}, identity, together=1)
    return extract_files(paths, work, network, "sounds", **how)


@dataclass(frozen=True)
class _Read:
    """A recording as the model hears it, in windows of so many samples."""

    processor: Any
    input: str
    rate: int
    window: int

    @classmethod
    def by(cls, opened: Opened) -> _Read:
        processor = opened.processor
        rate = int(processor.sampling_rate)
        own = (getattr(processor, name, None) for name in ("n_samples", "nb_max_samples"))  # Whisper's, CLAP's
        window = next((int(n) for n in own if n), _WINDOW * rate)
        return cls(processor, next(n for n in processor.model_input_names if n != "attention_mask"), rate, window)

    def __call__(self, content: bytes) -> list[Tensor]:
        return [self.prepared(part) for part in windows(read_sound(content, self.rate), self.window)]

    def prepared(self, samples: np.ndarray) -> Tensor:
        short = _LEAST * self.rate - len(samples)
        filled = np.pad(samples, (0, max(short, 0)))
        given = self.processor(filled, sampling_rate=self.rate, return_tensors="pt")[self.input][0]
        return torch.as_tensor(given, dtype=torch.float32)


def windows(samples: np.ndarray, length: int) -> list[np.ndarray]:
    """Parts of ``length`` that cover all samples, side by side but for the last, which ends where they end."""
    if len(samples) <= length:
        return [samples]
    starts = [*range(0, len(samples) - length, length), len(samples) - length]
    return [samples[start : start + length] for start in starts]

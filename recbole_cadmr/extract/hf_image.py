"""Pictures to vectors, by an image model of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from recbole_cadmr.extract.by_file import TOGETHER, Network, extract_files
from recbole_cadmr.extract.hf_folder import Vectors, open_folder, probed
from recbole_cadmr.extract.kept import kept_or_loaded
from recbole_cadmr.extract.picture import read_picture
from recbole_cadmr.extract.shards import Extracted


def extract_hf_images(paths: Sequence[Path | None], work: Path, *, folder: Path, **how: Any) -> Extracted:
    """Vectors of pictures by the model in ``folder`` (CLIP, SigLIP, ViT, DINO, ConvNeXt, ...), see :class:`Vectors`.

    Args:
        work: folder of the result.
        how: as of :func:`extract_files`, which says what becomes of missing and damaged pictures.

    Raises:
        UserError: as of :func:`open_folder`.
    """
    network = kept_or_loaded("image", str(folder), folder, partial(_network, folder))
    return extract_files(paths, work, network, "pictures", **how)


def _network(folder: Path) -> Network:
    opened = open_folder(folder, "image")
    vectors, read = Vectors(opened, "image"), _Read(opened.processor)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
    width = probed(vectors, lambda: read.prepared(noise), TOGETHER, folder)
    identity = {**opened.identity, "seen": f"as a viewer shows them, {TOGETHER} at once", "pillow": version("pillow")}
    return Network(vectors, read, width, {**opened.card, "vector": vectors.taken}, identity)


@dataclass(frozen=True)
class _Read:
    """A picture as the model sees it."""

    processor: Any

    def __call__(self, content: bytes) -> list[Tensor]:
        return [self.prepared(read_picture(BytesIO(content)))]

    def prepared(self, picture: Image.Image) -> Tensor:
        return self.processor(images=picture, return_tensors="pt")["pixel_values"][0]

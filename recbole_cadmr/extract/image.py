"""Pictures to vectors, by a network of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.device import place_of
from recbole_cadmr.extract.picture import read_picture
from recbole_cadmr.extract.shards import DAMAGED, PRESENT, Extracted, in_shards
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.files import sha256_of

# fc7 is the output of the second fully connected layer behind its ReLU: all but the last layer of the classifier.
_CUT: dict[str, tuple[str, Callable[[Any], None]]] = {
    "alexnet": ("fc7", lambda network: network.classifier.__delitem__(6)),
    "vgg16": ("fc7", lambda network: network.classifier.__delitem__(slice(5, 7))),
    "resnet50": ("pooled", lambda network: setattr(network, "fc", nn.Identity())),
    "vit_b_16": ("class token", lambda network: setattr(network, "heads", nn.Identity())),
}
_READERS = 2  # threads that decode while the network computes
_SHARD = 256  # minutes of work on a CPU, not an hour
# Pictures in a batch: always as many, since kernels round otherwise to batches of another size. More would be no faster
# on a CPU, nor on a GPU that waits for the decoders.
_TOGETHER = 8


def extract_images(
    paths: Sequence[Path | None],
    work: Path,
    *,
    model: str = "vgg16",
    weights: Path | None = None,
    dtype: str = "float32",
    device: str | None = None,
    over: Over = here,
    cache: VectorCache | None = None,
) -> Extracted:
    """Vectors of pictures: ``fc7`` of AlexNet and VGG16 (4,096-D), the last layer but one of ResNet-50 and ViT-B/16.

    A missing picture (None, or no such file) and a damaged one get no vector. A picture's vector is the same, bit for
    bit, whichever pictures are seen with it, as of :func:`extract_text`.

    Args:
        work: folder of the result.
        weights: a torchvision state dict; torchvision's own download if not given.
        device: such as ``cuda:0``; a GPU if there is one.
        over: who computes the shards.
        cache: where vectors are kept, and taken from.

    Raises:
        UserError: if the weights cannot be had or do not fit.
    """
    network, preprocess, card = _load(model, weights)
    network = network.eval().float()
    with torch.inference_mode():
        width = network(torch.zeros(1, 3, 224, 224)).shape[1]
    with ThreadPoolExecutor(_READERS) as pool:
        keys = list(pool.map(_key, paths))
    encoder = {
        **card,
        "preprocessing": repr(preprocess),
        "seen": f"as a viewer shows them, {_TOGETHER} at once",
        **{package: version(package) for package in ("torch", "torchvision", "pillow")},
    }

    def read(places: Sequence[int]) -> list[_Source]:
        return [(keys[place], paths[place] if over is here else _content(paths[place])) for place in places]

    compute = _See(network, preprocess, width, device)
    how: dict[str, Any] = {"card": card, "dtype": dtype, "label": "pictures", "size": _SHARD, "cache": cache}
    return in_shards(work, keys, width, compute, encoder=encoder, read=read, over=over, **how)


# The hash of a picture; where it lies, or, for another machine, what is in the file.
_Source = tuple[bytes | None, Path | bytes | None]


@dataclass(frozen=True)
class _See:
    """Pictures to vectors, on this machine or on another one that has not got their files."""

    network: Any
    preprocess: Callable[[Any], Tensor]
    width: int
    device: str | None

    def __call__(self, sources: Sequence[_Source]) -> tuple[np.ndarray, np.ndarray]:
        place = place_of(self.device)
        network = self.network.to(place)
        vectors, state = np.zeros((len(sources), self.width), dtype=np.float32), np.full(len(sources), DAMAGED)
        waiting: dict[int, Tensor] = {}
        with ThreadPoolExecutor(_READERS) as pool, torch.inference_mode():
            for row, picture in enumerate(pool.map(self._read, sources)):
                if picture is not None:
                    waiting[row], state[row] = picture, PRESENT
                if waiting and (len(waiting) == _TOGETHER or row == len(sources) - 1):
                    blank = torch.zeros(_TOGETHER - len(waiting), *next(iter(waiting.values())).shape)
                    seen = network(torch.cat([torch.stack([*waiting.values()]), blank]).to(place)).float().cpu().numpy()
                    vectors[[*waiting]] = seen[: len(waiting)]
                    waiting.clear()
        return vectors, state

    def _read(self, source: _Source) -> Tensor | None:
        """The picture as the network sees it; None for a damaged one.

        Raises:
            UserError: if the file is not what it was.
        """
        key, place = source
        content = place if isinstance(place, bytes) else _content(place)
        if sha256(content).digest() != key:
            raise UserError(
                f"{place if isinstance(place, Path) else 'a picture'} was changed while it was read; repeat"
            )
        try:
            return self.preprocess(read_picture(BytesIO(content)))
        except Exception:  # Pillow's decoders raise whatever a damaged file makes them
            return None


def _key(path: Path | None) -> bytes | None:
    """A hash of what is in the file of a picture; None if there is none."""
    return sha256(_content(path)).digest() if path is not None and path.is_file() else None


def _content(path: Path | None) -> bytes:
    """What is in the file of a picture; nothing, as of a damaged one, if it cannot be read."""
    try:
        return path.read_bytes() if path is not None else b""
    except OSError:
        return b""


def _load(model: str, weights: Path | None) -> tuple[Any, Callable[[Any], Tensor], dict[str, str]]:
    """A network without its last layer, what prepares a picture for it, and what the card says."""
    import torchvision

    published = torchvision.models.get_model_weights(model).IMAGENET1K_V1
    layer, cut = _CUT[model]
    with torch.device("meta"):  # no parameters are drawn: they are those of the file
        network = torchvision.models.get_model(model, weights=None)
    if weights is None:
        try:
            state, digest = published.get_state_dict(check_hash=True), published.url.rpartition("/")[2]
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"cannot download the weights of {model}; get {published.url} by hand and name it with --weights, "
                f"or give --image_model none for no picture vectors"
            ) from error
    else:
        state, digest = _read_weights(weights), f"SHA-256 {sha256_of(weights)}"
    try:
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        message = f"{weights} does not hold the weights of torchvision's {model}; name another --weights"
        raise UserError(message) from error
    cut(network)
    return network, published.transforms(), {"model": f"{model}, {layer}", "weights": digest}


def _read_weights(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; name the one of the weights with --weights") from error
    except Exception as error:  # unpickling junk raises errors of every kind
        raise UserError(f"{path} is damaged, or not a file of weights that is safe to read") from error

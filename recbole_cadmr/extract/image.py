"""Pictures to vectors, by a network of torchvision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from recbole_cadmr.extract.shards import ABSENT, DAMAGED, PRESENT, SHARD, Extracted, in_shards
from recbole_cadmr.files import sha256_of

# fc7 is the output of the second fully connected layer behind its ReLU: all but the last layer of the classifier.
_CUT: dict[str, tuple[str, Callable[[Any], None]]] = {
    "alexnet": ("fc7", lambda network: network.classifier.__delitem__(6)),
    "vgg16": ("fc7", lambda network: network.classifier.__delitem__(slice(5, 7))),
    "resnet50": ("pooled", lambda network: setattr(network, "fc", nn.Identity())),
    "vit_b_16": ("class token", lambda network: setattr(network, "heads", nn.Identity())),
}
_READERS = 2  # threads that decode while the network computes


def extract_images(
    paths: Sequence[Path | None],
    store: Path,
    *,
    model: str = "vgg16",
    weights: Path | None = None,
    dtype: str = "float32",
    batch_size: int = 32,
    device: str | None = None,
    over: Over = here,
) -> Extracted:
    """Vectors of pictures: ``fc7`` of AlexNet and VGG16 (4,096-D), the last layer but one of ResNet-50 and ViT-B/16.

    A missing picture (None, or no such file) and a damaged one get no vector.

    Args:
        store: folder of the shards, from which a killed run resumes.
        weights: a torchvision state dict; torchvision's own download if not given.
        device: such as ``cuda:0``; a GPU if there is one.
        over: who computes the shards.

    Raises:
        UserError: if the weights cannot be had or do not fit.
    """
    network, preprocess, card = _load(model, weights)
    network = network.eval().float()
    with torch.inference_mode():
        width = network(torch.zeros(1, 3, 224, 224)).shape[1]
    compute = _See(network, preprocess, width, batch_size, device)

    def read(part: slice) -> list[_Source]:
        return [path if over is here else _content(path) for path in paths[part]]

    key = {**card, "pictures": _digest(paths), "seen": "as a viewer shows them"}
    size = min(SHARD, 8 * batch_size)  # minutes of work on a CPU, not an hour
    how: dict[str, Any] = {"key": key, "card": card, "dtype": dtype, "label": "pictures", "size": size}
    return in_shards(store, len(paths), width, compute, read=read, over=over, **how)


# A picture where it lies, or, for another machine, what is in the file; None for none.
_Source = Path | bytes | None


@dataclass(frozen=True)
class _See:
    """Pictures to vectors, on this machine or on another one that has not got their files."""

    network: Any
    preprocess: Callable[[Any], Tensor]
    width: int
    batch_size: int
    device: str | None

    def __call__(self, sources: Sequence[_Source]) -> tuple[np.ndarray, np.ndarray]:
        place = place_of(self.device)
        network = self.network.to(place)
        vectors, state = np.zeros((len(sources), self.width), dtype=np.float32), np.full(len(sources), PRESENT)
        with ThreadPoolExecutor(_READERS) as pool, torch.inference_mode():
            for start in range(0, len(sources), self.batch_size):
                pictures = list(pool.map(self._read, sources[start : start + self.batch_size]))
                read = {start + i: picture for i, picture in enumerate(pictures) if isinstance(picture, Tensor)}
                state[start : start + len(pictures)] = [PRESENT if isinstance(x, Tensor) else x for x in pictures]
                if read:
                    vectors[list(read)] = network(torch.stack(list(read.values())).to(place)).float().cpu().numpy()
        return vectors, state

    def _read(self, source: _Source) -> Tensor | int:
        """The picture as the network sees it, or why there is none."""
        if source is None or (isinstance(source, Path) and not source.is_file()):
            return ABSENT
        try:
            return self.preprocess(read_picture(BytesIO(source) if isinstance(source, bytes) else source))
        except Exception:  # Pillow's decoders raise whatever a damaged file makes them
            return DAMAGED


def _content(path: Path | None) -> bytes | None:
    """What is in the file of a picture; nothing, as of a damaged one, if it cannot be read."""
    if path is None or not path.is_file():
        return None
    try:
        return path.read_bytes()
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


def _digest(paths: Sequence[Path | None]) -> str:
    """Identifies these pictures: a hash of their names, sizes and times of modification."""
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat() if path and path.is_file() else None
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode() if path and stat else b"-\n")
    return digest.hexdigest()

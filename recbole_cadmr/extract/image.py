"""Pictures to vectors, by a network of torchvision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cadmr.errors import UserError
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
) -> Extracted:
    """Vectors of pictures: ``fc7`` of AlexNet and VGG16 (4,096-D), the last layer but one of ResNet-50 and ViT-B/16.

    A missing picture (None, or no such file) and a damaged one get no vector.

    Args:
        store: folder of the shards, from which a killed run resumes.
        weights: a torchvision state dict; torchvision's own download if not given.
        device: such as ``cuda:0``; a GPU if there is one.

    Raises:
        UserError: if the weights cannot be had or do not fit.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network, preprocess, card = _load(model, weights)
    network = network.eval().float().to(place)
    with torch.inference_mode():
        width = network(torch.zeros(1, 3, 224, 224, device=place)).shape[1]

    def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
        here = paths[part]
        vectors, state = np.zeros((len(here), width), dtype=np.float32), np.full(len(here), PRESENT)
        with ThreadPoolExecutor(_READERS) as pool, torch.inference_mode():
            for start in range(0, len(here), batch_size):
                pictures = list(pool.map(lambda path: _read(path, preprocess), here[start : start + batch_size]))
                read = {start + i: picture for i, picture in enumerate(pictures) if isinstance(picture, Tensor)}
                state[start : start + len(pictures)] = [PRESENT if isinstance(x, Tensor) else x for x in pictures]
                if read:
                    vectors[list(read)] = network(torch.stack(list(read.values())).to(place)).float().cpu().numpy()
        return vectors, state

    key = {**card, "pictures": _digest(paths), "seen": "as a viewer shows them"}
    size = min(SHARD, 8 * batch_size)  # minutes of work on a CPU, not an hour
    return in_shards(store, len(paths), width, compute, key=key, card=card, dtype=dtype, label="pictures", size=size)


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


def _read(path: Path | None, preprocess: Callable[[Any], Tensor]) -> Tensor | int:
    """The picture as the network sees it, or why there is none."""
    if path is None or not path.is_file():
        return ABSENT
    try:
        return preprocess(read_picture(path))
    except Exception:  # Pillow's decoders raise whatever a damaged file makes them
        return DAMAGED


def _digest(paths: Sequence[Path | None]) -> str:
    """Identifies these pictures: a hash of their names, sizes and times of modification."""
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat() if path and path.is_file() else None
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode() if path and stat else b"-\n")
    return digest.hexdigest()

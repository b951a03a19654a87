"""Pictures to vectors, by a network of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.by_file import TOGETHER, Network, extract_files
from recbole_cadmr.extract.kept import kept_or_loaded
from recbole_cadmr.extract.picture import read_picture
from recbole_cadmr.extract.reach import is_reachable
from recbole_cadmr.extract.shards import Extracted
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.files import sha256_of

# fc7 is the output of the second fully connected layer behind its ReLU: all but the last layer of the classifier.
_CUT: dict[str, tuple[str, Callable[[Any], None]]] = {
    "alexnet": ("fc7", lambda network: network.classifier.__delitem__(6)),
    "vgg16": ("fc7", lambda network: network.classifier.__delitem__(slice(5, 7))),
    "resnet50": ("pooled", lambda network: setattr(network, "fc", nn.Identity())),
    "vit_b_16": ("class token", lambda network: setattr(network, "heads", nn.Identity())),
}


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
    network = kept_or_loaded("image", model, weights, lambda: _network(*_load(model, weights)))
    return extract_files(paths, work, network, "pictures", dtype=dtype, device=device, over=over, cache=cache)


def _network(module: Any, preprocess: Callable[[Any], Tensor], card: dict[str, str]) -> Network:
    module = module.eval().float()
    with torch.inference_mode():
        width = module(torch.zeros(1, 3, 224, 224)).shape[1]
    identity = {
        "preprocessing": repr(preprocess),
        "seen": f"as a viewer shows them, {TOGETHER} at once",
        **{package: version(package) for package in ("torch", "torchvision", "pillow")},
    }
    return Network(module, _Read(preprocess), width, card, identity)


@dataclass(frozen=True)
class _Read:
    """A picture as the network sees it."""

    preprocess: Callable[[Any], Tensor]

    def __call__(self, content: bytes) -> list[Tensor]:
        return [self.preprocess(read_picture(BytesIO(content)))]


def _load(model: str, weights: Path | None) -> tuple[Any, Callable[[Any], Tensor], dict[str, str]]:
    """A network without its last layer, what prepares a picture for it, and what the card says."""
    import torchvision

    published = torchvision.models.get_model_weights(model).IMAGENET1K_V1
    layer, cut = _CUT[model]
    with torch.device("meta"):  # no parameters are drawn: they are those of the file
        network = torchvision.models.get_model(model, weights=None)
    if weights is None:
        digest, cache = published.url.rpartition("/")[2], Path(torch.hub.get_dir(), "checkpoints")
        try:
            if not (cache / digest).is_file() and not is_reachable(published.url):
                raise OSError("no connection to the server")
            state = published.get_state_dict(check_hash=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"cannot download the weights of {model}; get {published.url} by hand and put it into {cache}, name it "
                f"with --weights, or give --image_model none for no picture vectors"
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

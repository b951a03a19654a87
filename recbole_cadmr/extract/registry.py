"""What makes vectors of texts, pictures and sounds: each way once, found by what it reads and by the model.

A further way is a module that gives ``extract_...(inputs, work, ...) -> Extracted``, and a line in ``EXTRACTORS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    from recbole_cadmr.extract.shards import Extracted

Kind = Literal["text", "image", "audio"]
NETWORKS = ("alexnet", "vgg16", "resnet50", "vit_b_16")  # of torchvision


@dataclass(frozen=True)
class Extractor:
    """A way to make vectors.

    Attributes:
        kind: what it reads.
        function: where it is, ``module:function``; imported when it is called, as torch is heavy.
        model: the name of its argument for the model.
        takes: which other arguments it takes, beside those that all do.
    """

    kind: Kind
    function: str
    model: str
    takes: tuple[str, ...] = ()


EXTRACTORS = {
    "sentence-transformers": Extractor("text", "text:extract_text", "model", ("batch_size",)),
    "torchvision": Extractor("image", "image:extract_images", "model", ("weights",)),
    "hf-image": Extractor("image", "hf_image:extract_hf_images", "folder"),
    "hf-audio": Extractor("audio", "hf_audio:extract_hf_audio", "folder"),
}


def extractor_of(kind: Kind, model: str) -> str:
    """The name of the extractor that reads this kind by ``model``: a name, or the folder of a model."""
    if kind == "image":
        return "torchvision" if model in NETWORKS else "hf-image"
    return next(name for name, extractor in EXTRACTORS.items() if extractor.kind == kind)


def kind_of(model: str) -> Kind:
    """What the image or audio model ``model`` reads: a network of torchvision, or the folder of one of transformers.

    Raises:
        UserError: if it is neither.
    """
    if model in NETWORKS:
        return "image"
    if not Path(model).is_dir():
        raise UserError(f"there is no folder {model}, and torchvision's networks here are {', '.join(NETWORKS)}")
    from recbole_cadmr.extract.hf_folder import kind_of_folder

    return kind_of_folder(Path(model))


def extract(
    kind: Kind,
    inputs: Sequence[Any],
    work: Path,
    model: str,
    **how: Any,
) -> Extracted:
    """Vectors of ``inputs``, texts or the files of pictures or sounds.

    Args:
        work: folder of the result.
        model: a name, or a folder.
        how: ``dtype``, ``device``, ``over`` and ``cache``, as all extractors take them; and what some do, such as
            ``weights``, which is left out for the others.

    Raises:
        UserError: if the model cannot be had.
    """
    extractor = EXTRACTORS[extractor_of(kind, model)]
    module, _, name = extractor.function.partition(":")
    function: Callable[..., Extracted] = getattr(import_module(f"recbole_cadmr.extract.{module}"), name)
    named = {extractor.model: Path(model) if extractor.model == "folder" else model}
    others = {key for other in EXTRACTORS.values() for key in other.takes} - {*extractor.takes}
    return function(inputs, work, **named, **{key: value for key, value in how.items() if key not in others})


def refuse_inert(kind: Kind, model: str, given: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if an option is given that the extractor of ``model`` does not take."""
    name = extractor_of(kind, model)
    for option, value in given.items():
        if value is not None and option not in EXTRACTORS[name].takes:
            raise UserError(f"--{option} has no effect on {model}, a model of another kind; leave it out")

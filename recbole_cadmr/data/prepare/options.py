"""The options that all sources of raw data share: each is declared once, as a field of :class:`Options`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from recbole_cadmr.arguments import not_negative, real, seed, whole_number
from recbole_cadmr.blocks import Over, here
from recbole_cadmr.data.prepare.split import SPLITS
from recbole_cadmr.data.times import FORMATS
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.registry import NETWORKS, kind_of, refuse_inert
from recbole_cadmr.extract.vector_store import USUAL

NONE = "none"
_DEFAULT = "(default: %(default)s)"
_READS_PICTURES = f"torchvision network ({', '.join(NETWORKS)}) or folder of an image model of transformers, or {NONE}"
_FORMATS = f"{', '.join(FORMATS)}, or such as %%d.%%m.%%Y (default: detected)"
_MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def _told(summary: str, **how: Any) -> dict[str, Any]:
    """What argparse is told about an option beside its name and default."""
    return {"help": summary, **how}


@dataclass(frozen=True)
class Options:
    """How raw data become a data set."""

    name: Annotated[str, _told("name of the data set (default: that of the source)")]
    data_path: Annotated[Path, _told(f"folder of the data sets {_DEFAULT}", type=Path)] = Path("dataset")
    k_core: Annotated[int, _told(f"minimum interactions of every user and item {_DEFAULT}", type=whole_number(1))] = 5
    split: Annotated[str, _told(f"how to hold out {_DEFAULT}", choices=SPLITS)] = "random"
    seed: Annotated[int, _told(f"of the split {_DEFAULT}", type=seed)] = 2020
    text_model: Annotated[str, _told(f"sentence-transformers model or folder, or {NONE} {_DEFAULT}")] = _MINILM
    image_model: Annotated[str, _told(f"{_READS_PICTURES} {_DEFAULT}")] = "vgg16"
    weights: Annotated[Path | None, _told("its weights (default: torchvision's)", type=Path, metavar="FILE")] = None
    dtype: Annotated[str, _told(f"of the vectors {_DEFAULT}", choices=("float16", "float32"))] = "float32"
    batch_size: Annotated[int, _told(f"texts encoded at once {_DEFAULT}", type=whole_number(1))] = 64
    device: Annotated[str | None, _told("such as cpu or cuda:0 (default: a GPU if there is one)")] = None
    vector_cache: Annotated[
        float,
        _told(f"GiB of vectors kept for the next prepare, 0 for none {_DEFAULT}", type=not_negative, metavar="GIB"),
    ] = USUAL
    graph: Annotated[
        int,
        _told(f"also write K nearest items of each, 0 for none {_DEFAULT}", type=whole_number(), metavar="K"),
    ] = 0
    keep_new_items: Annotated[
        bool, _told("keep products of the source that have content and no interaction", action="store_true")
    ] = False
    min_rating: Annotated[float | None, _told("leave out interactions rated lower (default: keep all)", type=real)] = (
        None
    )
    time_format: Annotated[str | None, _told(f"how times are written: {_FORMATS}", metavar="FORMAT")] = None
    strict: Annotated[bool, _told("stop at the first malformed line, do not skip it", action="store_true")] = False
    over: Over = here  # who encodes; no option, but a program's choice

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.name.startswith(".") or not self.name.strip():
            raise UserError(f"a data set is named by one word such as 'baby', not {self.name!r}")
        if self.weights and self.image_model == NONE:
            raise UserError("--weights belongs to an image model, and --image_model is none")
        if self.image_model not in (*NETWORKS, NONE):
            if kind_of(self.image_model) != "image":
                raise UserError(f"--image_model {self.image_model} reads no pictures; name the folder of another model")
            refuse_inert("image", self.image_model, {"weights": self.weights})
        if self.weights and not self.weights.is_file():  # said before the texts are encoded, which may take hours
            raise UserError(f"there is no file {self.weights}; name the one of the weights with --weights")
        if self.over is not here and self.text_model == self.image_model == NONE:
            raise UserError("--ray-address is for encoding, and both --text_model and --image_model are none")

    @property
    def folder(self) -> Path:
        """The folder of the data set."""
        return Path(self.data_path) / self.name


def add_options(parser: argparse.ArgumentParser, only: Collection[str] = (), **defaults: Any) -> None:
    """Declare the shared options, or some of them only; ``defaults`` are the source's own."""
    told = get_type_hints(Options, include_extras=True)
    parser.set_defaults(encodes=not only or "device" in only)
    for option in fields(Options):
        if option.name != "over" and (not only or option.name in only):
            default = defaults.get(option.name, None if option.name == "name" else option.default)
            parser.add_argument(f"--{option.name}", default=default, **told[option.name].__metadata__[0])


def read_options(arguments: argparse.Namespace, name: str) -> Options:
    """The options of a command; ``name`` names the data set by default."""
    given = {option.name: getattr(arguments, option.name) for option in fields(Options) if option.name in arguments}
    return Options(**given | {"name": arguments.name or name})

"""The options that all sources of raw data share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from recbole_cadmr.arguments import real, seed, whole_number
from recbole_cadmr.data.prepare.split import SPLITS
from recbole_cadmr.data.times import FORMATS
from recbole_cadmr.errors import UserError

TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
IMAGE_MODEL = "vgg16"
NONE = "none"


@dataclass(frozen=True)
class Options:
    """How raw data become a data set; the fields are the options of the same names."""

    name: str
    data_path: Path = Path("dataset")
    k_core: int = 5
    split: str = "random"
    seed: int = 2020
    text_model: str = TEXT_MODEL
    image_model: str = IMAGE_MODEL
    weights: Path | None = None
    dtype: str = "float32"
    batch_size: int = 64
    device: str | None = None
    graph: int = 0
    strict: bool = False
    min_rating: float | None = None
    time_format: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.weights and self.image_model == NONE:
            raise UserError("--weights belongs to an image model, and --image_model is none")

    @property
    def folder(self) -> Path:
        """The folder of the data set."""
        return Path(self.data_path) / self.name


def check_name(name: str) -> None:
    """Raise :class:`UserError` for a name that would not be a visible folder in that of the data sets."""
    if Path(name).name != name or name.startswith(".") or not name.strip():
        raise UserError(f"a data set is named by one word such as 'baby', not {name!r}")


def add_options(parser: argparse.ArgumentParser, split: str = "random", k_core: int = 5) -> None:
    """Declare the shared options; ``split`` and ``k_core`` are the source's defaults."""
    add, count = parser.add_argument, whole_number(1)
    add("--name", help="name of the data set (default: that of the source)")
    add("--data_path", default=Path("dataset"), type=Path, help="folder of the data sets (default: dataset)")
    add(
        "--k_core",
        default=k_core,
        type=count,
        help="minimum interactions of every user and item (default: %(default)s)",
    )
    add("--split", default=split, choices=SPLITS, help="how to hold out (default: %(default)s)")
    add("--seed", default=2020, type=seed, help="of the split (default: %(default)s)")
    add(
        "--text_model", default=TEXT_MODEL, help="sentence-transformers model or folder, or none (default: %(default)s)"
    )
    add(
        "--image_model",
        default=IMAGE_MODEL,
        choices=("alexnet", "vgg16", "resnet50", "vit_b_16", NONE),
        help="torchvision network that reads pictures (default: %(default)s)",
    )
    add("--weights", type=Path, metavar="FILE", help="its weights (default: downloaded by torchvision)")
    add("--dtype", default="float32", choices=("float16", "float32"), help="of the vectors (default: %(default)s)")
    add("--batch_size", default=64, type=count, help="texts or pictures encoded at once (default: %(default)s)")
    add("--device", help="such as cpu or cuda:0 (default: a GPU if there is one)")
    add(
        "--graph",
        default=0,
        type=whole_number(),
        metavar="K",
        help="also write each modality's K nearest items (default: 0, none)",
    )
    add("--min_rating", type=real, help="leave out interactions rated lower (default: keep all)")
    add(
        "--time_format",
        metavar="FORMAT",
        help=f"how times are written: {', '.join(FORMATS)}, or such as %%d.%%m.%%Y (default: detected)",
    )
    add("--strict", action="store_true", help="stop at the first malformed line instead of skipping it")


def read_options(arguments: argparse.Namespace, name: str) -> Options:
    """The options of a command; ``name`` names the data set by default."""
    shared = {field: getattr(arguments, field) for field in Options.__dataclass_fields__ if field != "name"}
    return Options(name=arguments.name or name, **shared)

"""A model of Hugging Face's transformers in a folder: opened without a network, foreign code or pickles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.places import FILES_HASH
from recbole_cadmr.files import sha256_of_all
from recbole_cadmr.schema import read_json

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_DESCRIBING = ("config.json", "preprocessor_config.json", "processor_config.json")
# Parameters that a checkpoint may lack: of layers that are not read, or that work in training alone.
_UNREAD = ("pooler.", "masked_spec_embed", "mask_token", "logit_")


class _Config(msgspec.Struct):
    """What is read of ``config.json`` here."""

    model_type: str = ""
    auto_map: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """A model and what prepares its inputs.

    Attributes:
        processor: an image processor or a feature extractor of transformers.
        has_pooler: whether the folder holds all weights of what pools.
        card: what the card of a data set says of it.
        identity: what else its vectors depend on.
    """

    model: Any
    processor: Any
    has_pooler: bool
    card: Mapping[str, str]
    identity: Mapping[str, str]


def kind_of_folder(folder: Path) -> Literal["image", "audio"]:
    """What the model in a folder reads.

    Raises:
        UserError: if there is no model, or one that reads something else.
    """
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    name = _config(folder).model_type
    family = name.removesuffix("_vision_model").removesuffix("_audio_model")
    reads_pictures, reads_sounds = family in IMAGE_PROCESSOR_MAPPING_NAMES, family in FEATURE_EXTRACTOR_MAPPING_NAMES
    if reads_pictures == reads_sounds:
        raise UserError(
            f"the model in {folder} ({name or 'of no known type'}) is neither an image nor an audio model of "
            f"transformers {version('transformers')}; name the folder of another one"
        )
    return "image" if reads_pictures else "audio"


def open_folder(folder: Path, kind: Literal["image", "audio"]) -> Opened:
    """The model in ``folder``, as its ``save_pretrained`` wrote it, and what prepares pictures or sounds for it.

    Raises:
        UserError: if it is missing, is no such model, has weights in pickles alone, needs code of its own, or lacks
            weights.
    """
    import transformers

    if kind_of_folder(folder) != kind:
        raise UserError(f"the model in {folder} does not read {'pictures' if kind == 'image' else 'sounds'}")
    weights = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise UserError(
            f"{folder} holds no model.safetensors: other files of weights are pickles, which may run code and are not "
            f"read; save the model there by save_pretrained('DIR', safe_serialization=True)"
        )
    how: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    load = transformers.AutoImageProcessor if kind == "image" else transformers.AutoFeatureExtractor
    try:
        with quiet():
            processor = load.from_pretrained(str(folder), **how)
            # The attention is named, since a folder may name one that transformers would fetch from its hub.
            how |= {"use_safetensors": True, "output_loading_info": True, "attn_implementation": "eager"}
            model, found = transformers.AutoModel.from_pretrained(str(folder), **how)
    except Exception as error:  # transformers, safetensors, the file system and torch each have errors of their own
        code = ": it has code of its own, which is not run" if _config(folder).auto_map else ""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"cannot load the {kind} model in {folder}{code or f': {reason}'}; name another one") from error
    lacking = [*map(str, found["missing_keys"]), *map(str, found.get("mismatched_keys", ()))]
    unread = [name for name in lacking if any(part in name for part in _UNREAD)]
    if len(unread) < len(lacking):
        first = next(name for name in lacking if name not in unread)
        raise UserError(f"{folder} lacks weights of its {type(model).__name__}, the first is {first}; copy it again")
    described = [folder / name for name in _DESCRIBING if (folder / name).is_file()]
    digest = sha256_of_all([*described, *sorted(folder.glob("*.safetensors"))])
    model.eval().float()
    identity = {"class": type(model).__name__, "processor": type(processor).__name__}
    identity |= _versions("torch", "transformers", "torchvision" if kind == "image" else "torchaudio")
    card = {"model": folder.resolve().name, FILES_HASH: digest}
    return Opened(model, processor, not any("pooler." in name for name in unread), card, identity)


class Vectors(nn.Module):
    """Batches of inputs to vectors [n, width]: the first of these that the model has, as :attr:`taken` says.

    - the vector of a model of two kinds of inputs, in the space that they share (CLIP, SigLIP, CLAP);
    - the pooled output, if the folder has the weights of what pools;
    - of pictures the class token, or else the mean of the patches; of sounds the mean over time.
    """

    def __init__(self, opened: Opened, kind: Literal["image", "audio"]) -> None:
        super().__init__()
        model = opened.model
        shared = getattr(model, f"get_{kind}_features", None)
        if shared is None and getattr(model.config, "is_encoder_decoder", False):
            model = model.get_encoder()  # of speech to text
        self.model = model
        self._call, self._shared = (shared or model), shared is not None
        self._kind, self._has_pooler = kind, opened.has_pooler
        self._input = next(name for name in opened.processor.model_input_names if name != "attention_mask")
        self._has_flag = "is_longer" in opened.processor.model_input_names  # of CLAP: parts of a longer recording
        self._has_class_token = any(
            name.rpartition(".")[2] in ("cls_token", "class_token", "class_embedding", "cls_embedding")
            for name, _ in model.named_parameters()
        )
        self.taken = ""

    def forward(self, inputs: Tensor) -> Tensor:
        """Vectors of ``inputs``, as the processor gives them."""
        more = {"is_longer": torch.zeros(len(inputs), 1, dtype=torch.bool)} if self._has_flag else {}
        output = self._call(**{self._input: inputs}, **more)
        if self._shared:
            self.taken = "in the space of texts"
            return output if isinstance(output, Tensor) else output.pooler_output
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None and self._has_pooler:
            self.taken = "pooled output"
            return pooled.flatten(1)
        states = output.last_hidden_state
        if self._kind == "audio":
            self.taken = "mean over time"
            return states.mean(1)
        if states.ndim == 3 and self._has_class_token:
            self.taken = "class token"
            return states[:, 0]
        self.taken = "mean of the patches"
        return states.mean(1) if states.ndim == 3 else states.flatten(2).mean(2)


def probed(vectors: Vectors, sample: Callable[[], Tensor], n: int, folder: Path) -> int:
    """The width of a vector, from two passes of ``n`` times ``sample``.

    Raises:
        UserError: if the model cannot be asked in this way, gives no vectors, or other ones at each pass.
    """
    try:
        inputs = torch.stack([sample()] * n)
        passes = []
        for seed in (0, 1):
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(seed)
                passes.append(vectors(inputs))
    except Exception as error:  # of whatever the model's forward does not like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"the model in {folder} makes no vectors here: {reason}; name another one") from error
    if passes[0].ndim != 2:
        raise UserError(f"the model in {folder} gives no single vector of an input; name another one")
    if not torch.equal(*passes):
        raise UserError(
            f"the model in {folder} ({type(vectors.model).__name__}) gives other vectors at each pass, as it masks at "
            f"random; name another one"
        )
    return passes[0].shape[1]


def _config(folder: Path) -> _Config:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the one of the model")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json, so that it is no model of transformers; name another folder")
    return read_json(folder / "config.json", _Config)


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers say nothing of weights that it reads, or does not: what matters of that is said by us."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found

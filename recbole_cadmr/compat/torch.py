"""Operators that torchvision lacks on some builds of torch, and a switch of torch's that RecBole turns on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# A Library takes its declarations back when it is collected.
_libraries: list[torch.library.Library] = []


def declare_torchvision_operators() -> bool:
    """Declare ``torchvision::nms`` and ``qnms`` where a CPU build of torch cannot load torchvision's own.

    The published Linux wheel links CUDA libraries. Without its operators ``import torchvision`` fails, and with it
    ``import sentence_transformers``: https://github.com/pytorch/vision/issues/9085. Models and transforms do not
    need the operators; calling one still fails, as it must.
    """
    import torch

    if torch.version.cuda is not None or _has_torchvision_operators():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    return True


def _has_torchvision_operators() -> bool:
    """Whether the operators are there, can be loaded, or torchvision is not installed.

    Loads the compiled library itself, as ``import torchvision`` would (and then finds it loaded): whoever declares
    an operator that torchvision registers later makes torchvision fail.
    """
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return True
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.origin:
        return True
    for suffix in EXTENSION_SUFFIXES:
        with suppress(OSError):  # there is no such file, or it does not fit
            torch.ops.load_library(str(Path(package.origin).with_name(f"_C{suffix}")))
            return True
    return False


@contextmanager
def anomaly_detection_kept() -> Iterator[None]:
    """Leave torch's anomaly detection as it is while models of RecBole's are imported.

    Its ``sine.py``, which comes with every model of sequences, turns it on for the whole process: each step of any
    training then looks for NaN in every gradient.
    """
    import torch

    before = torch.is_anomaly_enabled()
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(before)

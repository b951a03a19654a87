"""What a run's checkpoints and its result hold, as types that are checked when they are read back.

They say which entries a file must have; entries that are not named here are passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import torch
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**62)]
Epoch = Annotated[int, Meta(ge=-1, le=2**31)]  # -1: the start of a training without pre-training
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
ModelName = Annotated[str, Meta(pattern=r"^[^\W\d]\w*$", max_length=200)]
DatasetName = Annotated[str, Meta(pattern=r"^[^./\\\0][^/\\\0]*$", max_length=200)]  # the name of a folder


class Counts(TypedDict):
    """Users, items, and interactions of the three parts."""

    users: Count
    items: Count
    interactions: Annotated[list[Count], Meta(min_length=3, max_length=3)]


class Fingerprint(TypedDict):
    """Of the data that a run was trained on."""

    id_maps: str
    interactions: str
    sha256: str
    counts: Counts


class Validation(TypedDict):
    """An entry of a run's history; a figure that is no finite number is None in JSON."""

    epoch: Epoch
    phase: str
    losses: dict[str, float | None]
    valid_score: float | None
    valid_result: dict[str, float | None]
    seconds: Seconds


class DiagnosedValidation(Validation, total=False):
    """The same with what the model says of itself."""

    diagnostics: dict[str, float | None]


class _RunContent(TypedDict):
    model: ModelName
    dataset: DatasetName
    fingerprint: Fingerprint
    settings: dict[str, Any]
    changed: dict[str, Any]
    state_dict: dict[str, torch.Tensor]
    other_parameter: dict[str, Any] | None
    attributes: dict[str, Any]


class RunContent(_RunContent, total=False):
    """Content of ``model.pt``; ``id`` is the run's, which files of earlier versions lack."""

    id: str
    epoch: Epoch
    phase: str
    best_valid_score: float
    versions: dict[str, str]


class RandomState(TypedDict):
    """States of the random generators."""

    python: tuple[int, list[int], float | None]
    numpy: list[Any]
    torch: torch.Tensor
    cuda: list[torch.Tensor]


class TrainerState(TypedDict):
    """What a trainer counts and remembers from epoch to epoch."""

    cur_step: Count
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    train_loss_dict: dict[int, Any]
    history: list[DiagnosedValidation]
    seconds: dict[str, Seconds]
    evaluations: Count
    epochs: Count
    _first_epoch: Epoch
    _losses: dict[str, float]


class OptimizerState(TypedDict):
    """What torch's optimisers keep: by place of a parameter, and by group."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class _ResumeContent(_RunContent):
    epoch: Count
    phase: str
    optimizers: dict[str, OptimizerState]
    random: RandomState
    loader: torch.Tensor
    trainer: TrainerState


class ResumeContent(_ResumeContent, total=False):
    """Content of ``resume.pt``."""

    id: str
    versions: dict[str, str]

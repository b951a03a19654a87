"""What a run's checkpoints and its result hold, as types that are checked when they are read back.

They say which entries a file must have; entries that are not named here are passed over.
"""

# Without the import of annotations from the future, under which NotRequired would not be seen when a class is made.

from typing import Annotated, Any

import numpy as np
import torch
from msgspec import Meta
from typing_extensions import NotRequired, TypedDict

Count = Annotated[int, Meta(ge=0, le=2**62)]
Epoch = Annotated[int, Meta(ge=-1, le=2**31)]  # -1: the start of a training without pre-training
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
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


class Final(TypedDict):
    """Of a run that is trained on all interactions, the held-out ones among them: whose settings it has.

    Attributes:
        run: the ``id`` of that run; None if it is of an earlier version, which gave none.
        checkpoint_sha256: of its ``model.pt``.
        data: the fingerprint of its data, split as it trained on them.
        epochs: how many it trains, by phase.
    """

    run: str | None
    checkpoint_sha256: str
    data: Fingerprint
    epochs: dict[str, Count]


class OwnModel(TypedDict):
    """What is kept of a class of the user's own, which no file is imported from.

    Attributes:
        reference: how it was named, without folders.
        sha256: of its source; None if there was none to be had.
        multimodal, deterministic: its traits.
    """

    reference: Annotated[str, Meta(max_length=500)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None
    multimodal: bool
    deterministic: bool


class Validation(TypedDict):
    """A validation: an entry of a run's history. What is NaN or infinite is None when read back.

    Attributes:
        losses: mean losses of a batch in the epoch, by name.
        diagnostics: what the model says about itself.
        seconds: of training and evaluation up to here.
    """

    epoch: Epoch
    phase: str
    losses: dict[str, float | None]
    valid_score: float | None
    valid_result: dict[str, float | None]
    seconds: Seconds
    diagnostics: NotRequired[dict[str, float | None]]


class _Checkpoint(TypedDict):
    """What both checkpoints of a run hold; files of earlier versions lack the ``id`` of the run.

    Attributes:
        final: of a run that is trained on all interactions.
        own_model: of a run of a class of the user's own.
        before_schedule: what settings were before ``settings_schedule`` changed them.
        changed_when_resumed: names of the settings that were changed otherwise in the course of training.
    """

    id: NotRequired[str]
    final: NotRequired[Final]
    own_model: NotRequired[OwnModel]
    before_schedule: NotRequired[dict[str, Any]]
    changed_when_resumed: NotRequired[list[str]]
    model: ModelName
    dataset: DatasetName
    fingerprint: Fingerprint
    settings: dict[str, Any]
    changed: dict[str, Any]
    versions: NotRequired[dict[str, str]]
    state_dict: dict[str, torch.Tensor]
    other_parameter: dict[str, Any] | None
    attributes: dict[str, Any]


class RunContent(_Checkpoint):
    """Content of ``model.pt``."""

    epoch: NotRequired[Epoch]
    phase: NotRequired[str]
    best_valid_score: NotRequired[float]


class RandomState(TypedDict):
    """States of the random generators."""

    python: tuple[int, list[int], float | None]
    numpy: list[Any]
    torch: torch.Tensor
    cuda: list[torch.Tensor]


class CpuSeconds(TypedDict):
    """Seconds of processors: of the process, all its threads together, and of processes on this machine it started."""

    process: Seconds
    children: Seconds


class Energy(TypedDict):
    """What a run took by codecarbon's estimate: kWh of processors, GPUs, memory and all together (``kwh``).

    Attributes:
        kg_co2: by the mix of power of ``country``, three letters of ISO 3166; None if none was given.
        source: codecarbon and its version.
    """

    kwh: Amount
    cpu_kwh: Amount
    gpu_kwh: Amount
    memory_kwh: Amount
    kg_co2: Amount | None
    country: str | None
    source: str


class TrainerState(TypedDict):
    """What a trainer counts and remembers from epoch to epoch.

    Attributes:
        n_validations: how many lines of ``history.jsonl`` are of the epochs before; earlier versions kept these
            validations here, in ``history``.
        history_hash: of these lines.
    """

    cur_step: Count
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    train_loss_dict: dict[int, Any]
    n_validations: NotRequired[Count]
    history_hash: NotRequired[str]
    history: NotRequired[list[Validation]]
    seconds: dict[str, Seconds]
    cpu_seconds: NotRequired[CpuSeconds]
    energy: NotRequired[Energy | None]
    evaluations: Count
    epochs: Count
    _first_epoch: Epoch
    _losses: dict[str, float]


class OptimizerState(TypedDict):
    """What torch's optimisers keep: by place of a parameter, and by group."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class SearchPart(TypedDict):
    """What a part of a closed form's search came to."""

    settings: dict[str, Any]
    metrics: np.ndarray
    tried: Count


class SearchRecord(TypedDict):
    """Content of ``closed_form.pt``: what the search of a closed form for its settings has come to, by part."""

    parts: dict[str, SearchPart]


class ResumeContent(_Checkpoint):
    """Content of ``resume.pt``."""

    epoch: Count
    phase: str
    optimizers: dict[str, OptimizerState]
    random: RandomState
    loader: torch.Tensor
    trainer: TrainerState

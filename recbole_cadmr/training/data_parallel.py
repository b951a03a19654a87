"""Training that several processes share: in step, batch by batch, with one result and one set of files.

The first process trains as it would alone. The others follow it: they have its state at the start of a training and of
every epoch, compute their part of each batch and of each evaluation, and write nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.model.loss import EmbLoss
from torch import Tensor

from recbole_cadmr.data.loaders import FullRankingLoader
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.shared_batch import (
    agreed,
    gathered,
    gathered_values,
    n_processes,
    rank,
    rows_of_batch,
    share,
    shared_loss,
    sharing,
)
from recbole_cadmr.models.contract import training_hooks
from recbole_cadmr.models.own import source_of
from recbole_cadmr.training.checkpoint import from_plain, to_plain

Losses = Tensor | tuple[Tensor, ...]


@contextmanager
def led(trainer: Any) -> Iterator[None]:
    """Share what ``trainer`` does within with the other processes, if there are any, which :func:`followed` it.

    Raises:
        UserError: if its model cannot be trained so.
    """
    if not (dist.is_available() and dist.is_initialized()):
        yield
        return
    name = trainer.config["model"]
    if training_hooks(trainer.model).shared_by is None:
        raise UserError(f"{name} learns from a batch as a whole, or in one step; train it without `nproc`")
    if trainer.device.type != "cpu":
        raise UserError("processes share the work of cores, not of a GPU; leave out `nproc`, or set use_gpu=False")
    trainer.ensure_optimizer()
    with sharing(), _whole_batches_for(trainer.model):
        own = source.plain() if (source := source_of(name)) is not None else None
        agreed(to_plain({**trainer.metadata, **trainer.state(), "history": trainer.history, "own_source": own}))
        yield


def order() -> dict[str, Any]:
    """In a process that follows: the state of what is trained next, as in ``resume.pt``, its history and source."""
    with sharing():
        return from_plain(agreed(None))


@contextmanager
def followed(trainer: Any) -> Iterator[None]:
    """Take part in what the first process does within :func:`led`."""
    with sharing(), _whole_batches_for(trainer.model):
        yield


@contextmanager
def _whole_batches_for(model: torch.nn.Module) -> Iterator[None]:
    """Let RecBole's EmbLoss, a norm of all rows, see those of the whole batch."""
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, EmbLoss):
                hook = module.register_forward_pre_hook(lambda _, embeddings: tuple(map(gathered, embeddings)))
                stack.callback(hook.remove)
        yield


def start_epoch(trainer: Any) -> Callable[[Interaction], Losses] | None:
    """Give all processes the first one's state; what stands for the model's loss of a batch, None if it is its own."""
    if n_processes() == 1:
        return None
    state = from_plain(agreed(to_plain(trainer.epoch_state())))
    if rank():
        trainer.load_epoch_state(state)
    model, by_work = trainer.model, training_hooks(trainer.model).shared_by == "work"
    parameters = [p for p in model.parameters() if p.requires_grad]

    def loss(interaction: Interaction) -> Losses:
        n, weight = len(interaction), 1 / n_processes()
        if by_work or n < n_processes():
            losses = model.calculate_loss(interaction)
        else:
            with rows_of_batch(n) as rows:
                losses = model.calculate_loss(interaction[rows])
            weight = (rows.stop - rows.start) / n
        parts = losses if isinstance(losses, tuple) else (losses,)
        whole = shared_loss(torch.stack([part.squeeze() for part in parts]), weight, parameters)
        return tuple(whole) if isinstance(losses, tuple) else whole[0]

    return loss


# Evaluation


def own_users(loader: FullRankingLoader) -> FullRankingLoader:
    """The users that this process ranks, in whole batches: in another one, scores would be rounded in another way."""
    return loader if n_processes() == 1 else _OwnUsers(loader)


class _OwnUsers(FullRankingLoader):
    def __init__(self, whole: FullRankingLoader) -> None:
        self.__dict__ |= {name: value for name, value in vars(whole).items() if name != "collate_fn"}  # bound to whole
        batches = share(len(whole))
        own = slice(batches.start * whole.step, batches.stop * whole.step)
        self.uid_list, self.user_df = whole.uid_list[own], whole.user_df[own]
        self.sample_size = len(self.uid_list)

    def __bool__(self) -> bool:
        return True  # one without users has a part in the result, too


class SharedEvaluator(Evaluator):
    """RecBole's metrics of all users, whichever process has ranked them: they are means over users."""

    def evaluate(self, dataobject: DataStruct) -> Any:
        """The metrics, as RecBole's evaluator gives them."""
        if n_processes() == 1:
            return super().evaluate(dataobject)
        by_user = {name: value for name, value in dataobject._data_dict.items() if isinstance(value, Tensor)}
        parts = gathered_values(by_user)
        for name in {name: None for part in parts for name in part}:
            dataobject.set(name, torch.cat([part[name] for part in parts if name in part]))
        return agreed({name: float(value) for name, value in super().evaluate(dataobject).items()})

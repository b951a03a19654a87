"""A batch that several processes share: each computes the loss of its rows, and together they have its gradient.

A process that is alone has all rows, and everything here is what torch does. All processes draw the same random
numbers, those of the whole batch, and call the functions below in the same order.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.errors import UserError


class ProcessLost(UserError):
    """One of the processes that share the training has ended."""


@dataclass(frozen=True)
class _Place:
    """Where this process is among those that share, and which rows [first, last) of the batch's ``size`` it has."""

    rank: int = 0
    n_processes: int = 1
    first: int = 0
    last: int = 0
    size: int = 0

    @property
    def has_part(self) -> bool:
        return self.last - self.first < self.size


_place = _Place()


@contextmanager
def sharing() -> Iterator[None]:
    """Share what is computed within with the other processes of torch's process group."""
    global _place
    _place = _Place(dist.get_rank(), dist.get_world_size())
    try:
        yield
    finally:
        _place = _Place()


@contextmanager
def rows_of_batch(size: int) -> Iterator[slice]:
    """Compute, within, on this process's rows of a batch of ``size``."""
    global _place
    place, rows = _place, share(size)
    _place = replace(place, first=rows.start, last=rows.stop, size=size)
    try:
        yield rows
    finally:
        _place = place


def rank() -> int:
    """The number of this process; the first, 0, writes what is to be kept."""
    return _place.rank


def n_processes() -> int:
    """How many share; 1 for one that is alone."""
    return _place.n_processes


def share(n: int) -> slice:
    """Which of ``n`` are this process's; in all processes together, each is once."""
    return slice(n * _place.rank // _place.n_processes, n * (_place.rank + 1) // _place.n_processes)


# What all processes have to know


def agreed(value: Any) -> Any:
    """The ``value`` of the first process, of tensors and plain values, in all of them."""
    return value if _place.n_processes == 1 else gathered_values(value if rank() == 0 else None)[0]


def gathered_values(value: Any) -> list[Any]:
    """The ``value`` of every process, of tensors and plain values."""
    file = io.BytesIO()
    torch.save(value, file)
    own = torch.frombuffer(file.getbuffer(), dtype=torch.uint8)
    sizes = torch.zeros(n_processes(), dtype=torch.int64)
    sizes[rank()] = len(own)
    parts = [torch.zeros(size, dtype=torch.uint8) for size in _total(sizes).tolist()]
    parts[rank()] = own
    for sender, part in enumerate(parts):
        _together(dist.broadcast, part, sender)
    return [torch.load(io.BytesIO(part.numpy().tobytes()), weights_only=True) for part in parts]


# Tensors of a batch


def summed(x: Tensor) -> Tensor:
    """The sum of the processes' ``x``, alike in all of them; gradients find back to the summands."""
    return x if _place.n_processes == 1 else _Sum.apply(x)


def gathered(x: Tensor) -> Tensor:
    """Rows [b, ...] of this process's part of a batch as those of the whole batch [B, ...]; gradients find back."""
    return _Gathered.apply(x, _place) if _place.has_part else x


def places(n: int, device: torch.device) -> Tensor:
    """Where the ``n`` rows of this process's part are in the whole batch [n]."""
    return torch.arange(_place.first, _place.first + n, device=device)


def dropout(x: Tensor, p: float) -> Tensor:
    """Dropout of the rows [b, ...] of this process's part, as it is drawn for the whole batch."""
    if not _place.has_part:
        return F.dropout(x, p)
    return x * F.dropout(x.new_ones(_place.size, *x.shape[1:]), p)[_place.first : _place.last]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _total(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _total(gradients[0].clone())


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, place: _Place) -> Tensor:
        ctx.rows = slice(place.first, place.last)
        whole = x.new_zeros(place.size, *x.shape[1:])
        whole[ctx.rows] = x
        return _total(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _total(gradients[0].clone())[ctx.rows], None


def shared_loss(losses: Tensor, weight: float, parameters: list[torch.nn.Parameter]) -> Tensor:
    """The losses of the whole batch, whose gradient all processes have once ``backward`` is over.

    Args:
        losses: of this process's part [n].
        weight: of this part; all together are 1.
        parameters: whose gradients are summed.
    """
    return _SharedLoss.apply(losses, weight, parameters)


class _SharedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Tensor, weight: float, parameters: list[torch.nn.Parameter]) -> Tensor:
        ctx.weight, ctx.parameters = weight, parameters
        return _total(losses.detach() * weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # When all of the backward pass is over, as torch's own data-parallel modules do it.
        parameters = ctx.parameters
        torch.autograd.Variable._execution_engine.queue_callback(lambda: _sum_gradients(parameters))
        return gradients[0] * ctx.weight, None, None


def _sum_gradients(parameters: list[torch.nn.Parameter]) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = _total(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, total.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view_as(gradient))


def _total(x: Tensor) -> Tensor:
    """The sum over the processes, in place."""
    _together(dist.all_reduce, x)
    return x


def _together(act: Callable[..., Any], *arguments: Any) -> None:
    try:
        act(*arguments)
    except RuntimeError as error:  # a connection that was closed
        raise ProcessLost("the training that processes shared has stopped") from error

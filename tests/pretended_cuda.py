"""A GPU that is pretended: its tensors say that they are on ``cuda:0``, and live in main memory.

What a GPU refuses is refused: tensors of two devices in one operation, indices of the GPU into a tensor of the CPU, and
numpy's look at a tensor of the GPU. Numbers are those of the CPU, so that a run has to come to the same as without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from recbole_cadmr.config.config import Config

aten = torch.ops.aten
CUDA = torch.device("cuda:0")
_COPIES = {aten._to_copy, aten.copy_, aten._foreach_copy_}
_INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
_TAKES_NUMBERS = {*_INDEXED, aten.fill, aten.fill_, aten.masked_fill, aten.masked_fill_}  # of the CPU
# What, beside copies to the CPU, lets the processor wait for the GPU: results whose value or shape it has to know.
_WAITS = {aten._local_scalar_dense, aten.nonzero, aten._unique2, aten.masked_select, aten.bincount}
_FREE = 2**30
ALLOCATED, RESERVED = 3 * 2**20, 5 * 2**20  # at the peak
_CUDA: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "mem_get_info": lambda device=None: (_FREE, _FREE),
    "memory_allocated": lambda device=None: 0,
    "memory_reserved": lambda device=None: 0,
    "max_memory_allocated": lambda device=None: ALLOCATED,
    "max_memory_reserved": lambda device=None: RESERVED,
    "reset_peak_memory_stats": lambda device=None: None,
    "get_device_name": lambda device=None: "pretended",
    "synchronize": lambda device=None: None,
    "empty_cache": lambda: None,
}


class _OnCuda(Tensor):
    """A tensor of the pretended GPU around one of the CPU.

    To torch's C++ it is one of the device ``meta``, which is all that a build without CUDA can differentiate.
    """

    held: Tensor
    device = CUDA  # type: ignore[assignment]
    is_cuda = True  # type: ignore[assignment]
    is_meta = False  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> _OnCuda:
        held = held.resolve_conj().resolve_neg()  # which C++ would not see to be due
        form = {"strides": held.stride(), "storage_offset": held.storage_offset()} if _is_dense(held) else {}
        tensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, **form, dtype=held.dtype, device="meta", dispatch_layout=True
        )
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _on_cpu(operation, args, kwargs or {}, Counter())

    def __reduce_ex__(self, protocol: Any) -> Any:  # in checkpoints: a tensor
        return self.held.__reduce_ex__(protocol)

    def tolist(self) -> Any:  # torch refuses it to subclasses
        return self.cpu().tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"on cuda: {self.held!r}"


class PretendedCuda(TorchDispatchMode):
    """Within, what is made on or brought to ``cuda`` is on the pretended GPU.

    Attributes:
        waits: how often the processor had to wait for the GPU, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._patched = ExitStack()

    def __enter__(self) -> PretendedCuda:
        self._patched.enter_context(mock.patch.multiple("torch.cuda", **_CUDA))
        self._patched.enter_context(mock.patch("torch.load", _loader(torch.load)))
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") is a copy from the CPU
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)
        self._patched.close()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _on_cpu(operation, args, kwargs or {}, self.waits)


def for_every_run(monkeypatch: pytest.MonkeyPatch) -> PretendedCuda:
    """A GPU for every run that may use one, once it is entered."""
    own = Config._init_device

    def with_gpu(config: Config) -> None:
        own(config)
        if config["use_gpu"]:
            config.final_config_dict["device"] = CUDA

    monkeypatch.setattr(Config, "_init_device", with_gpu)
    return PretendedCuda()


def _on_cpu(operation: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    """What an operation gives, computed on the CPU; on the pretended GPU if it is told so or its tensors are there."""
    name = operation.overloadpacket
    tensors = [value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)]
    own = [tensor for tensor in tensors if isinstance(tensor, _OnCuda)]
    if name is torch.ops.prim.layout:
        return own[0].held.layout
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    if own and name not in _COPIES:
        _refuse_two_devices(operation, args, tensors)
    if own and (name in _WAITS or asked == "cpu" or (name is aten.copy_ and not isinstance(args[0], _OnCuda))):
        waits[str(name)] += 1
    args, kwargs = tree_map(lambda value: value.held if isinstance(value, _OnCuda) else value, (args, kwargs))
    result = operation(*args, **{**kwargs, **({"device": torch.device("cpu")} if asked else {})})
    to_cuda = asked != "cpu" if asked else bool(own) and not (name is aten.copy_ and result is not own[0].held)
    by_held = {id(tensor.held): tensor for tensor in own}  # what an operation in place returns

    def placed(value: Any) -> Any:
        if not (to_cuda and isinstance(value, Tensor)):
            return value
        return by_held[id(value)] if id(value) in by_held else _OnCuda(value)

    return tree_map(placed, result)


def _refuse_two_devices(operation: Any, args: Any, tensors: list[Tensor]) -> None:
    """Raise RuntimeError where CUDA does: it takes numbers of the CPU in what is done entry by entry, and indices."""
    name = operation.overloadpacket
    if name in _INDEXED and isinstance(args[0], _OnCuda):
        tensors = [args[0], *args[2:3]]
    elsewhere = [tensor for tensor in tensors if not isinstance(tensor, _OnCuda)]
    takes_numbers = name in _TAKES_NUMBERS or torch.Tag.pointwise in operation.tags
    if any(tensor.dim() or not takes_numbers for tensor in elsewhere):
        raise RuntimeError(f"Expected all tensors to be on the same device, but {operation} was given cuda:0 and cpu")


def _loader(load: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.load`` that takes ``map_location`` for an order to the pretended GPU."""

    def loaded(path: Any, map_location: Any, **options: Any) -> Any:
        content = load(path, map_location="cpu", **options)
        return tree_map(lambda x: x.to(map_location) if isinstance(x, Tensor) else x, content)

    return loaded


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided

"""Blocks of work on the nodes of a Ray cluster; what all blocks need travels once a node."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from recbole_cadmr.blocks import Block, Key, Over, Result
from recbole_cadmr.errors import UserError, is_out_of_memory
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.nodes import check_versions

_RETRIES = 3  # of a block whose node dies
_LOOK = 1.0  # seconds to wait for a result before a look at the nodes
_PATIENCE = 30.0  # seconds in which another node may join a cluster that has lost all that have room
_KEPT = "what is finished is kept, and the same command goes on from there"
_NO_MODULE = re.compile("No module named '[^']+'")

_held: dict[str, Callable[[Any], Any]] = {}  # in a process of a node: the function whose blocks it computes


@contextmanager
def over_cluster(address: str, threads: int | None = None, use_gpu: bool = True) -> Iterator[Over]:
    """What computes blocks on the cluster at ``address``, as of :func:`ray_api.connected`.

    A block asks for its threads as cores, and, on a cluster with GPUs, for one of these. A block whose node dies is
    computed again on another one.

    Raises:
        UserError: if the cluster cannot be reached, or results of a node would differ. What ends the work later is one
            sentence, too.
    """
    with ray_api.connected(address) as ray:
        if address != "local":
            check_versions(ray)
        gpus = 1 if use_gpu and ray.cluster_resources().get("GPU") else 0
        yield _RayBlocks(ray, threads or 1, gpus)


@dataclass(frozen=True)
class _RayBlocks:
    """See :class:`Over`."""

    ray: Any
    cpus: int
    gpus: int

    def __call__(
        self, compute: Callable[[Block], Result], blocks: Iterable[tuple[Key, Block]]
    ) -> Iterator[tuple[Key, Result]]:
        ray, waiting, rest = self.ray, dict[Any, Key](), iter(blocks)
        task = ray.remote(_compute).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_RETRIES)
        with _in_a_sentence():
            function = ray.put(compute)
            slots, last_room = self._slots(), time.monotonic()
        try:
            while True:
                # Twice as many as there is room for, so that no node waits, and no more, so that the store holds them.
                for key, block in islice(rest, max(2 * max(slots, 1) - len(waiting), 0)):
                    with _in_a_sentence():
                        waiting[task.remote(function.hex(), [function], block)] = key
                if not waiting:
                    return
                with _in_a_sentence():
                    ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK)
                    found = [(waiting.pop(answer), ray.get(answer)) for answer in ready]
                    if not found:
                        slots = self._slots()
                    last_room = time.monotonic() if slots else last_room
                if time.monotonic() - last_room > _PATIENCE:
                    raise UserError(
                        f"no living node of the Ray cluster has {self.cpus} free cores for a block; {_KEPT}"
                    )
                yield from found
        finally:
            for answer in waiting:
                with suppress(Exception):  # the cluster may be gone
                    ray.cancel(answer)

    def _slots(self) -> int:
        """How many blocks the living nodes have room for."""
        have = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(int(node.get("CPU", 0) / self.cpus) for node in have)


def _compute(name: str, function: list[Any], block: Any) -> Any:
    """The result of a block, on a node; the function is taken from its store once a process."""
    if name not in _held:
        import ray

        _held.clear()
        _held[name] = ray.get(function[0])
    return _held[name](block)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Raise what the user can correct as a :class:`UserError`; a defect of ours, raised on a node, as it was there."""
    from ray.exceptions import ObjectStoreFullError, OutOfDiskError, OutOfMemoryError, RayError, RayTaskError

    try:
        yield
    except RayError as error:
        raised = getattr(error, "cause", None) if isinstance(error, RayTaskError) else error
        reason = next(iter(str(raised or error).strip().splitlines()), type(error).__name__)
        if isinstance(raised, UserError):
            raise UserError(str(raised)) from error
        if isinstance(raised, (ObjectStoreFullError, OutOfDiskError)):
            raise UserError(
                f"the object store of the Ray cluster is full; start its nodes with a larger --object-store-memory, or "
                f"with more room on the disk that it spills to; {_KEPT}"
            ) from error
        if isinstance(raised, OutOfMemoryError) or (raised and is_out_of_memory(raised)):
            raise UserError(f"a node of the Ray cluster has not enough memory for a block; {_KEPT}") from error
        if lacking := _NO_MODULE.search(str(raised)):  # an error of Ray's own, where a function cannot be read
            raise UserError(f"a node of the Ray cluster cannot run recbole_cadmr: {lacking[0]}; {_KEPT}") from error
        if isinstance(error, RayTaskError) and raised is not None:
            raise raised from error
        raise UserError(f"the Ray cluster has failed: {reason.rstrip('.')}; {_KEPT}") from error

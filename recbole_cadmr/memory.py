"""How much memory is free where tensors live: of the machine, the container (control groups), the process (ulimit)."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

_PROC = Path("/proc/self")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's mallopt
_LARGEST_DYNAMIC = 2**25  # bytes; to where glibc raises the first by itself, and the second to twice that


def free_bytes(device: torch.device | None = None) -> int:
    """Bytes that this process may still take on a device; in main memory if none is given."""
    if device is not None and device.type == "cuda":
        from torch import cuda

        unused = cuda.memory_reserved(device) - cuda.memory_allocated(device)
        return int(cuda.mem_get_info(device)[0]) + unused
    used = psutil.Process().memory_info()
    address_space = max(_process_limit("RLIMIT_AS") - used.vms, 0)
    data = max(_process_limit("RLIMIT_DATA") - getattr(used, "data", 0), 0)
    return min(_free_outside(), address_space, data)


def free_for_another() -> int:
    """Bytes of main memory that a new process could take."""
    return min(_free_outside(), _process_limit("RLIMIT_AS"), _process_limit("RLIMIT_DATA"))


def _free_outside() -> int:
    """Bytes that are free in the machine and in every control group around this process."""
    return min([int(psutil.virtual_memory().available), *(group.free() for group in _groups())])


def _process_limit(name: str) -> int:
    """A limit of this process as of ``ulimit``, in bytes; ``sys.maxsize`` for none."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    limit = resource.getrlimit(getattr(resource, name))[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let what is freed serve the next large tensors, and give it back at the end.

    glibc maps every block of 32 MiB or more anew, and the system clears its pages: up to a third of a training step.
    Without an effect where the C library is another one.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_DYNAMIC)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_DYNAMIC)
        libc.malloc_trim(0)


@dataclass(frozen=True)
class _Group:
    """A control group: its folder, and how the files of its version are called."""

    folder: Path
    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]  # pages of files, which the system takes back when memory is short

    def free(self) -> int:
        """Bytes up to its limit; ``sys.maxsize`` if it has none."""
        limit = min((self._number(name) for name in self.limits), default=sys.maxsize)
        if limit == sys.maxsize:
            return limit
        try:
            entries = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            entries = {}
        cache = sum(int(entries.get(name, 0)) for name in self.reclaimable)
        used = self._number(self.usage)
        return limit if used == sys.maxsize else max(limit - max(used - cache, 0), 0)

    def _number(self, name: str) -> int:
        try:
            return int((self.folder / name).read_text())
        except (OSError, ValueError):  # missing, or "max"
            return sys.maxsize


_V1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
_V2 = (("memory.max", "memory.high"), "memory.current", ("active_file", "inactive_file"))


@functools.cache
def _groups() -> tuple[_Group, ...]:
    """The control groups that this process is in, of both versions, each with its parents; none but on Linux."""
    try:
        own = [line.split(":", 2) for line in (_PROC / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (_PROC / "mountinfo").read_text().splitlines()]
    except OSError:
        return ()
    found: list[_Group] = []
    for fields in mounts:
        root, point = fields[3:5]
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        for number, controllers, path in own:
            if kind == "cgroup2" and number == "0" and not controllers:
                found += (_Group(folder, *_V2) for folder in _upwards(Path(point), root, path))
            elif kind == "cgroup" and "memory" in options and "memory" in controllers.split(","):
                found += (_Group(folder, *_V1) for folder in _upwards(Path(point), root, path))
    return tuple(found)


def _upwards(point: Path, root: str, path: str) -> list[Path]:
    """Folders of the group ``path`` and its parents, where the group ``root`` is mounted at ``point``."""
    # A container may see its own group mounted as if it were the root of all.
    parts = PurePosixPath(path).relative_to(root).parts if PurePosixPath(path).is_relative_to(root) else ()
    names = () if ".." in parts else parts  # a group beside the one that can be seen
    return [point.joinpath(*names[:depth]) for depth in range(len(names), -1, -1)]

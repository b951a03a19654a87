"""Files (pictures, recordings) to vectors, by a network that computes them in batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.device import place_of
from recbole_cadmr.extract.shards import DAMAGED, PRESENT, Extracted, in_shards
from recbole_cadmr.extract.vector_store import VectorCache
from recbole_cadmr.progress import advance, bar

_READERS = 2  # threads that decode while the network computes
_SHARD = 256  # minutes of work on a CPU, not an hour
# Pictures in a batch: always as many, since kernels round otherwise to batches of another size. More would be no faster
# on a CPU, nor on a GPU that waits for the decoders.
TOGETHER = 8


@dataclass(frozen=True)
class Network:
    """What makes vectors of files.

    Attributes:
        module: a batch of inputs to vectors [n, width].
        read: what is in a file to the inputs that it is cut into, one for a picture; any error for a damaged file. The
            vector of the file is the mean of theirs.
        width: of a vector.
        card: what the card of a data set says of it.
        identity: what else a vector depends on.
        together: inputs in every batch; a last one is filled up with blank ones.
    """

    module: Any
    read: Callable[[bytes], list[Tensor]]
    width: int
    card: Mapping[str, str]
    identity: Mapping[str, str]
    together: int = TOGETHER


def extract_files(
    paths: Sequence[Path | None],
    work: Path,
    network: Network,
    label: str,
    *,
    dtype: str = "float32",
    device: str | None = None,
    over: Over = here,
    cache: VectorCache | None = None,
) -> Extracted:
    """Vectors of files. A missing one (None, or no such file) and a damaged one get none.

    The vector of a file is the same, bit for bit, whichever files are seen with it, as of :func:`extract_text`.

    Args:
        work: folder of the result.
        label: what the files are, on the screen.
        device: such as ``cuda:0``; a GPU if there is one.
        over: who computes the shards.
        cache: where vectors are kept, and taken from.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        looked = bar(pool.map(_key, paths), total=len(paths), desc=f"looking for {label}", leave=False)
        keys = list(looked)

    def read(places: Sequence[int]) -> list[_Source]:
        return [(keys[place], paths[place] if over is here else _content(paths[place])) for place in places]

    compute = _Compute(network, device)
    how: dict[str, Any] = {"card": network.card, "dtype": dtype, "label": label, "size": _SHARD, "cache": cache}
    encoder = {**network.card, **network.identity}
    return in_shards(work, keys, network.width, compute, encoder=encoder, read=read, over=over, **how)


# The hash of a file; where it lies, or, for another machine, what is in it.
_Source = tuple[bytes | None, Path | bytes | None]


@dataclass(frozen=True)
class _Compute:
    """Files to vectors, on this machine or on another one that has not got them."""

    network: Network
    device: str | None

    def __call__(self, sources: Sequence[_Source]) -> tuple[np.ndarray, np.ndarray]:
        place = place_of(self.device)
        module, together = self.network.module.to(place), self.network.together
        sums, counts = np.zeros((len(sources), self.network.width)), np.zeros(len(sources), dtype=int)
        waiting: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}  # by shape

        def see(batch: list[tuple[int, Tensor]]) -> None:
            inputs = torch.stack([tensor for _, tensor in batch])
            blank = torch.zeros(together - len(batch), *inputs.shape[1:])
            seen = module(torch.cat([inputs, blank]).to(place)).float().cpu().numpy()
            np.add.at(sums, [row for row, _ in batch], seen[: len(batch)])
            batch.clear()

        with ThreadPoolExecutor(_READERS) as pool, torch.inference_mode():
            for row, inputs in enumerate(pool.map(self._read, sources)):
                counts[row] = len(inputs)
                for tensor in inputs:
                    batch = waiting.setdefault(tuple(tensor.shape), [])
                    batch.append((row, tensor))
                    if len(batch) == together:
                        see(batch)
                advance(1)
            for batch in filter(None, waiting.values()):
                see(batch)
        vectors = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        return vectors, np.where(counts, PRESENT, DAMAGED)

    def _read(self, source: _Source) -> list[Tensor]:
        """What the network is given of a file; [] of a damaged one.

        Raises:
            UserError: if the file is not what it was.
        """
        key, place = source
        content = place if isinstance(place, bytes) else _content(place)
        if sha256(content).digest() != key:
            what = place if isinstance(place, Path) else "a file that is encoded"
            raise UserError(f"{what} was changed while it was read; repeat")
        try:
            return self.network.read(content)
        except Exception:  # decoders raise whatever a damaged file makes them
            return []


def _key(path: Path | None) -> bytes | None:
    """A hash of what is in a file; None if there is none."""
    return sha256(_content(path)).digest() if path is not None and path.is_file() else None


def _content(path: Path | None) -> bytes:
    """What is in a file; nothing, as in a damaged one, if it cannot be read."""
    try:
        return path.read_bytes() if path is not None else b""
    except OSError:
        return b""

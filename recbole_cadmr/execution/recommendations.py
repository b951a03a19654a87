"""Recommendations to many users by a cluster: blocks of users, a parquet file each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cadmr.blocks import KEY, open_store
from recbole_cadmr.data.working_folder import working_folder
from recbole_cadmr.execution.dataset_archive import pack, unpack
from recbole_cadmr.execution.ray_blocks import over_cluster
from recbole_cadmr.files import read_bytes, remove_temporaries, sha256_of, write_aside
from recbole_cadmr.models.own import receive, source_of
from recbole_cadmr.models.own_source import ModelSource
from recbole_cadmr.progress import bar_of_batches
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.load_export import is_export
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.tables import COLUMNS, Counts
from recbole_cadmr.runs.session import versions

PART = 1024  # users at least, if there are as many
_COUNTED = ["rank", "source"]
_TYPES = pa.string(), pa.string(), pa.int64(), pa.float32(), pa.string()
_SCHEMA = pa.schema(list(zip(COLUMNS, _TYPES)))


def write_in_parts(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    address: str,
    users: Sequence[str] | None = None,
    topk: int | None = None,
    data_path: str | os.PathLike[str] | None = None,
    model: str | type | None = None,
    part: int = PART,
    **how: Any,
) -> tuple[int, Counts]:
    """Write the folder ``output`` of parquet files, which together hold what :meth:`Recommender.recommend` returns.

    Their names sort as the users do, so that ``pandas.read_parquet(output)`` is the same table, bit for bit where a
    node computes with as many threads as this machine. The folder is there when all are: until then they lie in
    ``.NAME.work`` beside it, from where the same call goes on. A node needs neither the checkpoint nor the data set.

    Args:
        checkpoint, data_path, model: as of :func:`load`.
        address: of the cluster, as of :func:`over_cluster`.
        users, topk, how: arguments of :meth:`Recommender.recommend`.
        part: users of a block, rounded up to whole batches, so that scores are computed in the same ones.

    Returns:
        How many users were asked for, and what the lists hold.

    Raises:
        UserError: if ``output`` exists, and as of :class:`Recommender` and :func:`over_cluster`.
    """
    recommender = load(checkpoint, data_path, model=model)
    recommender.recommend((users or recommender.users)[:1], topk, **how)  # what is wrong is said before any work
    everyone = recommender.checked_users(users)
    size = -(-part // recommender.engine.users_at_once) * recommender.engine.users_at_once
    card, place, source = recommender.parts.card, Path(output), Path(checkpoint)
    compute = _UserBlocks.by(source, card, {"topk": topk, **how})
    key = {
        "checkpoint": recommender.version if compute.checkpoint is None else sha256_of(source),
        **({} if compute.own is None else {"own_model": str(compute.own.sha256)}),
        "data": json.dumps(card["fingerprint"], sort_keys=True),
        "users": hashlib.sha256("\0".join(everyone).encode()).hexdigest(),
        "lists": json.dumps({"topk": topk, **how, "part": size}, sort_keys=True, default=pd.DataFrame.to_csv),
        "versions": json.dumps(versions()),
    }
    del recommender
    with working_folder(place) as work, over_cluster(address, card["settings"]["threads"]) as over:
        store = work / "parts"
        open_store(store, key)
        paths = {start: store / f"part-{start // size:05d}.parquet" for start in range(0, len(everyone), size)}
        missing = ((at, everyone[at : at + size]) for at, path in paths.items() if not path.is_file())
        with bar_of_batches(None, total=len(everyone), desc="lists") as shown:
            shown.update(sum(len(everyone[at : at + size]) for at, path in paths.items() if path.is_file()))
            for at, written in over(compute, missing):
                with write_aside(paths[at]) as temporary:
                    temporary.write_bytes(written)
                shown.update(len(everyone[at : at + size]))
        counts = [Counts.of(pd.read_parquet(path, columns=_COUNTED), topk) for path in paths.values()]
        (store / KEY).unlink()
        remove_temporaries(store)
        store.rename(place)
    return len(everyone), sum(counts, Counts(0, 0, 0, 0))


@dataclass(frozen=True)
class _UserBlocks:
    """The lists of blocks of users, by a checkpoint and its packed data set or by a packed export.

    Attributes:
        own: the source of a model of the user's own.
    """

    checkpoint: bytes | None
    data: bytes
    dataset: str
    how: Mapping[str, Any]
    own: ModelSource | None = None

    @classmethod
    def by(cls, source: Path, card: Mapping[str, Any], how: Mapping[str, Any]) -> _UserBlocks:
        """Those of a checkpoint or an export that a card describes."""
        if is_export(source):
            return cls(None, pack(source.resolve()), source.resolve().name, how)
        data = Path(card["settings"]["data_path"]) / card["dataset"]
        return cls(read_bytes(source), pack(data), data.name, how, source_of(card["model"]))

    def __call__(self, users: Sequence[str]) -> bytes:
        """The parquet file of these users."""
        frame, file = self._recommender.recommend(users, **self.how), pa.BufferOutputStream()
        pa.parquet.write_table(pa.Table.from_pandas(frame, _SCHEMA, preserve_index=False), file)
        return file.getvalue().to_pybytes()

    @cached_property
    def _recommender(self) -> Recommender:
        if self.checkpoint is None:
            return load(unpack(self.data, self.dataset) / self.dataset)
        receive(self.own)
        with TemporaryDirectory(prefix="recbole_cadmr-") as folder:
            file = Path(folder) / "model.pt"
            file.write_bytes(self.checkpoint)
            return load(file, unpack(self.data, self.dataset))

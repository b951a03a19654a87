"""Which runner the options of a command ask for."""

from __future__ import annotations

from pathlib import Path

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.local import LocalRunner
from recbole_cadmr.execution.ray_runner import RayRunner
from recbole_cadmr.execution.run_spec import Runner

_MOST_GB = 2**30


def bytes_of(memory: float | None) -> int | None:
    """Bytes that a run may use, by the option ``memory`` in GB; None for all that is free."""
    if memory is None:
        return None
    if not 0 < memory <= _MOST_GB:
        raise UserError(f"memory must be a number of GB above 0 and at most {_MOST_GB:,}, not {memory:g}")
    return int(memory * 2**30)


def runner_of(root: Path, jobs: int, limit: int | None, ray_address: str | None) -> Runner:
    """Of runs in ``root``: on a Ray cluster, if one is named, or on this machine, ``jobs`` at a time."""
    return RayRunner(ray_address, root, limit) if ray_address else LocalRunner(jobs, limit)

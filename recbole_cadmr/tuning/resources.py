"""Where the trials of a search run, and what each may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from recbole_cadmr.errors import UserError


@dataclass(frozen=True)
class Resources:
    """Where trials run and what each may use.

    Attributes:
        address: as in :func:`ray_api.connected`.
        cpus, gpus: cores and GPUs of a trial, in fractions too. Not given, it is one core (of a resumed search, as many
            as before), and one GPU where there are any.
        jobs: most trials at once; as many as there is room for if None.
        dashboard: whether Ray's dashboard is wanted.
    """

    address: str = "local"
    cpus: float | None = None
    gpus: float | None = None
    jobs: int | None = None
    dashboard: bool = False

    def __post_init__(self) -> None:
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if value and (round(value, 4) != value or (value > 1 and value != int(value))):
                raise UserError(
                    f"--{name} must be a whole number, or a part of one with at most 4 decimals, not {value:g}"
                )

    @property
    def cores(self) -> float:
        """Cores of a trial."""
        return 1.0 if self.cpus is None else self.cpus

    @property
    def threads(self) -> int:
        """Threads of a trial: its whole cores."""
        return max(1, int(self.cores))

    @property
    def local_cpus(self) -> int | None:
        """Cores of a cluster that is started here: those that this process may use; None for another one."""
        if self.address != "local":
            return None
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    def gpus_on(self, ray: Any, wanted: bool) -> float:
        """GPUs of a trial on a cluster; ``wanted``: whether the runs would use one."""
        if self.gpus is not None:
            return self.gpus
        return 1.0 if wanted and ray.cluster_resources().get("GPU") else 0.0

    def slots(self, nodes: list[dict[str, Any]], gpus: float) -> int:
        """Trials that there is room for at once.

        Raises:
            UserError: if there is room for none.
        """
        have = [node["Resources"] for node in nodes if node["Alive"]]
        rooms = [
            min(int(node.get("CPU", 0) / self.cores), int(node.get("GPU", 0) / gpus) if gpus else 10**6)
            for node in have
        ]
        if not sum(rooms):
            most = ", ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in have)
            raise UserError(f"no machine has {self.cores:g} cores and {gpus:g} GPUs for a trial; there are {most}")
        return sum(rooms)

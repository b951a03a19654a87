"""The folder of a trial: its files, and the states of a population's member that others may take over."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cadmr.files import link
from recbole_cadmr.runs.folder import RunFolder

TRIALS, TRIAL = "trials", "trial.json"
_SNAPSHOTS_KEPT = 3


@dataclass(frozen=True)
class TrialFolder:
    """The folder of trial ``number`` of the search in ``root``."""

    root: Path
    number: int

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / TRIALS / f"{self.number:04d}"

    @property
    def run(self) -> RunFolder:
        """The run."""
        return RunFolder(self.path / "run")

    @property
    def record(self) -> Path:
        """The file of its record."""
        return self.path / TRIAL

    @property
    def snapshots(self) -> Path:
        """States of a population's member, in a folder each, named by the epochs trained."""
        return self.path / "snapshots"

    def keep_snapshot(self, epoch: int) -> None:
        """Keep the state, which was just written, for members that take it over."""
        run, snapshot = self.run, self._snapshot(epoch)
        snapshot.path.mkdir(parents=True, exist_ok=True)
        # Files are replaced, never written over; to a history more may be appended, which its state does not count.
        for source, target in zip((run.last, run.best, run.history), (snapshot.last, snapshot.best, snapshot.history)):
            target.unlink(missing_ok=True)
            if source.is_file():
                link(source, target)
        for old in self._epochs()[:-_SNAPSHOTS_KEPT]:
            shutil.rmtree(self._snapshot(old).path)

    def take_snapshot(self, number: int, epoch: int) -> None:
        """Put a member's state into the run."""
        snapshot = TrialFolder(self.root, number)._snapshot(epoch)
        if not snapshot.last.is_file():
            raise OSError(f"the state of trial {number} after {epoch} epochs is gone")
        shutil.rmtree(self.run.path, ignore_errors=True)
        shutil.copytree(snapshot.path, self.run.path)
        if number != self.number:  # its own earlier states no longer belong to it
            shutil.rmtree(self.snapshots, ignore_errors=True)
            shutil.copytree(snapshot.path, self._snapshot(epoch).path)

    def keep_history_alone(self) -> None:
        """Remove all of the run but its history."""
        for path in self.run.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self.run.history:
                path.unlink(missing_ok=True)

    def latest_snapshot(self) -> dict[str, Any] | None:
        """The pointer to the member's own latest state."""
        epochs = self._epochs()
        return {"number": self.number, "epoch": epochs[-1]} if epochs else None

    def _snapshot(self, epoch: int) -> RunFolder:
        return RunFolder(self.snapshots / str(epoch))

    def _epochs(self) -> list[int]:
        return sorted(int(path.name) for path in self.snapshots.glob("*") if RunFolder(path).last.is_file())

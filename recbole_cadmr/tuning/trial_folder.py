"""Where a trial runs, and how its state gets there and back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cadmr.runs.folder import CURVES, HISTORY, RESULT, is_used
from recbole_cadmr.training.trainer import BEST, LAST
from recbole_cadmr.tuning.trial_record import RUN, SNAPSHOTS, folder_of

MARK = ".mark"  # of a search's folder, by which a machine knows whether it sees it
_SNAPSHOTS_KEPT = 3


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a search have in common.

    Attributes:
        settings: of every run, the searched ones apart.
        root, mark: folder of the search, and what stands in its ``.mark``.
        is_population: whether members take over each other's states, every ``grace`` epochs.
        bigger: whether a bigger score is better.
    """

    model: str
    dataset: str
    preset: str | None
    settings: Mapping[str, Any]
    root: str
    mark: str
    is_population: bool
    grace: int
    bigger: bool


class TrialFolder:
    """Where a trial runs: in the search's folder if this machine sees it, else in one of its own whose files are sent.

    Attributes:
        folder: of the trial, with the run in ``run``.
    """

    def __init__(self, job: TrialContext, archive: Any, number: int) -> None:
        self.job, self.archive, self.number = job, archive, number
        self._scratch: str | None = None
        self._sent: dict[str, int] = {}
        mark = Path(job.root) / MARK
        if mark.is_file() and mark.read_text(encoding="utf-8") == job.mark:
            self.folder = folder_of(Path(job.root), number)
        else:
            self._scratch = tempfile.mkdtemp(prefix="recbole_cadmr-")
            self.folder = Path(self._scratch)

    def __enter__(self) -> TrialFolder:
        self._fetch(self.number, [f"{RUN}/{name}" for name in (LAST, BEST, HISTORY, RESULT)])
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def is_finished(self) -> bool:
        """Whether the run has its result."""
        return is_used(self.folder / RUN)

    def keep_snapshot(self, epoch: int) -> None:
        """Keep the state, which was just written, for members that take it over."""
        snapshot = self.folder / SNAPSHOTS / str(epoch)
        snapshot.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST, HISTORY):
            (snapshot / name).unlink(missing_ok=True)
            if (self.folder / RUN / name).is_file():
                _link(self.folder / RUN / name, snapshot / name)
        for old in self._snapshots()[:-_SNAPSHOTS_KEPT]:
            shutil.rmtree(self.folder / SNAPSHOTS / str(old))

    def take_snapshot(self, number: int, epoch: int) -> None:
        """Put a member's state into the run."""
        run = self.folder / RUN
        source = folder_of(Path(self.job.root), number)
        if self._scratch is not None:
            source = self.folder / "taken"
            self._fetch(number, [f"{SNAPSHOTS}/{epoch}/{name}" for name in (LAST, BEST, HISTORY)], source)
        snapshot = source / SNAPSHOTS / str(epoch)
        if not (snapshot / LAST).is_file():
            raise OSError(f"the state of trial {number} after {epoch} epochs is gone")
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(snapshot, run)
        if number != self.number:  # its own earlier states are no part of it any more
            shutil.rmtree(self.folder / SNAPSHOTS, ignore_errors=True)
            shutil.copytree(snapshot, self.folder / SNAPSHOTS / str(epoch))

    def latest_snapshot(self) -> dict[str, Any] | None:
        """The pointer to the member's own latest state."""
        snapshots = self._snapshots()
        return {"number": self.number, "epoch": snapshots[-1]} if snapshots else None

    def _snapshots(self) -> list[int]:
        return sorted(int(path.name) for path in (self.folder / SNAPSHOTS).glob("*") if (path / LAST).is_file())

    def deliver(self) -> None:
        """Send what is new, if the search's folder is elsewhere."""
        if self._scratch is None:
            return
        names = [f"{RUN}/{name}" for name in (LAST, BEST, HISTORY, CURVES, RESULT)]
        names += [str(path.relative_to(self.folder)) for path in (self.folder / SNAPSHOTS).glob("*/*")]
        stamps = {n: (self.folder / n).stat().st_mtime_ns for n in names if (self.folder / n).is_file()}
        new = [name for name, stamp in stamps.items() if self._sent.get(name) != stamp]
        for name in new:
            self.archive.receive(self.number, {name: (self.folder / name).read_bytes()})
        self._sent = stamps

    def _fetch(self, number: int, names: Sequence[str], target: Path | None = None) -> None:
        if self._scratch is None:
            return
        for name, content in self.archive.send(number, names).items():
            path = (target or self.folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _link(source: Path, target: Path) -> None:
    """The same file under another name (files are replaced, never written over), or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

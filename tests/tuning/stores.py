"""Stores of searches of three points, without Ray."""

from __future__ import annotations

from dataclasses import asdict

from recbole_cadmr.runs.history import read_history, rewrite_history
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import SpaceEncoder
from recbole_cadmr.tuning.space import parse_space
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import read_records
from recbole_cadmr.tuning.trial_store import TrialStore

POINTS = [{"lr": 0.1, "sizes": [8]}, {"lr": 0.2, "sizes": [8]}, {"lr": 0.2, "sizes": [4, 2]}]
SPACE = parse_space({"lr": {"uniform": [0.0, 1.0]}, "sizes": [[8], [4, 2]]}, "x")
CODER = SpaceEncoder(SPACE, POINTS[0])


def reports(*scores, start=0):
    """Validations, one an epoch."""
    return [
        {"epoch": epoch, "phase": "training", "valid_score": score, "valid_result": {"recall@2": score}, "losses": {},
         "seconds": 2.0 * (epoch + 1)}
        for epoch, score in enumerate(scores, start)
    ]  # fmt: skip


class KnownPlan(Plan):
    """A plan of these points, unless its sampler decides on the way."""

    def points(self):
        return [] if self.sampler == "bayesian" else POINTS


def store(root, sampler="random", scheduler="asha", bigger=True):
    """The store of a search."""
    space = {name: dimension.plain for name, dimension in SPACE.items()}
    return TrialStore(root, KnownPlan("BPR", "micro", None, {}, space, sampler, scheduler, 3, 1, 9, "recall@2", bigger,
                                      1, 1, POINTS[0], "hash"))  # fmt: skip


def listed(root, bigger=True):
    """One of a search whose points are known before."""
    return store(root, bigger=bigger)


def sampled(root):
    """One of a search whose sampler decides on the way."""
    return store(root, sampler="bayesian")


def population(root):
    """One of a population."""
    return store(root, scheduler="pbt")


def member(number, **changed):
    """What Ray gives a member of a population."""
    return {"number": number, **CODER.encode({**POINTS[number - 1], **changed})}


def add(store, number, start, new, memory):
    """Validations as a run writes them and then passes them on."""
    file = TrialFolder(store.root, number).run.history
    rewrite_history(file, [*read_history(file)[:start], *new])
    store.add(number, start, new, memory)


def begin(store, *arguments):
    """What a trial is given when it starts."""
    record, is_new = store.open(*arguments)
    return {**asdict(record), "replay": is_new}


def run_through(archive, number, *scores, name=None):
    """A trial from its begin to its end."""
    opened = begin(archive, name or f"ray{number}", {"number": number}, None)
    add(archive, number, 0, reports(*scores), 0)
    archive.finish(number)
    archive.conclude(name or f"ray{number}", False)
    return opened


def on_disk(root):
    return {record.number: record for record in read_records(root)}


ALL = ["run/model.pt", "run/result.json", "run/resume.pt", "snapshots/2/model.pt", "snapshots/2/resume.pt"]


def keep_files(root, number):
    """What a run leaves, and snapshots."""
    for name in ALL:
        file = TrialFolder(root, number).path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))


def kept(root, number):
    folder = TrialFolder(root, number).path
    of_trial = ("trial.json", "run/history.jsonl")
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name not in of_trial)

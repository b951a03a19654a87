"""Lists from files beside the models of a benchmark: which files, checked and measured before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file, path_of
from recbole_cadmr.models.registry import model_names
from recbole_cadmr.reports.foreign_lists import ForeignLists, read_foreign, read_split

_LONGEST = 60  # letters of a name
_OF_DATASET, _OF_SEED = "{dataset}", "{seed}"


class ListFile(msgspec.Struct, frozen=True):
    """A file of lists as ``benchmark.json`` keeps it; ``seed`` is None if one file stands for all."""

    dataset: str
    name: str
    seed: int | None
    file: str
    sha256: str
    rows: int
    notes: list[str]

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What it stands for."""
        return self.dataset, self.name, self.seed


@dataclass(frozen=True)
class ListsOption:
    """What ``NAME=FILE`` or ``NAME@DATASET=FILE`` asks for: files by data set and seed."""

    name: str
    files: Mapping[str, Mapping[int | None, Path]]


def lists_options(
    options: Iterable[str], models: Sequence[str], datasets: Sequence[str], seeds: Sequence[int]
) -> list[ListsOption]:
    """The files that options name.

    Args:
        options: ``NAME=FILE``, whose FILE may hold ``{dataset}`` and ``{seed}``, or ``NAME@DATASET=FILE``.

    Raises:
        UserError: if an option is of another form, a name is that of a model or taken, or a file is missing.
    """
    found: dict[str, dict[str, dict[int | None, Path]]] = {}
    for option in options:
        left, equals, file = option.partition("=")
        name, at, dataset = (part.strip() for part in left.partition("@"))
        if not (name and equals and file) or (at and not dataset) or not name.isprintable() or len(name) > _LONGEST:
            raise UserError(
                f"--lists must be NAME=FILE or NAME@DATASET=FILE, with a name of at most {_LONGEST} letters, not "
                f"{option!r:.120}"
            )
        if name.lower() in {known.lower() for known in (*model_names(), *models)}:
            raise UserError(f"--lists {name} is the name of a model here; call the lists otherwise, as in {name}-MMRec")
        if dataset and dataset not in datasets:
            raise UserError(f"--lists {left} is of a data set that is not in --datasets ({', '.join(datasets)})")
        if not dataset and len(datasets) > 1 and _OF_DATASET not in file:
            raise UserError(
                f"--lists {name} names one file for {len(datasets)} data sets; give {name}@{datasets[0]}=FILE, or a "
                f"FILE with {_OF_DATASET} in its name"
            )
        for one in [dataset] if dataset else datasets:
            if one in found.setdefault(name, {}):
                raise UserError(f"--lists names {name} twice for {one}; give its files as one, with {_OF_SEED}")
            of_dataset = file.replace(_OF_DATASET, one)
            names = {seed: of_dataset.replace(_OF_SEED, str(seed)) for seed in seeds}
            by_seed = names if _OF_SEED in file else {None: of_dataset}
            found[name][one] = {seed: _file(path) for seed, path in by_seed.items()}
    return [ListsOption(name, files) for name, files in found.items()]


def absolute(option: str) -> str:
    """The option with the whole path of its file, so that a benchmark can be resumed from elsewhere."""
    left, equals, file = option.partition("=")
    return f"{left}={Path(file).absolute()}" if equals and file else option


def _file(name: str) -> Path:
    path = path_of(name, "lists").absolute()
    need_file(path, "--lists: ")
    return path


def read_all(
    options: Sequence[ListsOption], configs: Mapping[str, Config]
) -> tuple[dict[str, dict[str, list[ForeignLists]]], list[ListFile]]:
    """The lists by data set and name, and what is to be kept of their files; what was done to them is printed.

    Args:
        configs: of any run on each data set.

    Raises:
        UserError: as of :func:`read_foreign`, and on an unusual data set.
    """
    lists: dict[str, dict[str, list[ForeignLists]]] = {}
    kept = []
    for dataset, config in configs.items():
        mine = [option for option in options if dataset in option.files]
        split = read_split(config) if mine else None
        for option in mine:
            assert split is not None
            of_name = [read_foreign(path, split, config["topk"], seed) for seed, path in option.files[dataset].items()]
            lists.setdefault(dataset, {})[option.name] = of_name
            for each in of_name:
                print(f"lists of {option.name} on {dataset}: {each}", flush=True)
                about = (str(each.path), each.sha256, each.rows, each.notes)
                kept.append(ListFile(dataset, option.name, each.seed, *about))
    return lists, kept

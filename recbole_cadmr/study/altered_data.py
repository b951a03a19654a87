"""Data sets whose parts are put together otherwise, in the folder of a study: what departures are trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, link
from recbole_cadmr.study.plan import PARTS, Departure, file_words

ALTERED = "data"  # folder of these data sets in that of the study
_OF_SPLIT = ("benchmark_filename", "mask_valid_at_test")


def altered(source: Config, departure: Departure, root: Path) -> str:
    """Make the data set that a departure is trained on in ``root``; returns its name.

    Features are linked, or copied where that cannot be.

    Raises:
        UserError: if ``source`` does not come split, or ``root`` cannot be written.
    """
    dataset, folder = source["dataset"], source.data_folder
    if list(source["benchmark_filename"] or []) != list(PARTS):
        raise UserError(
            f"departure '{departure.name}' puts the train, validation and test part together otherwise, and {dataset} "
            f"does not come split into these"
        )
    name = f"{dataset}-{file_words(departure.name)}"
    shutil.rmtree(root / name, ignore_errors=True)
    with folder_aside(root / name) as aside:
        interactions = {part: folder / f"{dataset}.{part}.inter" for part in PARTS}
        for file in folder.glob(f"{dataset}.*"):
            if file not in interactions.values() and file.suffix not in (".yaml", ".html"):
                link(file.resolve(), aside / (name + file.name.removeprefix(dataset)))
        settings = {
            **read_yaml(folder / f"{dataset}.yaml"),
            "data_note": f"{dataset} altered for a study: {departure.name}",
        }
        if departure.whole:
            _join(list(interactions.values()), aside / f"{name}.inter")
            settings = {key: value for key, value in settings.items() if key not in _OF_SPLIT}
        else:
            for part in PARTS:
                own = departure.parts.get(part, [part])
                _join([interactions[other] for other in own], aside / f"{name}.{part}.inter")
        (aside / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return name


def _join(files: list[Path], to: Path) -> None:
    """Write tables of one header one after the other."""
    first = b""
    with open(to, "wb") as out:
        for place, file in enumerate(files):
            header, _, rows = file.read_bytes().partition(b"\n")
            first = first or header.rstrip()
            if header.rstrip() != first:
                raise UserError(f"{file} has other columns than {files[0]}, so that they cannot be put together")
            out.write((b"" if place else header + b"\n") + rows.rstrip(b"\r\n") + b"\n")


def has_times(source: Config) -> bool:
    """Whether the interactions of a data set bear times."""
    parts = source["benchmark_filename"] or [None]
    file = source.data_folder / ".".join(filter(None, (source["dataset"], parts[0], "inter")))
    with open(file, encoding=source["encoding"] or "utf-8", errors="replace") as lines:
        columns = lines.readline().strip("\ufeff\r\n").split(source["field_separator"])
    return source["TIME_FIELD"] in (column.partition(":")[0] for column in columns)

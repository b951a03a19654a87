"""Where data sets lie, and the settings that one brings along."""

from __future__ import annotations

from collections.abc import Container
from importlib.resources import files
from pathlib import Path
from typing import Any

from recbole.utils.argument_list import dataset_arguments

from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.data.prepare.catalog import catalog, how_to_get
from recbole_cadmr.errors import UserError, did_you_mean

# What the NAME.yaml of a data set, which is not trusted, may contain: how its files are read, split and evaluated on.
_OF_DATA = (
    *("encoding", "numerical_features", "discretization", "modalities", "item_graphs", "new_items", "data_note"),
    *("eval_args", "domain_field", "split_seed", "mask_valid_at_test", "metrics", "topk", "valid_metric"),
    *dataset_arguments,
)


def data_sets_in(root: Path) -> list[Path]:
    """The folders of data sets in ``root``; one whose name begins with a dot is a data set in the making."""
    here = root.iterdir() if root.is_dir() else ()
    return [path for path in here if not path.name.startswith(".") and any(path.glob("*.inter"))]


def find_data_set(name: str, data_path: str | None, default: str) -> tuple[Path, Path]:
    """The folder of data sets, and the one of the data set in it.

    It is the one ``data_path`` names if that is given; else its default, or where data sets are installed.

    Raises:
        UserError: if it is not there.
    """
    installed = Path(str(files("recbole_cadmr.embedded"))), Path(str(files("recbole"))) / "dataset_example"
    usual = [Path(default).absolute(), *installed]
    places = usual if data_path is None else [Path(data_path).absolute()]
    if data_path is not None and not places[0].is_dir():
        raise UserError(f"there is no folder {places[0]}; data_path must name the folder that the data sets lie in")
    for place in places:
        if (place / name).is_dir():
            return place, place / name
    lacking = f"there is no data set '{name}' in {places[0]}"
    if elsewhere := next((place for place in usual if (place / name).is_dir()), None):
        raise UserError(f"{lacking}; leave out `data_path` for the one in {elsewhere}, or name its place")
    here = {path.name for place in places for path in data_sets_in(place)}
    near = "" if name in catalog() else did_you_mean(name, sorted(here | set(catalog())))
    raise UserError(f"{lacking}{near}; {how_to_get(name)}, or name its place with `data_path`")


def settings_of_data(file: Path, declared: Container[str]) -> dict[str, Any]:
    """The settings in the NAME.yaml of a data set; :class:`UserError` if one does not concern the data."""
    values = read_yaml(file)
    other = next((name for name in values if name in declared and name not in _OF_DATA), None)
    if other is not None:
        raise UserError(
            f"{file} may only say how the data are read, split and evaluated on, which {other} does not; give it "
            f"as --{other}=VALUE or in a file of --config_files"
        )
    return values

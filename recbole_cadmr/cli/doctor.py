"""``doctor``: a look at the installation: versions, workarounds in use, devices, data sets at hand."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path

from recbole_cadmr.compat import workarounds
from recbole_cadmr.compat.recbole import RECBOLE
from recbole_cadmr.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``doctor``."""
    parser.add_argument("--data_path", help="folder of the data sets (default: dataset)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; exit status 1 if something does not fit."""
    report, sound = doctor(arguments.data_path)
    print(report)
    return 0 if sound else 1


def doctor(data_path: str | None = None) -> tuple[str, bool]:
    """A report for the screen, and whether everything fits.

    Args:
        data_path: folder of the data sets to list beside the embedded one; ``dataset``, if there, if not given.

    Raises:
        UserError: if a folder is given that is not there.
    """
    import torch
    from packaging.requirements import Requirement

    from recbole_cadmr.config.data_sets import data_sets_in

    root = Path(data_path or "dataset")
    if data_path and not root.is_dir():
        raise UserError(f"there is no folder {root}; give the folder of the data sets as `data_path`")
    embedded = Path(str(files("recbole_cadmr.embedded")))
    data_sets = {folder.name: folder for place in (embedded, root) for folder in data_sets_in(place)}
    lines, sound = ["Versions"], True
    # From Python 3.12 on RecBole comes without its requirements, so that it cannot be among this package's.
    stated = map(Requirement, [f"recbole=={RECBOLE}", *(requires("recbole_cadmr") or [])])
    apply_here = (each for each in stated if not each.marker or each.marker.evaluate({"extra": ""}))
    for requirement in {each.name: each for each in apply_here}.values():
        try:
            installed = version(requirement.name)
            fits = requirement.specifier.contains(installed, prereleases=True)
        except PackageNotFoundError:
            installed, fits = "missing", False
        sound &= fits
        required = "" if fits else f"  does not fit: {requirement.specifier or 'any version'} is needed"
        lines.append(f"  {requirement.name:<24}{installed}{required}")
    lines += ["", "Workarounds for upstream bugs"]
    lines += [f"  {name:<24}{state}" for name, state in workarounds.status().items()]
    lines += ["", "Devices", f"  {'cpu':<24}{torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        lines.append(f"  {f'cuda:{index}':<24}{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    lines += ["", "Data sets"]
    lines += [f"  {name:<24}{folder}" for name, folder in sorted(data_sets.items())]
    lines += ["", "Everything fits." if sound else "Something does not fit; see above."]
    return "\n".join(lines), sound

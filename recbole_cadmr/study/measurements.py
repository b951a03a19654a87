"""What is measured on a trained model beside its test metrics: by name, and kept beside the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import RunSpec
from recbole_cadmr.files import sha256_of, write_json
from recbole_cadmr.runs.folder import RESULT, scratch_folder
from recbole_cadmr.runs.session import Session, load_session
from recbole_cadmr.schema import read_json
from recbole_cadmr.study import departures, known_factors, two_domains
from recbole_cadmr.training.checkpoint import BEST

Measured = dict[str, dict[str, float | None]]  # by departure ("" for the protocol itself) and figure


@dataclass(frozen=True)
class Measurement:
    """Something that is measured on a trained model.

    Attributes:
        measure: figures of the model of a session, by departure.
        figures: those that no run has by itself.
    """

    measure: Callable[[Session], Measured]
    figures: tuple[str, ...] = ()


MEASUREMENTS = {
    "departures": Measurement(departures.measure),
    "departures in good faith": Measurement(departures.measure_in_good_faith),
    "known factors": Measurement(known_factors.measure, known_factors.FIGURES),
    "two domains": Measurement(two_domains.measure, two_domains.FIGURES),
}


def measured_on(cell: RunSpec, name: str) -> Measured:
    """What a measurement says of a finished run; measured once."""
    return _kept(cell, name.replace(" ", "_"), MEASUREMENTS[name].measure)


def measured_as(cell: RunSpec, source: Path, dataset: str) -> dict[str, float | None]:
    """The test metrics of a run on altered parts, on the parts of the data set ``dataset`` in the folder ``source``."""
    return _kept(cell, "original_parts", lambda session: {"": departures.on_parts_of(session, source, dataset)})[""]


def _kept(cell: RunSpec, name: str, measure: Callable[[Session], Measured]) -> Measured:
    """Beside the run, under the hash of the result that it belongs to."""
    file = cell.folder / f"{name}-{sha256_of(cell.run / RESULT)[:8]}.json"
    if not file.is_file():
        print(f"{cell.folder.name}: {name.replace('_', ' ')}", flush=True)
        with scratch_folder() as scratch:
            session = load_session(cell.run / BEST, scratch, cell.model_spec.config.data_root)
            write_json(file, measure(session))
    try:
        return read_json(file, Measured)
    except UserError as error:
        raise UserError(f"{error}; remove it to measure again") from error

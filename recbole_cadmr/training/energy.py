"""What a run takes of energy, estimated by the package codecarbon where it is asked for, without a network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.formatting import kilograms, kilowatt_hours
from recbole_cadmr.training.contents import Energy

_log = logging.getLogger("recbole_cadmr")
_meters: list[_Meter] = []  # that run in this process, the latest last


def refuse_unmeasurable(energy: bool | str) -> None:
    """Raise :class:`UserError` if energy is to be measured and cannot be, or not for that country."""
    if not energy:
        return
    if find_spec("codecarbon") is None:
        raise UserError("energy needs the package codecarbon; install recbole_cadmr[energy], or leave it out")
    if isinstance(energy, str):
        from codecarbon.input import DataSource

        known = DataSource().get_global_energy_mix_data()
        if energy not in known:
            near = did_you_mean(energy, known)
            raise UserError(
                f"energy: there is no country {energy} whose mix of power is known{near}; give the three letters "
                f"of its ISO code, such as DEU, or True for the energy alone"
            )


@contextmanager
def measuring(energy: bool | str) -> Iterator[None]:
    """Measure the energy of this process, and of those it starts, within.

    Args:
        energy: as of the setting: False for nothing, True, or the three letters of the country.

    Raises:
        UserError: as of :func:`refuse_unmeasurable`.
    """
    refuse_unmeasurable(energy)
    if not energy:
        yield
        return
    meter = _Meter(energy if isinstance(energy, str) else None)
    _meters.append(meter)
    try:
        yield
    finally:
        _meters.remove(meter)
        meter.stop()


def energy_now() -> Energy | None:
    """What has been measured in this process so far; None where nothing is."""
    return _meters[-1].read() if _meters else None


def energy_between(start: Energy | None, now: Energy | None, before: Energy | None = None) -> Energy | None:
    """The energy from one reading to another, and what had been used ``before``; None if either reading is unknown."""
    if start is None or now is None:
        return None
    used = _combined(now, start, -1)
    return used if before is None else _combined(used, before, 1)


def _combined(one: Energy, other: Energy, sign: int) -> Energy:
    """The sum or difference of two; the CO2 of a part that is unknown is so of the whole."""
    kg, other_kg = one["kg_co2"], other["kg_co2"]
    return {
        "kwh": one["kwh"] + sign * other["kwh"],
        "cpu_kwh": one["cpu_kwh"] + sign * other["cpu_kwh"],
        "gpu_kwh": one["gpu_kwh"] + sign * other["gpu_kwh"],
        "memory_kwh": one["memory_kwh"] + sign * other["memory_kwh"],
        "kg_co2": None if kg is None or other_kg is None else kg + sign * other_kg,
        "country": one["country"],
        "source": one["source"],
    }


def in_words(energy: Energy) -> str:
    """What a run took, in a line."""
    parts = {"processors": energy["cpu_kwh"], "GPUs": energy["gpu_kwh"], "memory": energy["memory_kwh"]}
    shares = ", ".join(f"{name} {kilowatt_hours(part)}" for name, part in parts.items() if part)
    kg = "" if energy["kg_co2"] is None else f"; {kilograms(energy['kg_co2'])} of CO2 ({energy['country']})"
    return f"energy {kilowatt_hours(energy['kwh'])} ({shares}){kg}; by {energy['source']}"


class _Meter:
    """A tracker of codecarbon's that writes nothing, and hands over what it has measured."""

    def __init__(self, country: str | None) -> None:
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # it says much, and on standard error
        from codecarbon import OfflineEmissionsTracker, __version__

        self._country, self._source = country, f"codecarbon {__version__}"
        self._last: Any = None
        # Its output handler is whatever has these methods. Files, its own server and others' are not to be written to.
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=country,
            tracking_mode="process",
            output_methods=[],
            output_handlers=[self],
            emissions_endpoint=None,
            electricitymaps_api_token=None,
            allow_multiple_runs=True,
            log_level="critical",
        )
        self._tracker.start()

    def out(self, total: Any, _: Any) -> None:
        """Called by the tracker with what has been measured since its start."""
        self._last = total

    def live_out(self, total: Any, _: Any) -> None:
        """Called by the tracker now and then."""

    def exit(self) -> None:
        """Called by the tracker at its end."""

    def read(self) -> Energy | None:
        """What has been measured until now; None if nothing could be."""
        self._tracker.flush()
        if self._last is None:
            _log.warning("codecarbon could measure nothing here; energy stays unknown")
            return None
        return {
            "kwh": self._last.energy_consumed,
            "cpu_kwh": self._last.cpu_energy,
            "gpu_kwh": self._last.gpu_energy,
            "memory_kwh": self._last.ram_energy,
            "kg_co2": None if self._country is None else self._last.emissions,
            "country": self._country,
            "source": self._source,
        }

    def stop(self) -> None:
        """End its threads."""
        self._tracker.stop()

"""What a run takes of energy is counted over all its sessions; codecarbon itself is asked where it is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training import energy
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.energy import energy_between
from tests.micro import PAIRS, write_micro

SETTINGS = {**PAIRS, "epochs": 5, "embedding_size": 4, "use_gpu": False, "tracker": "none"}
installed = pytest.mark.skipif(find_spec("codecarbon") is None, reason="needs codecarbon, of the extra energy")


def reading(kwh, kg=None, country=None):
    parts = {"cpu_kwh": kwh / 2, "gpu_kwh": kwh / 4, "memory_kwh": kwh / 4}
    return {"kwh": kwh, **parts, "kg_co2": kg, "country": country, "source": "a test"}


def test_energy_is_that_between_two_readings_and_before():
    start, now, before = reading(1.0, 0.5, "DEU"), reading(5.0, 2.0, "DEU"), reading(8.0, 4.0, "DEU")
    assert energy_between(start, now) == reading(4.0, 1.5, "DEU")
    assert energy_between(start, now, before) == reading(12.0, 5.5, "DEU")
    assert energy_between(start, now, reading(8.0)) == reading(12.0, None, "DEU")  # the CO2 of a part is unknown
    assert energy_between(None, now) is None is energy_between(start, None, before)


class Counted:
    """A meter that shows how many epochs have begun."""

    kwh = 0.0

    def __init__(self, country):
        self.country, Counted.kwh = country, 0.0

    def read(self):
        return reading(Counted.kwh, Counted.kwh / 2, self.country)

    def stop(self):
        pass


class Epochs(TrainingCallback):
    def __init__(self, cut=None):
        self.cut = cut

    def on_epoch_start(self, trainer, epoch):
        Counted.kwh += 1
        if epoch == self.cut:
            trainer.save_state()
            raise KeyboardInterrupt


def test_the_sessions_of_a_run_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "_Meter", Counted)
    monkeypatch.setattr(energy, "refuse_unmeasurable", lambda _: None)
    monkeypatch.setattr("recbole_cadmr.runs.train.refuse_unmeasurable", lambda _: None)
    data, runs = str(write_micro(tmp_path / "dataset")), {}
    settings = {**SETTINGS, "data_path": data, "energy": "deu", "settings_schedule": {2: {"learning_rate": 0.01}}}
    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        recbole_cadmr.train("BPR", "micro", output=folder, settings=settings, callbacks=[Epochs(cut=3)])
    runs["cut"] = resume(folder, callbacks=[Epochs()]).result
    assert runs["cut"]["energy"] == reading(6.0, 3.0, "DEU")  # 5 epochs, one of which began twice
    runs["seed 7"] = recbole_cadmr.train(
        "BPR", "micro", output=tmp_path / "7", settings={**settings, "seed": 7}, callbacks=[Epochs()]
    ).result
    assert runs["seed 7"]["energy"]["kwh"] == 5.0
    plain = {name: value for name, value in settings.items() if name != "energy"}
    other = recbole_cadmr.train("BPR", "micro", output=tmp_path / "plain", settings={**plain, "embedding_size": 2})
    assert "energy" not in other.result
    head, _, row, last = results_table([folder, tmp_path / "7", other.folder], ["recall@2"]).splitlines()
    assert head.endswith("| CPU time | energy | CO2 |")
    assert row.endswith("| 5.5 kWh | 2.75 kg |") and last.endswith(" s | – | – |")


def test_what_cannot_be_measured_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="three letters of a country, such as DEU, not 'Germany'"):
        Config("BPR", "synthetic", settings={"energy": "Germany"})
    monkeypatch.setattr(energy, "find_spec", lambda _: None)
    folder = tmp_path / "run"
    assert main(["train", "--model=BPR", "--energy=True", f"--output={folder}"]) == 2
    expected = "error: energy needs the package codecarbon; install recbole_cadmr[energy], or leave it out\n"
    assert capsys.readouterr().err == expected and not folder.exists()


@installed
def test_codecarbon_measures_a_run_and_knows_countries(tmp_path, capfd):
    data = str(write_micro(tmp_path / "dataset"))
    settings = {**SETTINGS, "data_path": data, "energy": "DEU"}
    run = recbole_cadmr.train("BPR", "micro", output=tmp_path / "run", settings=settings)
    found = json.loads((tmp_path / "run" / "result.json").read_text())["energy"]
    assert found == run.result["energy"] and found["source"].startswith("codecarbon 3.")
    parts = sum(found[f"{part}_kwh"] for part in ("cpu", "gpu", "memory"))
    assert found["kwh"] == pytest.approx(parts) and parts > 0
    assert 0.1 < found["kg_co2"] / found["kwh"] < 0.8  # kg a kWh, of Germany's power
    assert "codecarbon" not in capfd.readouterr().err and not list(tmp_path.glob("emissions*"))
    with pytest.raises(UserError, match="no country DEX .*did you mean .*DEU"):
        energy.refuse_unmeasurable("DEX")

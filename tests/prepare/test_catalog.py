"""Data sets known by name: the message that says how to get one, and the option that gets it."""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.data.prepare import source
from recbole_cadmr.data.prepare.catalog import catalog
from recbole_cadmr.data.prepare.downloads import release_info
from recbole_cadmr.data.prepare.options import Options
from tests.extract.networks import minilm
from tests.local_server import serve
from tests.prepare.raw import TITLES, write_amazon_2014


def test_every_known_set_has_a_command_that_its_source_takes():
    for entry in catalog().values():
        kind, *arguments = entry["prepare"]
        parser = argparse.ArgumentParser(exit_on_error=False)
        source(kind).add_arguments(parser)
        options = parser.parse_args([*arguments, *(["--download"] if entry["download"] else [])])
        assert vars(options).get("download", False) is entry["download"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("baby", "get it with 'python -m recbole_cadmr prepare amazon --category Baby --download', or give --download"),
        ("microlens50k", "get it with 'python -m recbole_cadmr prepare microlens --source FOLDER'"),
        ("afk", "get it with 'python -m recbole_cadmr prepare cross-domain --source FOLDER --name afk'"),
        ("bbaby", "did you mean baby or abe?"),
        ("my_shop", "python -m recbole_cadmr prepare files --inter FILE --name my_shop"),
    ],
)
def test_a_set_that_is_not_there_names_the_command_that_gets_it(tmp_path, capsys, name, said):
    assert main(["train", f"--dataset={name}", f"--data_path={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: there is no data set '{name}' in {tmp_path}") and said in error


def test_a_set_that_lies_elsewhere_names_the_place(tmp_path, capsys):
    assert main(["train", "--dataset=baby", f"--data_path={tmp_path}"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert main(["train", "--dataset=synthetic", f"--data_path={tmp_path}"]) == 2
    installed = Path(str(files("recbole_cadmr.embedded")))
    assert capsys.readouterr().err == (
        f"error: there is no data set 'synthetic' in {tmp_path}; leave out --data_path for the one in {installed}, "
        f"or name its place\n"
    )


def test_download_that_cannot_be(tmp_path, capsys):
    assert main(["train", "--dataset=tiktok", "--download", f"--data_path={tmp_path}"]) == 2
    assert "tiktok cannot be downloaded here; get it with" in capsys.readouterr().err
    assert main(["train", "--dataset=nothing", "--download", f"--data_path={tmp_path}"]) == 2
    assert "--download does not know the data set 'nothing'" in capsys.readouterr().err
    assert main(["train", "--download"]) == 2
    assert "--download needs --dataset" in capsys.readouterr().err


def test_one_command_gets_a_set_with_real_text_vectors_and_trains_on_it(tmp_path, monkeypatch):
    source = write_amazon_2014(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Options.__dataclass_fields__["text_model"], "default", str(minilm()))
    with serve() as site:
        entry = {**release_info("amazon-2014"), "base": site.address}
        monkeypatch.setattr("recbole_cadmr.data.prepare.downloads.release_info", lambda release: entry)
        for file in entry["files"].values():
            path = file["path"].format(category="Baby")
            site.files[f"/{path}"] = (source / path.rpartition("/")[2]).read_bytes()
        train = ["train", "--dataset=baby", "--download", "--output=run", "--topk=[1,2]", "--valid_metric=Recall@2"]
        assert main([*train, "--pretrain_epochs=2", "--epochs=2", "--show_progress=False"]) == 0
        asked = len(site.sent)
        assert (
            main(["train", "--dataset=baby", "--download", "--model=Pop", "--topk=[1]", "--valid_metric=Recall@1"]) == 0
        )
        assert len(site.sent) == asked == 3  # what is there is not fetched again
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["test_result"]) >= {"recall@1", "recall@2"}
    card = (tmp_path / "dataset" / "baby" / "dataset_card.md").read_text()
    weights = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (
        f"| text | {len(TITLES) - 1} (80.0%) | 384-D float32 | none | model model, SHA-256 of its weights {weights}"
        in card
    )
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == [".raw", "baby"]

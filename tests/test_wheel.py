"""The package as others get it: a wheel, installed away from the checkout and run in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed")


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """What ``python ARGUMENTS`` prints, with ``path`` as the only addition to its import path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the checkout in which somebody has prepared a data set."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("recbole_cadmr", "properties", "dataset/synthetic", "dataset/two_domains"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=leave_out)
    for name in ("setup.py", "README.md", "LICENSE", "dataset/__init__.py"):
        shutil.copy(CHECKOUT / name, source / name)
    (source / "dataset" / "prepared").mkdir()
    (source / "dataset" / "prepared" / "prepared.train.inter").write_text("user_id:token\titem_id:token\n")
    build = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    python(*build, str(folder), str(source), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_every_module(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    modules = {file.relative_to(CHECKOUT).as_posix() for file in (CHECKOUT / "recbole_cadmr").rglob("*.py")}
    assert packed - {"recbole_cadmr/properties/__init__.py", "recbole_cadmr/embedded/__init__.py"} == modules


def test_wheel_holds_settings_templates_and_the_embedded_set_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {
        f"recbole_cadmr/{name}/{file.relative_to(CHECKOUT / folder).as_posix()}"
        for folder, name, pattern in (
            ("properties", "properties", "**/*.yaml"),
            ("dataset", "embedded", "synthetic/*"),
            ("dataset", "embedded", "two_domains/*"),
        )
        for file in (CHECKOUT / folder).glob(pattern)
    }
    packed |= {file.relative_to(CHECKOUT).as_posix() for file in (CHECKOUT / "recbole_cadmr/templates").rglob("*.*")}
    assert "recbole_cadmr/templates/page.html.j2" in packed
    assert "recbole_cadmr/templates/serve/page.js" in packed
    assert "recbole_cadmr/properties/overall.yaml" in packed
    assert "recbole_cadmr/embedded/synthetic/synthetic.text.npy" in packed
    assert packed <= names
    data = {name for name in names if name.startswith("recbole_cadmr/embedded/")} - packed
    assert data == {"recbole_cadmr/embedded/__init__.py"}
    tops = {name.split("/")[0] for name in names}
    assert tops == {"recbole_cadmr", "recbole_cadmr-0.1.0.dist-info"}


def test_wheel_has_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read("recbole_cadmr-0.1.0.dist-info/entry_points.txt").decode()
    assert "recbole-cadmr = recbole_cadmr.cli.main:main" in entry_points


def test_installed_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    installed, empty, output = tmp_path / "installed", tmp_path / "empty", tmp_path / "run"
    empty.mkdir()
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(installed))
    python(*install, str(wheel), cwd=empty)
    place = python("-c", "import recbole_cadmr; print(recbole_cadmr.__file__)", cwd=empty, path=installed)
    assert Path(place.strip().splitlines()[-1]).is_relative_to(installed)
    train = ("-m", "recbole_cadmr", "train", "--epochs=1", "--pretrain_epochs=1", f"--output={output}")
    python(*train, cwd=empty, path=installed)
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    assert 0 < result["test_result"]["recall@20"] < 1
    assert list(empty.iterdir()) == []

"""The package as others get it: a wheel out of an sdist, away from the checkout, run in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import recbole_cadmr
from recbole_cadmr.compat.recbole import RECBOLE

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
def sdist(tmp_path_factory):
    """An sdist of a copy of the checkout in which somebody has prepared a data set."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("recbole_cadmr", "properties", "dataset/synthetic", "dataset/two_domains"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=leave_out)
    (source / "tests").mkdir()
    for name in ("setup.py", "MANIFEST.in", "README.md", "LICENSE", "dataset/__init__.py", "tests/test_wheel.py"):
        shutil.copy(CHECKOUT / name, source / name)
    (source / "dataset" / "prepared").mkdir()
    (source / "dataset" / "prepared" / "prepared.train.inter").write_text("user_id:token\titem_id:token\n")
    python("-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})", cwd=source)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """A wheel, built from the sdist alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    python(*build, str(folder), str(sdist), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder))
    python(*install, str(wheel), cwd=folder)
    return folder


def test_sdist_holds_what_is_installed_and_no_data_of_others(sdist):
    with tarfile.open(sdist) as archive:
        tops = {"/".join(name.split("/")[1:3]) for name in archive.getnames()}
    assert sdist.name == f"recbole_cadmr-{recbole_cadmr.__version__}.tar.gz"
    assert {"setup.py", "README.md", "LICENSE", "dataset/synthetic", "recbole_cadmr/py.typed"} <= tops
    assert not any(top.startswith(("tests", "docs")) for top in tops)
    assert {top for top in tops if top.startswith("dataset/")} == {
        "dataset/__init__.py",
        "dataset/synthetic",
        "dataset/two_domains",
    }


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
    packed.add("recbole_cadmr/py.typed")
    assert "recbole_cadmr/templates/page.html.j2" in packed
    assert "recbole_cadmr/templates/serve/page.js" in packed
    assert "recbole_cadmr/properties/overall.yaml" in packed
    assert "recbole_cadmr/embedded/synthetic/synthetic.text.npy" in packed
    assert packed <= names
    data = {name for name in names if name.startswith("recbole_cadmr/embedded/")} - packed
    assert data == {"recbole_cadmr/embedded/__init__.py"}
    assert {name for name in names if name.endswith((".md", ".ipynb"))} <= packed  # cards of the sets, no documentation
    tops = {name.split("/")[0] for name in names}
    assert tops == {"recbole_cadmr", f"recbole_cadmr-{recbole_cadmr.__version__}.dist-info"}


def test_wheel_has_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read(f"recbole_cadmr-{recbole_cadmr.__version__}.dist-info/entry_points.txt").decode()
    assert "recbole-cadmr = recbole_cadmr.cli.main:main" in entry_points


@pytest.fixture(scope="module")
def needed(wheel):
    """A function of a Python's version to the versions that it is asked to have, by package."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"recbole_cadmr-{recbole_cadmr.__version__}.dist-info/METADATA").decode()
    requirements = [Requirement(line) for line in re.findall("^Requires-Dist: (.+)$", metadata, re.MULTILINE)]

    def versions(python_version):
        environment = {"python_version": python_version, "extra": ""}
        applying = [each for each in requirements if not each.marker or each.marker.evaluate(environment)]
        assert len({each.name for each in applying}) == len(applying)
        return {each.name: each.specifier for each in applying}

    return versions


def test_each_python_asks_for_what_it_can_have(needed):
    old, new = needed("3.11"), needed("3.12")
    assert needed("3.10") == old and needed("3.13") == needed("3.14") == new
    assert old["recbole"] == SpecifierSet(f"=={RECBOLE}")
    assert old["numpy"] == SpecifierSet("<2") and old["pandas"] == SpecifierSet("<3")
    assert new["numpy"] == SpecifierSet(">=2,<3") and new["pandas"] == SpecifierSet(">=3,<4") and "thop" in new
    assert "recbole" not in new  # pip would install all that it asks for
    assert f"pip install --no-deps recbole=={RECBOLE}" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_locked_versions_are_ones_that_are_asked_for(needed):
    lines = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = map(Requirement, (line for line in lines if not line.startswith("#")))
    locked = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    asked = needed("3.11")
    assert [name for name in asked if not asked[name].contains(locked[canonicalize_name(name)])] == []


def test_installed_wheel_trains_in_an_empty_folder(installed, tmp_path):
    empty, output = tmp_path / "empty", tmp_path / "run"
    empty.mkdir()
    code = "import recbole_cadmr as r; print(*dir(r)); print(r.__version__); print(r.__file__)"
    names, version, place = python("-c", code, cwd=empty, path=installed).strip().splitlines()
    assert Path(place).is_relative_to(installed)
    assert version == recbole_cadmr.__version__
    assert [name for name in names.split() if not name.startswith("__")] == sorted(
        name for name in recbole_cadmr.__all__ if not name.startswith("__")
    )
    train = ("-m", "recbole_cadmr", "train", "--epochs=1", "--pretrain_epochs=1", f"--output={output}")
    python(*train, cwd=empty, path=installed)
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    assert 0 < result["test_result"]["recall@20"] < 1
    assert list(empty.iterdir()) == []


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_sees_the_types_of_an_installed_wheel(installed, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import recbole_cadmr\n"
        "run = recbole_cadmr.train('CADMR', settings={'epochs': 5})\n"
        "reveal_type(run.checkpoint)\n"
        "recbole_cadmr.evaluate(run.checkpoint, topk='ten')\n"
    )
    # All that the package imports would take a minute to read.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nfollow_imports = skip\n[mypy-recbole_cadmr,recbole_cadmr.runs.*]\nfollow_imports = normal\n"
    )
    # Of an installed package, where py.typed counts, as of none on MYPYPATH.
    venv.create(tmp_path / "venv")
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    (packages / "recbole_cadmr").symlink_to(installed / "recbole_cadmr")
    (executable,) = (tmp_path / "venv").glob("*/python")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", f"--python-executable={executable}", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 'script.py:3: note: Revealed type is "pathlib.Path"' in done.stdout
    assert 'script.py:4: error: Argument "topk" to "evaluate" has incompatible type "str"' in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Found 1 error in 1 file")

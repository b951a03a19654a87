"""``python`` of a reader in the tests: commands of this package, made quick, go to a warm Python, others to a real one.

What is trained is trained for an epoch, what is searched has two trials, what is repeated has one seed; placeholders in
capitals (``--output DIR``) are new folders each time. Everything else is as the page has it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

# In place of what is given; where nothing is given, too, but for a folder that is resumed.
_FEWER = {
    "tune": {"trials": "2"},
    "benchmark": {"seeds": "1,"},
    "study": {"seeds": "2", "datasets": "baby"},
}
# Unless the page gives them: of all that is trained, and of models by name and preset.
_QUICK = {"epochs": 1}
_QUICK_MODELS = {
    "CADMR": {"pretrain_epochs": 1},
    "CADMR@best": {"attention_trials": 1, "linear_settings": {"adaptive_fits": 1}},
    "LinearCADMR": {"adaptive_fits": 1},
}


def quick_settings(label: str) -> dict[str, Any]:
    """Settings of a model by name and, behind an @, preset."""
    return {**_QUICK, **_QUICK_MODELS.get(label.partition("@")[0], {}), **_QUICK_MODELS.get(label, {})}


def quick(arguments: list[str]) -> list[str]:
    """The arguments of a command that takes a second or so where those given take longer."""
    arguments = list(arguments)
    command = arguments[0]
    if command == "prepare":
        _prepare(arguments)
    if command not in ("train", "benchmark", "tune", "study") or any(
        _given(arguments, name) is not None for name in ("resume", "final", "config_files", "list")
    ):
        return arguments
    output = _given(arguments, "output")
    if output is not None and re.fullmatch("[A-Z]+", output):
        shutil.rmtree(output, ignore_errors=True)
    for name, value in _FEWER.get(command, {}).items():
        _put(arguments, name, value)
    if _given(arguments, "tune") is not None:
        _put(arguments, "tune", "2")
    models = (_given(arguments, "models") or "").split(",")
    if command == "study" and not arguments[1].endswith(".yaml"):
        models = ["CADMR"]  # which those of the package are about
    if command in ("train", "tune"):
        preset = _given(arguments, "preset")
        models = [(_given(arguments, "model") or "CADMR") + (f"@{preset}" if preset else "")]
    if _given(arguments, "mmrec_config") is not None:
        return arguments  # which say it
    _add(arguments, "", _QUICK)
    for model in models:
        own = {name: value for name, value in quick_settings(model).items() if name not in _QUICK}
        _add(arguments, f"{model}." if command == "benchmark" else "", own)
    return arguments


def _prepare(arguments: list[str]) -> None:
    """A small model reads pictures, a database is a file; a data set that is made was not there before."""
    if _given(arguments, "images") is not None and _given(arguments, "image_model") is None:
        _put(arguments, "image_model", "models/dinov2-small")
    if _given(arguments, "url") is not None:
        _put(arguments, "url", "sqlite:///shop.db")
    source = next((_given(arguments, name) for name in ("name", "source", "inter") if _given(arguments, name)), "")
    name = Path(source).name.partition(".")[0]
    if (mark := Path("dataset", f".given-{name}")).exists() and arguments[1] in ("files", "mmrec", "sql"):
        shutil.rmtree(Path("dataset", name))
        mark.unlink()


def _given(arguments: list[str], name: str) -> str | None:
    for place, argument in enumerate(arguments):
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
        if argument == f"--{name}":
            return arguments[place + 1] if place + 1 < len(arguments) else ""
    return None


def _put(arguments: list[str], name: str, value: str) -> None:
    """Give an option of one value, in place of the value that it has."""
    for place in range(len(arguments) - 1, -1, -1):
        if arguments[place].startswith(f"--{name}="):
            del arguments[place]
        elif arguments[place] == f"--{name}":
            del arguments[place : place + 2]
    arguments.append(f"--{name}={value}")


def _add(arguments: list[str], prefix: str, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if _given(arguments, name) is None and _given(arguments, prefix + name) is None:
            arguments.append(f"--{prefix}{name}={json.dumps(value)}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import warm_python

    words = sys.argv[1:]
    if words[:2] == ["-m", "recbole_cadmr.cli.child"]:  # a cell of a benchmark
        given = words[2:]
    elif words[:2] == ["-m", "recbole_cadmr"]:
        given = quick(words[2:])
    elif words[:1] == ["run_recbole_cadmr.py"]:
        given = quick(["train", *words[1:]])
    else:
        os.execv(sys.executable, [sys.executable, *words])
    sys.exit(warm_python.ask(os.environ["WARM_SOCKET"], given))

"""The API reference: which modules stand on which page. mkdocstrings reads their docstrings, and imports nothing."""

from __future__ import annotations

import ast
from pathlib import Path

_PACKAGE = "recbole_cadmr"


def pages(root: Path) -> dict[str, str]:
    """The pages of the reference, each a heading, a sentence and what mkdocstrings puts in."""
    package = root / _PACKAGE
    return {
        "api/index.md": _page(
            "The package",
            "What `import recbole_cadmr` offers. This is the public part, by which versions are counted "
            "([how](../contributing.md#versions)); what the other pages here hold may change in any version.",
            _modules(*public_names(package), "recommender.recommender.Recommender"),
        ),
        "api/own_models.md": _page(
            "For models of your own",
            "What a class derives from and is given: [how to write one](../own_models.md).",
            _modules("models.contract", "models.base", "models.multimodal", "models.item_weights")
            + _modules("data.dataset", "data.modality", "data.graph", "data.rows", "training.callbacks"),
        ),
        "api/models.md": _page(
            "Models",
            "What each computes; with their papers and figures they are listed [here](../reference/models.md).",
            _modules(*(f"models.{name.lower()}.{name}" for name in _models(root))),
        ),
        "api/layers.md": _page("Layers", "What models are made of.", _modules(*_files(package, "layers"))),
        "api/data.md": _page(
            "Data",
            "Where `prepare` reads from, and what every source has in common; and how vectors are made and read.",
            _modules(*_files(package, "data/prepare"), "extract.registry", *_files(package, "data/vector_files")),
        ),
        "api/results.md": _page(
            "Results",
            "What a run leaves, how lists are measured and compared.",
            _modules("runs.result", "runs.folder", "runs.history")
            + _modules("reports.frame", "reports.collect", "reports.measure", "reports.significance"),
        ),
    }


def public_names(package: Path) -> list[str]:
    """The names in the ``__all__`` of a package, but for its version."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if name != "__version__"]
    raise ValueError(f"{package} has no __all__")


def _models(root: Path) -> list[str]:
    """The package's models, by their yaml, and the form that CADMR takes by its preset ``best``."""
    names = [file.stem for file in sorted((root / "properties" / "model").glob("*.yaml")) if "." not in file.stem]
    return sorted([*names, "SoftmaxCADMR"], key=str.lower)


def _files(package: Path, folder: str) -> list[str]:
    stems = sorted(file.stem for file in (package / folder).glob("*.py"))
    return [f"{folder.replace('/', '.')}.{stem}" for stem in stems if stem != "__init__"]


def _modules(*names: str) -> list[str]:
    return [f"{_PACKAGE}.{name}" for name in names]


def _page(title: str, about: str, identifiers: list[str]) -> str:
    return f"# {title}\n\n{about}\n\n" + "\n\n".join(map(_documented, identifiers)) + "\n"


def _documented(identifier: str) -> str:
    """What mkdocstrings is to put in; a module under its name below the package."""
    room, _, name = identifier.removeprefix(f"{_PACKAGE}.").rpartition(".")
    is_module = room and name.islower()
    return f"::: {identifier}" + (f"\n    options:\n      heading: {room}.{name}" if is_module else "")

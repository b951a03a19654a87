"""Modules of models of the user's own, imported by the place that a caller names."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender

from recbole_cadmr.errors import UserError, raised_in
from recbole_cadmr.files import read_bytes
from recbole_cadmr.models.own_source import ModelSource, described, files_of, hash_of, not_python

HOW = "a model of your own is named as FILE.py:CLASS or package.module:CLASS"
_loaded: dict[Path, str] = {}  # files that modules of this process were made from, with the hash that they had


def imported(reference: str) -> tuple[Any, ModelSource]:
    """What ``FILE.py:CLASS`` or ``package.module:CLASS`` names, and its source; the only recommender, without a class.

    Raises:
        UserError: if there is no such class, or its module fails on import.
    """
    place, colon, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if colon and not (place and name):
        raise UserError(f"cannot read {reference!r}; {HOW}")
    if place.endswith(".py") or "/" in place or os.sep in place:
        if not place.endswith(".py"):
            raise UserError(f"{place} is no Python file; {HOW}")
        path = Path(place).absolute()
        read_bytes(path)  # says what is wrong with it
        root, shown = _root_of(path), path.name
    else:
        path, root = _module_file(place, name)
        shown = place
    files = files_of(path, root)
    module = _load(path, root, files, shown)
    model = _class_of(module, name, shown)
    name = name or model.__name__
    return model, described(model, name, f"{shown}:{name}", path, root, files)


def _root_of(path: Path) -> Path:
    """The folder that a file's module is imported from: the one around its packages, if it lies in any."""
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return root


def _module_file(name: str, class_name: str) -> tuple[Path, Path]:
    """The file of a module, and the folder that it is imported from."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"cannot read {name!r}; {HOW}")
    importlib.invalidate_caches()
    try:
        with _failures(name):
            spec = importlib.util.find_spec(name)  # imports the packages that it lies in
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        package, _, last = name.rpartition(".")
        how = f"; a class in a module is named by a colon, as {package}:{last}" if package and not class_name else ""
        raise UserError(f"there is no module {name}, neither installed nor in this folder{how}")
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise UserError(f"{name} is not a module of Python source; {HOW}")
    path = Path(spec.origin).absolute()
    return path, path.parents[name.count(".") + (path.name == "__init__.py")]


def _load(path: Path, root: Path, files: Mapping[str, bytes], shown: str) -> ModuleType:
    """The module of a file; one of no package is made under a name of its own, which no other file has."""
    hashes = {root / name: hash_of(content) for name, content in files.items() if name.endswith(".py")}
    is_alone = path.parent == root
    key = hashlib.sha256(f"{path} {hashes}".encode()).hexdigest()[:12]
    name = f"own_{key}_{path.stem}" if is_alone else ".".join(path.relative_to(root).with_suffix("").parts)
    name = name.removesuffix(".__init__")
    if any(_loaded.get(file, value) != value for file, value in hashes.items()):  # edited since
        for loaded in [loaded for loaded, file in _files_of_modules() if file in hashes]:
            del sys.modules[loaded]
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    if name not in sys.modules:
        with _failures(shown, hashes), _without_bytecode():
            if is_alone:
                spec = importlib.util.spec_from_file_location(name, path)
                assert spec is not None
                module = sys.modules[name] = importlib.util.module_from_spec(spec)
                try:
                    exec(compile(files[path.name], str(path), "exec"), module.__dict__)
                except BaseException:
                    del sys.modules[name]
                    raise
            else:
                importlib.import_module(name)
    _loaded.update(hashes)
    mine = {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in hashes}
    for module_name, file in _files_of_modules():
        if module_name in mine - ({path.stem} if is_alone else set()) and file not in hashes:
            raise UserError(
                f"{shown} imports {module_name} from beside it, and {file} has been imported by that name before; "
                f"rename one of them"
            )
    return sys.modules[name]


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Import without writing bytecode, which Python takes for that of a file edited within the same second."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _files_of_modules() -> Iterator[tuple[str, Path]]:
    for name, module in list(sys.modules.items()):
        if isinstance(file := getattr(module, "__file__", None), str):
            yield name, Path(file)


def _class_of(module: ModuleType, name: str, shown: str) -> Any:
    if name:
        if not hasattr(module, name):
            raise UserError(f"{shown} has no class {name}{_there_are(module)}")
        return getattr(module, name)
    own = _recommenders(module)
    if len(own) != 1:
        what = "several recommenders" if own else "no recommender"
        raise UserError(f"{shown} has {what}{_there_are(module)}; name the class, as {shown}:CLASS")
    return own[0]


def _recommenders(module: ModuleType) -> list[type]:
    """The recommenders that a module defines."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return [c for c in classes if issubclass(c, AbstractRecommender) and c.__module__ == module.__name__]


def _there_are(module: ModuleType) -> str:
    names = [one.__name__ for one in _recommenders(module)]
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else ""


@contextmanager
def _failures(shown: str, files: Mapping[Path, str] | None = None) -> Iterator[None]:
    """Raise what the user's code raises on import as one sentence, with the line."""
    try:
        yield
    except UserError:
        raise
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError) or "null bytes" in str(error):
            raise not_python(shown, error) from error
        raise UserError(f"{shown} fails on import{_where(error, files)}") from error
    except (Exception, SystemExit) as error:
        if files is None and isinstance(error, ModuleNotFoundError) and str(error.name or "") in shown:
            raise
        raise UserError(f"{shown} fails on import{_where(error, files)}") from error


def _where(error: BaseException, files: Mapping[Path, str] | None) -> str:
    def is_theirs(frame: FrameType) -> bool:
        file = frame.f_code.co_filename
        return Path(file) in files if files is not None else file != __file__ and "importlib" not in file

    place = raised_in(error, is_theirs)
    said = str(error).strip().splitlines()
    return f"{place or ':'} {type(error).__name__}{f': {said[0][:300]}' if said else ''}"

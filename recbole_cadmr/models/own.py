"""Models of the user's own: classes that a command or a program names, and their source for other processes.

A class is imported on the word of a caller alone, who names it by ``package.module:Class``, by ``FILE.py:Class``, or
hands it over (:func:`named`). From then on this process knows it by its name. What a file says (a checkpoint, a
benchmark, a search) is a name and a hash; it imports nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path, PurePosixPath
from types import FrameType, ModuleType
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_cadmr.errors import UserError, raised_in
from recbole_cadmr.files import cache_folder, read_bytes, write_aside
from recbole_cadmr.models.registry import is_own, known_models, model_names, take_in_class

_KINDS = {
    ModelType.CONTEXT: "a context-aware model",
    ModelType.KNOWLEDGE: "a model of knowledge graphs",
    ModelType.DECISIONTREE: "a model of decision trees",
}
_NEVER_SENT = {"recbole", "recbole_cadmr", *sys.stdlib_module_names}
_HOW = "a model of your own is named as FILE.py:CLASS or package.module:CLASS"


@dataclass(frozen=True)
class ModelSource:
    """What other processes import a model of the user's own from.

    Attributes:
        name: of the class.
        reference: how it was named, without folders: ``model.py:TextMF``, ``package.module:TextMF``.
        path: of its module among ``files``; "" if this process alone has it, as of a notebook.
        files: by path, the module, what it imports from beside it, and the yaml files of settings.
        sha256: of the Python files; None if there is none to be had.
    """

    name: str
    reference: str
    path: str
    files: Mapping[str, bytes]
    sha256: str | None

    def write(self, folder: Path) -> str:
        """Write the files below ``folder``, unless they are there; the reference to name the class by.

        Raises:
            UserError: if there are none.
        """
        if not self.path:
            raise UserError(
                f"{self.name} is defined in this program alone, and other processes cannot import it from there; put "
                f"the class into a file, and name it as FILE.py:{self.name}"
            )
        for name, content in self.files.items():
            file = folder / name
            if not file.is_file() or file.read_bytes() != content:
                with write_aside(file) as temporary:
                    temporary.write_bytes(content)
        return f"{folder / self.path}:{self.name}"

    def plain(self) -> dict[str, Any]:
        """The same in plain values, for :meth:`from_plain`."""
        return {**vars(self), "files": {name: content.decode("latin-1") for name, content in self.files.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> ModelSource:
        """The inverse of :meth:`plain`."""
        files = {name: content.encode("latin-1") for name, content in values["files"].items()}
        return cls(**{**values, "files": files})


_given: dict[str, str] = {}  # how the classes were named here, folders included
_sources: dict[str, ModelSource] = {}  # by name, of the classes that the registry has taken in
_loaded: dict[Path, str] = {}  # files that modules of this process were made from, with the hash that they had


def is_reference(text: Any) -> bool:
    """Whether a text names a class of the user's own, not a model by its name."""
    return isinstance(text, str) and any(sign in text for sign in (".", ":", "/", os.sep))


def named(model: Any) -> Any:
    """The name of a model that is given by its class or by a reference to it; anything else as it is.

    The class is known by this name from now on, in place of another one.

    Raises:
        UserError: if the reference names none, its module fails on import, or the class is no model that can be
            trained here.
    """
    own: Any = model
    if isinstance(model, type):
        name = model.__name__
        if known_models().get(name) is model:
            return name
        if not is_own(model):
            return name if issubclass(model, AbstractRecommender) else _checked(model, name)
        source = _source_of(model)
    elif is_reference(model):
        own, source = _import(model)
    else:
        return model
    name = _checked(own, source.reference)
    take_in_class(own)
    _sources[name] = source
    _given[name] = f"{model}" if isinstance(model, str) else source.reference
    return name


def take_in(model: Any) -> str | None:
    """As :func:`named`, where what was trained says its model's name itself; None if no class is given.

    Raises:
        UserError: if a model of the package or of RecBole's is named, too.
    """
    if model is None:
        return None
    name = named(model)
    if name not in _sources:
        raise UserError(f"`model` names a class of your own here, as FILE.py:CLASS or package.module:CLASS, not {name}")
    return str(name)


def refuse_other(taken_in: str | None, name: str) -> None:
    """Raise :class:`UserError` if a class was given for what is of the model ``name``, which is another one."""
    if taken_in not in (None, name):
        raise UserError(f"it is a model of {name}, not of {taken_in}; leave out `model`, or give that class")


def source_of(name: str) -> ModelSource | None:
    """The source of a model of the user's own; None of any other one."""
    return _sources.get(name)


def again(option: str, names: Iterable[str]) -> str:
    """What a command that resumes has to name, of these models, as the end of its command line; "" if nothing."""
    own = ",".join(_given[name] for name in dict.fromkeys(names) if name in _given)
    return f" {option}={shlex.quote(own)}" if own else ""


def receive(source: ModelSource | None) -> None:
    """Take in a model in another process than the one that it was named in, from its source."""
    if source is not None and _sources.get(source.name) != source:
        key = hashlib.sha256("\0".join(f"{name} {_hash(content)}" for name, content in source.files.items()).encode())
        named(source.write(cache_folder() / "models" / key.hexdigest()))
        _sources[source.name] = source  # as it was named there


# References


def _import(reference: str) -> tuple[Any, ModelSource]:
    place, colon, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if colon and not (place and name):
        raise UserError(f"cannot read {reference!r}; {_HOW}")
    if place.endswith(".py") or "/" in place or os.sep in place:
        if not place.endswith(".py"):
            raise UserError(f"{place} is no Python file; {_HOW}")
        path = Path(place).absolute()
        read_bytes(path)  # says what is wrong with it
        root, shown = _root_of(path), path.name
    else:
        path, root = _module_file(place, name)
        shown = place
    files = _files(path, root)
    module = _load(path, root, files, shown)
    model = _class_of(module, name, shown)
    name = name or model.__name__
    return model, _described(model, name, f"{shown}:{name}", path, root, files)


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
        raise UserError(f"cannot read {name!r}; {_HOW}")
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
        raise UserError(f"{name} is not a module of Python source; {_HOW}")
    path = Path(spec.origin).absolute()
    return path, path.parents[name.count(".") + (path.name == "__init__.py")]


def _load(path: Path, root: Path, files: Mapping[str, bytes], shown: str) -> ModuleType:
    """The module of a file; one of no package is made under a name of its own, which no other file has."""
    hashes = {root / name: _hash(content) for name, content in files.items() if name.endswith(".py")}
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


# Sources


def _source_of(model: type) -> ModelSource:
    """The source of a class that was handed over."""
    module = sys.modules.get(model.__module__)
    reference = f"{model.__module__}:{model.__qualname__}"
    file = getattr(module, "__file__", None)
    if model.__module__ == "__main__" or not file or getattr(module, model.__name__, None) is not model:
        text = None
        with suppress(OSError, TypeError):  # of what was typed, there may be none
            text = inspect.getsource(model).encode()
        return ModelSource(model.__name__, reference, "", {}, None if text is None else _hash(text))
    path = Path(file).absolute()
    root = path.parents[model.__module__.count(".") + (path.name == "__init__.py")]
    return _described(model, model.__name__, reference, path, root, _files(path, root))


def _described(
    model: Any, model_name: str, reference: str, path: Path, root: Path, files: Mapping[str, bytes]
) -> ModelSource:
    whole = dict(files)
    for one in model.__mro__ if isinstance(model, type) else ():
        settings = settings_file(one)
        if settings is not None and settings.is_file() and settings.is_relative_to(root):
            whole[settings.relative_to(root).as_posix()] = settings.read_bytes()
    name = path.relative_to(root).as_posix()
    for folder in PurePosixPath(name).parents:
        if folder.name:  # else a file in it would be taken for one of no package
            whole.setdefault(f"{folder}/__init__.py", b"")
    texts = "\0".join(f"{PurePosixPath(file).name} {_hash(files[file])}" for file in sorted(files) if files[file])
    return ModelSource(model_name, reference, name, whole, _hash(texts.encode()))


def settings_file(model: type) -> Path | None:
    """Where the settings of a class of the user's own may be declared: ``NAME.yaml`` beside its module."""
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    return Path(file).absolute().with_name(f"{model.__name__}.yaml") if is_own(model) and file else None


def _files(path: Path, root: Path) -> dict[str, bytes]:
    """A module's file, and those below ``root`` that it imports, wherever it does, by their paths below ``root``.

    Of an installed module, those of its own package.
    """
    installed = {"site-packages", "dist-packages"} & {*root.parts}
    top = path.relative_to(root).parts[0] if installed else None
    files: dict[str, bytes] = {}
    packages = (folder / "__init__.py" for folder in path.parents if folder != root and folder.is_relative_to(root))
    waiting = [path, *(file for file in packages if file.is_file())]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(root).as_posix()
        if name in files or (top is not None and file.relative_to(root).parts[0] != top):
            continue
        files[name] = read_bytes(file)
        with _failures(file.name, {file: ""}):
            tree = ast.parse(files[name], str(file))
        for imported in _imported(tree, file.relative_to(root).parts[:-1]):
            parts = imported.split(".")
            if parts[0] not in _NEVER_SENT:
                places = (root.joinpath(*parts[:n]) for n in range(1, len(parts) + 1))
                found = (one for place in places for one in (place.with_suffix(".py"), place / "__init__.py"))
                waiting += [one for one in found if one.is_file()]
    return files


def _imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """What the import statements of a file may name as modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}".removeprefix(".") for alias in node.names)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Checks


@contextmanager
def _failures(shown: str, files: Mapping[Path, str] | None = None) -> Iterator[None]:
    """Raise what the user's code raises on import as one sentence, with the line."""
    try:
        yield
    except UserError:
        raise
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError) or "null bytes" in str(error):
            line = getattr(error, "lineno", None)
            message = getattr(error, "msg", str(error))
            raise UserError(f"{shown} is not Python{f', line {line}' if line else ''}: {message}") from error
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


def _checked(model: Any, shown: str) -> str:
    """The name of a class; :class:`UserError` unless it is a model that can be trained here."""
    base = "derive it from RecBole's GeneralRecommender or SequentialRecommender, or from a model"
    if not isinstance(model, type):
        raise UserError(f"{shown} is no class; {_HOW}")
    if not issubclass(model, AbstractRecommender):
        raise UserError(f"{shown} is no recommender; {base}")
    kind = getattr(model, "type", None)
    if kind not in (ModelType.GENERAL, ModelType.TRADITIONAL, ModelType.SEQUENTIAL):
        what = _KINDS.get(kind, "of no kind that RecBole has")
        raise UserError(f"{shown} is {what}; here, models of users and items and models of sequences are trained")
    name = model.__name__
    if name in model_names() or (resources("recbole.properties") / "model" / f"{name}.yaml").is_file():
        raise UserError(f"{shown}: there is a model {name} already; give the class another name")
    lacking = {what for what in dir(model) if _is_to_be_written(getattr(model, what, None))}
    lacking -= {"predict"} if {"predict", "full_sort_predict"} <= lacking else {"predict", "full_sort_predict"}
    if lacking:
        needs = "a model needs calculate_loss, and full_sort_predict or predict"
        raise UserError(f"{shown} has no method {' and no '.join(sorted(lacking))}; {needs}")
    try:
        inspect.signature(model).bind(None, None)
    except TypeError as error:
        own = ", ".join(inspect.signature(model).parameters)
        raise UserError(
            f"the constructor of {shown} must take (config, dataset), not ({own}); what else it needs are settings"
        ) from error
    return name


def _is_to_be_written(method: Any) -> bool:
    """Whether a method of RecBole's or of the package's does nothing but raise NotImplementedError."""
    package = str(getattr(method, "__module__", "")).partition(".")[0]
    code = getattr(method, "__code__", None)
    return package in ("recbole", "recbole_cadmr") and code is not None and code.co_names == ("NotImplementedError",)

"""The source of a model of the user's own: the files that other processes import it from, and their hash."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_bytes, write_aside
from recbole_cadmr.models.registry import is_own

_NEVER_SENT = {"recbole", "recbole_cadmr", *sys.stdlib_module_names}


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


def source_of_class(model: type) -> ModelSource:
    """The source of a class that was handed over."""
    module = sys.modules.get(model.__module__)
    reference = f"{model.__module__}:{model.__qualname__}"
    file = getattr(module, "__file__", None)
    if model.__module__ == "__main__" or not file or getattr(module, model.__name__, None) is not model:
        text = None
        with suppress(OSError, TypeError):  # of what was typed, there may be none
            text = inspect.getsource(model).encode()
        return ModelSource(model.__name__, reference, "", {}, None if text is None else hash_of(text))
    path = Path(file).absolute()
    root = path.parents[model.__module__.count(".") + (path.name == "__init__.py")]
    return described(model, model.__name__, reference, path, root, files_of(path, root))


def described(
    model: Any, model_name: str, reference: str, path: Path, root: Path, files: Mapping[str, bytes]
) -> ModelSource:
    """The source of a class of the module ``path`` below ``root``, given its :func:`files_of`."""
    whole = dict(files)
    for one in model.__mro__ if isinstance(model, type) else ():
        settings = settings_file(one)
        if settings is not None and settings.is_file() and settings.is_relative_to(root):
            whole[settings.relative_to(root).as_posix()] = settings.read_bytes()
    name = path.relative_to(root).as_posix()
    for folder in PurePosixPath(name).parents:
        if folder.name:  # else a file in it would be taken for one of no package
            whole.setdefault(f"{folder}/__init__.py", b"")
    texts = "\0".join(f"{PurePosixPath(file).name} {hash_of(files[file])}" for file in sorted(files) if files[file])
    return ModelSource(model_name, reference, name, whole, hash_of(texts.encode()))


def settings_file(model: type) -> Path | None:
    """Where the settings of a class of the user's own may be declared: ``NAME.yaml`` beside its module."""
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    return Path(file).absolute().with_name(f"{model.__name__}.yaml") if is_own(model) and file else None


def files_of(path: Path, root: Path) -> dict[str, bytes]:
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
        try:
            tree = ast.parse(files[name], str(file))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise not_python(file.name, error) from error
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


def hash_of(content: bytes) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def not_python(shown: str, error: Exception) -> UserError:
    """The sentence for a file that Python cannot parse."""
    line, message = getattr(error, "lineno", None), getattr(error, "msg", str(error))
    return UserError(f"{shown} is not Python{f', line {line}' if line else ''}: {message}")

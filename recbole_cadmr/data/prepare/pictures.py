"""Picture and sound files of items, in a folder and the folders in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
_SHOWN = 3  # examples in an error


def need_folder(folder: Path | None, option: str, nouns: str = "pictures") -> None:
    """Raise :class:`UserError` if the folder of pictures that ``option`` names is not there."""
    if folder is not None and not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the one of the {nouns} with {option}")


def find_pictures(
    folder: Path, items: Sequence[str], skipped: SkippedRows, option: str = "", names: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """Pictures of ``items``, as of :func:`find_files`."""
    return find_files(folder, items, skipped, option, names)


def find_files(
    folder: Path,
    items: Sequence[str],
    skipped: SkippedRows,
    option: str = "",
    names: Mapping[str, str] | None = None,
    suffixes: Sequence[str] = SUFFIXES,
    noun: str = "picture",
) -> dict[str, Path]:
    """Pictures, or other files, of ``items`` in ``folder`` and its subfolders, except hidden ones; by item.

    A picture is named after its item, ``ITEM.jpg`` (or another usual suffix), or as ``names`` says: a path in the
    folder, or anything that ends in the name of one file (an address, a path elsewhere). Of several pictures of an item
    the one nearest to the top counts; if several are equally near, in different folders, none does.

    Args:
        option: the one that asked for pictures; "" if they are in the default place, and may be missing.
        suffixes, noun: of the files, and what they are.

    Raises:
        UserError: if an option asked for pictures, and the folder is missing or has none of any item.
    """
    if option:
        need_folder(folder, option, f"{noun}s")
    files = _files(folder)
    by_name: dict[str, list[Path]] = {}
    for path in files:
        keys = {path.name, path.as_posix()}
        if path.suffix.lower() in suffixes:
            keys |= {path.stem, path.with_suffix("").as_posix()}
        for key in keys:
            by_name.setdefault(key, []).append(path)
    pictures: dict[str, Path] = {}
    for item in items:
        if names is None:
            candidates = [path for path in by_name.get(item, ()) if path.suffix.lower() in suffixes]
        else:
            candidates = _named(names.get(item, ""), folder, by_name)
        nearest = [path for path in candidates if len(path.parts) == len(candidates[0].parts)]
        if len(candidates) > 1:
            skipped.note(f"items with several {noun}s of their name", f"{item}: {candidates[0]}, {candidates[1]}")
        if len({path.parent for path in nearest}) > 1:
            skipped.note(f"items whose {noun}s are in several folders, so that none is taken", item)
        elif nearest:
            pictures[item] = folder / nearest[0]
    if names is not None:
        for item in _doubtful(pictures, names, folder):
            skipped.note(f"items whose {noun}s are other files of the same name, so that none is taken", names[item])
            del pictures[item]
    if option and not pictures:
        looked = [f"{item}{suffixes[0]}" if names is None else names.get(item, "") for item in items]
        raise UserError(
            f"{folder} ({option}) holds no {noun} of any item: looked for {_some(list(filter(None, looked)))}, there "
            f"are {_some([path.as_posix() for path in files])}"
        )
    reason = "" if folder.is_dir() else f" (there is no folder {folder.name})"
    skipped.note(f"items without a {noun}{reason}", n=len(items) - len(pictures))
    return pictures


def _doubtful(pictures: Mapping[str, Path], names: Mapping[str, str], folder: Path) -> list[str]:
    """Items whose cell agrees with its file only in the last name, and names another folder than the file's.

    It does if it is a path in another folder, or if cells of several folders or addresses end in this file's name.
    """
    others: dict[Path, dict[str, PurePosixPath]] = {}
    for item, file in pictures.items():
        within, path = file.relative_to(folder), PurePosixPath(names[item].replace("\\", "/"))
        roots, ends = (Path(), folder, folder.absolute()), (within, within.with_suffix(""))
        if path not in [root / end for root in roots for end in ends]:
            others.setdefault(file, {})[item] = path
    doubtful = []
    for file, cells in others.items():
        is_inside = file.parent != folder
        many = len({path.parent for path in cells.values()}) > 1
        for item, path in cells.items():
            is_of_another = is_inside and path.parent.name and not path.is_absolute() and ":" not in str(path)
            if many or is_of_another:
                doubtful.append(item)
    return doubtful


def _files(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, as relative paths; those nearest to the top first."""
    paths = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [(Path(place) / name).relative_to(folder) for name in files if not name.startswith(".")]
    return sorted(paths, key=lambda path: (len(path.parts), path))


def _named(name: str, folder: Path, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """Files that a cell of a table may mean: the path that it is, or those whose name it ends in."""
    path = PurePosixPath(name.replace("\\", "/"))
    roots = [root for root in (folder.as_posix(), folder.absolute().as_posix()) if path.is_relative_to(root)]
    within = path.relative_to(roots[0]) if roots else path
    last = path.name
    plain = unquote(last.partition("?")[0].partition("#")[0]) if "://" in name else last
    return next((by_name[key] for key in (str(within), last, plain) if key in by_name), [])


def _some(names: list[str]) -> str:
    more = f", ... ({len(names):,})" if len(names) > _SHOWN else ""
    return (", ".join(map(repr, names[:_SHOWN])) + more) if names else "no files"

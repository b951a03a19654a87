"""A data set that is there: what it holds, and its settings as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_cadmr.data.atomic import read_header, read_table
from recbole_cadmr.data.feature_file import RESERVED
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, write_text

ENDINGS = ("", ".npy", ".knn.npz")  # of the files of a modality
_LONGEST = 60  # characters of a modality's name: with that of the data set, a file's name has 255 bytes
# As tables name them; others follow by name.
_ORDER = {"text": 0, "image": 1}


@dataclass(frozen=True)
class FinishedSet:
    """A data set in a folder.

    Attributes:
        settings: of ``NAME.yaml``, {} if there is none.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, name: str) -> FinishedSet:
        """The data set ``name`` in ``folder``, which may be a copy of the one of that name.

        Raises:
            UserError: if it holds no interactions, or its yaml cannot be read.
        """
        file = folder / f"{name}.yaml"
        try:
            settings = yaml.safe_load(read_text(file)) if file.is_file() else None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise UserError(f"{name}.yaml of the data set is not valid yaml") from error
        if settings is not None and not isinstance(settings, dict):
            raise UserError(f"{name}.yaml of the data set must hold settings, 'name: value' each")
        found = cls(folder, name, settings or {})
        missing = [file.name for file in found._interaction_files() if not file.is_file()]
        if missing:
            raise UserError(f"the data set {name} has no {missing[0]}, and so no interactions")
        for setting in ("modalities", "item_graphs"):
            if not all(isinstance(entry, str) for entry in found._listed(setting)):
                raise UserError(f"{setting} of {name}.yaml must be a list of names")
        return found

    @property
    def modalities(self) -> list[str]:
        """Modalities with vectors."""
        return self._listed("modalities")

    @property
    def graphs(self) -> list[str]:
        """Modalities with a graph of nearest items."""
        return self._listed("item_graphs")

    @property
    def item_field(self) -> str:
        """What the column of items is called."""
        return str(self.settings.get("ITEM_ID_FIELD", "item_id"))

    def items(self) -> tuple[set[str], set[str]]:
        """Items with interactions, and those that are kept without any."""
        column, used = f"{self.item_field}:token", set[str]()
        for file in self._interaction_files():
            if column not in read_header(file):
                raise UserError(f"{file.name} has no column {column}")
            used.update(read_table(file, columns=[column], ids=[column])[column].cat.categories)
        if not used:
            raise UserError(f"the data set {self.name} has no interactions")
        file = self.folder / f"{self.name}.item"
        if not self.settings.get("new_items") or not file.is_file():
            return used, set()
        return used, set(read_table(file, columns=[column])[column]) - used

    def has(self, modality: str) -> bool:
        """Whether a modality is there, be it as a file alone."""
        named = modality in (*self.modalities, *self.graphs)
        return named or any(file.exists() for file in self.files(modality))

    def files(self, modality: str) -> list[Path]:
        """Where the files of a modality are, or would be."""
        return [self.folder / f"{self.name}.{modality}{ending}" for ending in ENDINGS]

    def with_modality(self, modality: str, graph: bool) -> FinishedSet:
        """The same with a modality in its settings, at its place if it is named there already."""
        graphs = self.graphs if graph else [name for name in self.graphs if name != modality]
        return self._written(_with(self.modalities, modality), _with(graphs, modality) if graph else graphs)

    def without_modality(self, modality: str) -> FinishedSet:
        """The same without a modality in its settings."""
        modalities, graphs = ([name for name in names if name != modality] for names in (self.modalities, self.graphs))
        return self._written(modalities, graphs)

    def check_name(self, modality: str) -> None:
        """Raise :class:`UserError` if a new modality cannot be called so."""
        from recbole_cadmr.data.controls import NOISE  # heavy: torch

        if not modality.isidentifier() or len(modality.encode()) > _LONGEST:
            raise UserError(
                f"a modality is called by one word of letters and digits, such as audio, not {modality!r:.99}"
            )
        if modality.lower() in RESERVED or modality == NOISE:
            raise UserError(f"a modality cannot be called '{modality}', as a data set has something else of that name")
        others = (*self.modalities, *self.graphs)
        alike = next((name for name in others if name.lower() == modality.lower() and name != modality), None)
        if alike:
            raise UserError(f"the data set has a modality '{alike}', from which '{modality}' differs in case alone")

    def _interaction_files(self) -> list[Path]:
        parts = self.settings.get("benchmark_filename")
        names = [f"{self.name}.{part}.inter" for part in parts] if isinstance(parts, list) else [f"{self.name}.inter"]
        return [self.folder / name for name in names]

    def _listed(self, setting: str) -> list[str]:
        value = self.settings.get(setting)
        return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]

    def _written(self, modalities: list[str], graphs: list[str]) -> FinishedSet:
        """The same with other settings, in the file too, whose other lines stay as they are."""
        file = self.folder / f"{self.name}.yaml"
        text = read_text(file) if file.is_file() else ""
        changed = {"modalities": modalities, **({"item_graphs": graphs} if graphs or self.graphs else {})}
        for setting, names in changed.items():
            text = _with_list(text, setting, names)
        settings = {**self.settings, **changed}
        if not _holds(text, settings):  # a file in another style, as one within braces
            raise UserError(
                f"modalities cannot be changed in {file.name} as it is written; give each setting its own line"
            )
        write_text(file, text)
        return FinishedSet(self.folder, self.name, settings)


def _holds(text: str, settings: Mapping[str, Any]) -> bool:
    try:
        return yaml.safe_load(text) == settings
    except yaml.YAMLError:
        return False


def _with(names: Sequence[str], added: str) -> list[str]:
    """``names`` with another one, if it is new, where it belongs: text, image, others by name."""
    if added in names:
        return list(names)

    def place(name: str) -> tuple[int, str]:
        return _ORDER.get(name, len(_ORDER)), name

    before = next((index for index, name in enumerate(names) if place(name) > place(added)), len(names))
    return [*names[:before], added, *names[before:]]


def _with_list(text: str, setting: str, names: Sequence[str]) -> str:
    """The text of a yaml file with a list as the value of a setting, which may be new; the rest is as it was."""
    value = yaml.safe_dump(list(names), default_flow_style=True, width=2**20).strip()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, node in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == setting:
            begin = text.index(":", key.end_mark.index) + 1
            is_block = isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value
            end = (node.value[-1] if is_block else node).end_mark.index
            return f"{text[:begin]} {value}{text[max(begin, end) :]}"
    ending = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{ending}{setting}: {value}\n"

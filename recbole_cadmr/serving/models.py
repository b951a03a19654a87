"""The models that are served, each exchanged whole when a new export of it is there."""

from __future__ import annotations

import gc
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.extract.kept import KeptEncoders
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.serving.additions import Additions
from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.metrics import Metrics
from recbole_cadmr.serving.pictures import Pictures, PictureSource
from recbole_cadmr.serving.refusal import Refused
from recbole_cadmr.serving.titles import PeopleIndex, TitleIndex

_log = logging.getLogger(__name__)
Signature = tuple[object, ...]
# The folders of an absolute path; of an address, or of "and/or", there are none.
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\s]+/)*")
Change = Callable[[Additions, Recommender], dict[str, int]]


@dataclass(frozen=True)
class ServedModel:
    """A model and what the page needs beside it; a request keeps the one that it began with.

    Attributes:
        name: what requests call it.
        version: of what was loaded.
        users: the ids of all people the model knows.
        loaded: when, seconds since 1970.
    """

    name: str
    version: str
    recommender: Recommender
    users: PeopleIndex
    titles: TitleIndex
    pictures: Pictures
    loaded: float

    @classmethod
    def of(cls, name: str, recommender: Recommender, pictures: PictureSource) -> ServedModel:
        """A loaded recommender, made ready to be asked."""
        items, titles = recommender.items, recommender.titles
        names = None if pictures.column is None else _column(recommender, pictures.column)
        index = TitleIndex(items, [titles.get(item, "") for item in items], recommender.popularity)
        found = Pictures.of(pictures, items, names)
        return cls(name, recommender.version, recommender, PeopleIndex(recommender.users), index, found, time.time())

    def after_change(self, pictures: PictureSource) -> ServedModel:
        """The same, after its recommender was told of people or items."""
        catalogue = self.recommender.catalogue
        if catalogue.n_items - 1 != len(self.titles):
            return replace(self.of(self.name, self.recommender, pictures), loaded=self.loaded)
        if catalogue.n_users - 1 != len(self.users):
            return replace(self, users=PeopleIndex(self.recommender.users))
        return self


def _column(recommender: Recommender, column: str) -> dict[str, str]:
    table = recommender.catalogue.table
    if column not in table:
        near = did_you_mean(column, map(str, table.columns))
        raise UserError(
            f"the table of items has no column '{column}' (--image_column){near}; prepare keeps the one that its own "
            f"--image_column or --keep_columns names"
        )
    return dict(zip(table.index, table[column]))


class Models:
    """All that is served, by name; the first is the one that is meant where none is named.

    Args:
        sources: checkpoint or export folder of each name.
        pictures: where pictures are.
        data_path: where data sets of checkpoints lie.
        text_model, weights: where the text model and the weights of the image model lie that encode new items, if
            that is not known.
        most_added: items and interactions of each that are kept until an export has them.
    """

    def __init__(
        self,
        sources: Mapping[str, Path],
        metrics: Metrics,
        pictures: PictureSource | None = None,
        data_path: str | None = None,
        text_model: str | None = None,
        weights: str | None = None,
        most_added: int = Limits.added,
    ) -> None:
        self._sources, self._metrics, self._data_path = dict(sources), metrics, data_path
        self._pictures = pictures or PictureSource()
        self._served: dict[str, ServedModel] = {}
        self._encoders = KeptEncoders()
        self._additions = {name: Additions(most_added, text_model, weights, self._encoders) for name in sources}
        self._errors: dict[str, str] = {}
        self._signatures: dict[str, Signature] = {}
        self._loading, self._changing = threading.Lock(), threading.Lock()

    def load(self) -> None:
        """Load all of them, for the first time.

        Raises:
            UserError: if one cannot be.
        """
        for name in self._sources:
            self._signatures[name] = self._signature(name)
            self._serve(self._loaded(name))
        _settle_memory()

    @property
    def names(self) -> list[str]:
        """Their names, the first being the one that is meant where none is named."""
        return list(self._sources)

    def get(self, name: str | None) -> ServedModel:
        """What is served under a name.

        Raises:
            Refused: if there is nothing.
        """
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise Refused(404, f"no model '{name:.100}' is served{did_you_mean(name, self._served)}")
        return self._served[name]

    def all(self) -> list[tuple[ServedModel, str | None]]:
        """What is served, and why the newest export of it is not, which does not say where anything lies."""
        return [(model, self._without_places(name)) for name, model in self._served.items()]

    def named(self, name: str | None) -> list[str]:
        """The names that a change is meant for: one, or all."""
        return self.names if name is None else [self.get(name).name]

    def changed(self) -> list[str]:
        """The names of which something else lies at the source than what was last looked at."""
        return [name for name in self._sources if self._signature(name) != self._signatures[name]]

    def reload(self, names: Sequence[str], settled: float = 0.0) -> dict[str, str]:
        """Load what lies at the sources of ``names`` now; what is served meanwhile, and if that fails, is the old one.

        Args:
            settled: seconds for which a source must not change before it is looked at, as it does while it is copied.

        Returns:
            What each came to: ``loaded``, ``changing``, or why the old one is kept.
        """
        with self._loading:
            return {name: self._reload(name, settled) for name in names}

    def _reload(self, name: str, settled: float) -> str:
        signature = self._signature(name)
        if settled:
            time.sleep(settled)
            if self._signature(name) != signature:
                return "changing"
        self._signatures[name] = signature
        try:
            model = self._loaded(name)
            with self._changing:
                if model.recommender.catalogue.encoders != self._served[name].recommender.catalogue.encoders:
                    self._encoders.clear()
                counts = self._additions[name].replay(model.recommender)
                model = model.after_change(self._pictures)
                self._serve(model)
        except Exception as error:
            if not isinstance(error, UserError):
                _log.exception("%s: what lies at %s cannot be loaded", name, self._sources[name])
            reason = str(error) if isinstance(error, UserError) else f"a defect of this program, {type(error).__name__}"
            kept = self._served[name].version
            _log.error("%s: the export is refused, version %s is still served: %s", name, kept, reason)
            self._errors[name] = f"{reason}; version {kept} is still served"
            self._metrics.reloaded(name, False)
            return self._errors[name]
        finally:
            _settle_memory()
        self._errors.pop(name, None)
        self._metrics.reloaded(name, True)
        _log.info("%s: version %s is served now%s", name, model.version, _told(counts))
        return "loaded"

    def change(
        self, name: str | None, act: Change, items: Iterable[str] = (), pairs: Iterable[tuple[str, str]] = ()
    ) -> dict[str, dict[str, int]]:
        """Change what is served by additions, which a later reload keeps.

        Args:
            name: of the model; None for all.
            items, pairs: what is added, by id, and of person and item.

        Returns:
            What came of it, by the names of the models.

        Raises:
            UserError: if a model refuses it.
            Refused: if there is no room for it.
        """
        counts: dict[str, dict[str, int]] = {}
        with self._changing:
            for each in self.named(name):
                self._additions[each].check_room(items, pairs)
            for each in self.named(name):
                model = self._served[each]
                try:
                    counts[each] = act(self._additions[each], model.recommender)
                except UserError as error:
                    done = ""
                    if counts:
                        done = f"; {', '.join(counts)} took it in already: to tell one model alone, name it as `model`"
                    raise UserError(f"{each}: {error}{done}") from error
                self._served[each] = model.after_change(self._pictures)
        return counts

    def _loaded(self, name: str) -> ServedModel:
        model = ServedModel.of(name, load(self._sources[name].resolve(), self._data_path), self._pictures)
        model.recommender.recommend(
            model.recommender.users[:1], topk=1
        )  # what it computes once is there for the first who asks
        return model

    def _without_places(self, name: str) -> str | None:
        """Why the newest export is not served, for everybody: names in place of paths."""
        if (sentence := self._errors.get(name)) is None:
            return None
        source, data = self._sources[name], self._data_path
        places = {str(source.absolute()): name, str(source.resolve()): name}
        if data is not None:
            places[os.path.abspath(data)] = os.path.basename(os.path.abspath(data))
        for place in sorted(places, key=len, reverse=True):
            sentence = sentence.replace(place, places[place])
        return _FOLDERS.sub("", sentence)

    def _serve(self, model: ServedModel) -> None:
        self._served[model.name] = model
        self._metrics.serves(model.name, model.recommender.model_name, model.version, model.loaded)

    def _signature(self, name: str) -> Signature:
        """What tells whether something else lies at a source: of a link, where it leads; sizes and times of files."""
        source = self._sources[name]
        try:
            files = sorted(entry.path for entry in os.scandir(source)) if source.is_dir() else [str(source)]
            states = [os.stat(file) for file in files]
            real = os.path.realpath(source)
        except OSError as error:
            return ("missing", error.errno)
        return (real, *((file, state.st_ino, state.st_size, state.st_mtime_ns) for file, state in zip(files, states)))


def _told(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items() if n)
    return f"; again with {told}" if told else ""


def _settle_memory() -> None:
    """Collect what is garbage, and never again search what stays: a search of all takes longer than an answer."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()

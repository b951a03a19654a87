"""What every model of the package has to do; each is a subclass of :class:`ModelConformance` in test_conformance.py."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.models.contract import traits
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, load_session, open_session, restore_config
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from tests.micro import IMAGE, TEXT, TRAIN, write_micro

EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "synthetic"
WARM = [row for row in TRAIN if not row.endswith(" c")]  # c is known from the validation and test part alone
# Held out in place of what the micro set holds out.
OTHERS = {"valid": ["ann d", "cid b"], "test": ["dot a", "dot c", "eve b"]}
QUIET = {"show_progress": False, "resume_step": 0, "eval_step": 1, "stopping_step": 100}
_CUT = 1  # the epoch that a run to be resumed is cut in


class Cut(Exception):
    """In place of a kill."""


class ModelConformance:
    """Attributes say which model, and how it is trained here.

    Attributes:
        model, preset: names.
        settings: for all tests, such as more than the default of what needs opening up.
        small: for the micro set of five users and four items.
        brief: for the embedded set.
        floor: least recall@20 on its validation part after ``brief``; the most popular items have .0346.
        phase: for models of several phases, the one that scores and gradients are asked of.
        excused: parameters without a gradient, by pattern, and why.
        closed_form: whether it is fitted in one step, without parameters to train.
        reads_item_graphs: whether it does with these settings; None where the model says it for all that it may have.
    """

    model: ClassVar[str]
    preset: ClassVar[str | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}
    small: ClassVar[Mapping[str, Any]] = {"embedding_size": 8, "neighbours": 2, "epochs": 3, "learning_rate": 0.01}
    brief: ClassVar[Mapping[str, Any]] = {"epochs": 5, "learning_rate": 0.01}
    floor: ClassVar[float]
    phase: ClassVar[str | None] = None
    excused: ClassVar[Mapping[str, str]] = {}
    closed_form: ClassVar[bool] = False
    reads_item_graphs: ClassVar[bool | None] = None

    # How tests get at a model

    @classmethod
    def config(cls, data: Path, **settings: Any) -> Config:
        """Settings for the data set ``micro`` in ``data``, or the embedded one if it is ``synthetic``."""
        name = "synthetic" if (data / "synthetic").is_dir() else "micro"
        metric = (
            {"topk": [20], "valid_metric": "Recall@20"}
            if name == "synthetic"
            else {"topk": [2], "valid_metric": "Recall@2"}
        )
        own = cls.brief if name == "synthetic" else cls.small
        given = {**QUIET, **metric, **cls.settings, **own, "data_path": str(data), **settings}
        return Config(cls.model, name, settings={**given, "preset": cls.preset})

    @classmethod
    def opened(cls, data: Path, **settings: Any) -> Session:
        """A model that is not trained."""
        with scratch_folder() as scratch:
            session = open_session(cls.config(data, **settings), scratch)
        if cls.phase:
            session.model.set_phase(cls.phase)
        return session

    @classmethod
    def trained(cls, data: Path, **settings: Any) -> Session:
        """The state after the last epoch, which validation has no part in."""
        with scratch_folder() as scratch:
            session = open_session(cls.config(data, **settings), scratch)
            session.trainer.fit(session.train_data, session.valid_data)
        return session

    @classmethod
    def scores(cls, data: Path, **settings: Any) -> torch.Tensor:
        """Scores [n_users, n_items] of a trained model."""
        return scores_of(cls.trained(data, **settings))

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_micro(tmp_path_factory.mktemp(cls.__name__))

    @pytest.fixture(scope="class")
    @classmethod
    def graphs_read(cls) -> list[str]:
        """The modalities whose item graph ``session`` has asked for."""
        return []

    @pytest.fixture(scope="class")
    @classmethod
    def session(cls, data: Path, graphs_read: list[str]) -> Session:
        """Trained on the micro set."""

        def noted(dataset: MultimodalDataset, name: str, k: int) -> ItemGraph:
            graphs_read.append(name)
            return nearest_items(dataset, name, k)

        nearest_items = MultimodalDataset.nearest_items
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MultimodalDataset, "nearest_items", noted)
            return cls.trained(data)

    @pytest.fixture(scope="class")
    @classmethod
    def embedded(cls) -> Session:
        """Trained on the embedded set."""
        return cls.trained(EMBEDDED.parent)

    # Settings and state

    def test_settings_survive_a_checkpoint(self, data, tmp_path):
        config = self.config(data, seed=7, learning_rate=0.0123)
        content = {"settings": config.plain_settings(), "changed": config.changed}
        save_checkpoint(tmp_path / "settings.pt", content)
        again = restore_config(load_checkpoint(tmp_path / "settings.pt"))
        assert again.plain_settings() == config.plain_settings()
        assert (again.model_class, again.changed) == (config.model_class, config.changed)
        assert (again["seed"], again["learning_rate"], again["preset"]) == (7, 0.0123, config["preset"])

    def test_a_checkpoint_scores_as_the_model_that_wrote_it(self, data, tmp_path):
        session = open_session(self.config(data), tmp_path / "run")
        session.trainer.fit(session.train_data, session.valid_data)
        session.trainer.load_best()
        written = scores_of(session)
        with scratch_folder() as scratch:
            read = load_session(tmp_path / "run" / BEST, scratch)
        assert torch.equal(scores_of(read), written)
        assert not torch.equal(scores_of(self.opened(data)), written)

    def test_the_same_seed_gives_the_same_model(self, data, session):
        torch.rand(3)  # whatever was drawn before
        assert torch.equal(self.scores(data), scores_of(session))
        other_seed = self.scores(data, seed=1)
        assert torch.equal(other_seed, scores_of(session)) == traits(self.model).deterministic

    def test_a_cut_training_goes_on_as_if_it_had_not_been(self, data, session, tmp_path):
        if self.closed_form:
            pytest.skip("it is fitted in one step")
        folder = tmp_path / "run"

        class Cutter(TrainingCallback):
            def on_validation(self, trainer: Any, validation: Any) -> None:
                if validation["epoch"] == _CUT:
                    raise Cut

        first = open_session(self.config(data, resume_step=1), folder)
        first.trainer.callbacks.append(Cutter())
        with pytest.raises(Cut):
            first.trainer.fit(first.train_data, first.valid_data)
        content = load_checkpoint(folder / LAST)
        assert content["epoch"] == _CUT
        second = open_session(restore_config(content), folder)
        second.trainer.restore(content, first.trainer.history)
        second.trainer.fit(second.train_data, second.valid_data)
        assert torch.equal(scores_of(second), scores_of(session))

    # Items and their content

    def test_permuting_the_files_of_features_changes_no_score(self, session, tmp_path):
        text, image = (dict(reversed(features.items())) for features in (TEXT, IMAGE))
        turned = self.scores(write_micro(tmp_path, text=text, image=image))
        assert torch.allclose(turned, scores_of(session), atol=1e-5)

    @pytest.mark.parametrize("modality", ["text", "image"])
    def test_one_modality_is_enough_and_counts_where_it_is_read(self, data, session, modality):
        scores = self.scores(data, modalities=[modality])[1:5, 1:]
        assert torch.isfinite(scores).all() and scores.std(1).min() > 0
        changed = not torch.allclose(scores, scores_of(session)[1:5, 1:], atol=1e-5)
        assert changed == traits(self.model).multimodal

    def test_an_item_without_a_picture_is_scored_and_a_picture_changes_that_where_it_is_read(self, session, tmp_path):
        without = scores_of(session)
        assert torch.isfinite(without).all() and without[1:5, 1:].std(1).min() > 0
        pictured = self.scores(write_micro(tmp_path, image={**IMAGE, "b": [0.5, -2.0]}))
        changed = not torch.allclose(pictured[1:5, 2], without[1:5, 2], atol=1e-5)
        assert changed == traits(self.model).multimodal

    def test_it_reads_item_graphs_if_it_says_so(self, session, graphs_read):
        said = traits(type(session.model)).reads_item_graphs
        assert bool(graphs_read) == (said if self.reads_item_graphs is None else self.reads_item_graphs)

    def test_features_of_an_unknown_item_add_nothing(self, session, tmp_path):
        known = {item: features for item, features in TEXT.items() if item != "e"}
        other = self.scores(write_micro(tmp_path / "other", text={**known, "e": [-1.0, 0.3, 7.0]}))
        absent = self.scores(write_micro(tmp_path / "absent", text=known))
        assert other.shape == (6, 5) and session.dataset.item_num == 5
        assert torch.equal(other, scores_of(session)) and torch.equal(absent, other)

    def test_a_cold_item_is_scored_by_its_content_if_the_model_says_so(self, tmp_path):
        changed = {"text": {**TEXT, "c": [1.0, 0.0, 0.1]}, "image": {**IMAGE, "c": [-1.0, 3.0]}}
        sessions = [
            self.trained(write_micro(tmp_path / name, train=WARM, **content))
            for name, content in (("one", {}), ("other", changed))
        ]
        ids = sessions[0].dataset.field2token_id
        cold, people = ids["item_id"]["c"], [ids["user_id"][name] for name in ("ann", "bob", "cid", "dot")]
        one, other = (scores_of(session)[people, cold] for session in sessions)
        assert torch.isfinite(one).all()
        if traits(sessions[0].config.model_class).scores_cold_items:
            assert one.std() > 0 and not torch.allclose(one, other, atol=1e-5)

    # Training and scores

    def test_every_parameter_gets_a_gradient(self, data):
        if self.closed_form:
            pytest.skip("it is fitted, not trained")
        session = self.opened(data, train_batch_size=2048)
        model = session.model.train()
        model.before_epoch()
        losses = [model.calculate_loss(batch) for batch in session.train_data]
        sum(sum(loss) if isinstance(loss, tuple) else loss for loss in losses).backward()
        silent = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
        ]
        assert [name for name in silent if not any(fnmatch(name, pattern) for pattern in self.excused)] == []
        assert all(any(fnmatch(name, pattern) for name in silent) for pattern in self.excused)

    def test_pairs_get_the_scores_of_the_full_ranking(self, session):
        scores = scores_of(session)
        users, items = torch.cartesian_prod(torch.arange(6), torch.arange(1, 5)).flip(0).T
        with torch.no_grad():
            pairs = session.model.predict(Interaction({"user_id": users, "item_id": items}))
        assert torch.allclose(pairs, scores[users, items], atol=1e-6)

    def test_a_brief_training_is_far_better_than_popularity(self, embedded):
        best = max(entry["valid_result"]["recall@20"] for entry in embedded.trainer.history)
        assert best > self.floor > 1.3 * 0.0346

    def test_other_held_out_items_move_no_score(self, session, tmp_path):
        write_micro(tmp_path)
        for part, rows in OTHERS.items():
            lines = ["user_id:token\titem_id:token", *(row.replace(" ", "\t") for row in rows)]
            (tmp_path / "micro" / f"micro.{part}.inter").write_text("\n".join(lines) + "\n")
        other = self.trained(tmp_path)
        assert other.fingerprint["sha256"] != session.fingerprint["sha256"]
        scores, others = (in_order_of_tokens(each) for each in (session, other))
        assert np.array_equal(scores, others) and scores.std() > 0


@torch.no_grad()
def scores_of(session: Session) -> torch.Tensor:
    """Scores [n_users, n_items] as an evaluation gets them."""
    users = torch.arange(session.dataset.user_num)
    scores = session.model.eval().full_sort_predict(Interaction({session.dataset.uid_field: users}))
    return scores.view(len(users), -1).clone()


def in_order_of_tokens(session: Session) -> np.ndarray:
    """Scores with users and items in an order that does not depend on the held-out parts."""
    tokens = session.dataset.field2id_token
    order = [np.argsort(tokens[field]) for field in (session.dataset.uid_field, session.dataset.iid_field)]
    return scores_of(session).numpy()[np.ix_(*order)]

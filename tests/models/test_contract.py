"""What models declare of themselves, by name and by class."""

from __future__ import annotations

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import ModelTraits, TrainingHooks, training_hooks, traits
from recbole_cadmr.models.registry import get_model
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.training.softmax_trainer import SoftmaxTrainer
from recbole_cadmr.training.trainer import get_trainer
from tests.micro import open_micro, write_micro


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("BPR", ModelTraits()),
        ("NeuMF", ModelTraits(ranks_all_items=False)),
        ("EASE", ModelTraits(deterministic=True, item_matrices=6)),
        ("FREEDOM", ModelTraits(multimodal=True, scores_cold_items=True, reads_item_graphs=True)),
        ("BM3", ModelTraits(multimodal=True)),
        (
            "LinearCADMR",
            ModelTraits(
                multimodal=True,
                deterministic=True,
                scores_cold_items=True,
                recommends_from_history=True,
                explains=True,
                weighs_content=True,
                reads_item_graphs=True,
                takes_new_items=True,
                refits=True,
                batch_by_rows=True,
                trainer="recbole_cadmr.training.linear_trainer:LinearTrainer",
                item_matrices=5,
                fits_sparse=True,
            ),
        ),
    ],
)
def test_traits_are_what_the_class_declares(model, expected):
    assert traits(model) == traits(get_model(model)) == expected


def test_the_form_of_a_model_has_traits_and_a_trainer_of_its_own():
    form = get_model("CADMR").form({"objective": "softmax"})
    assert form is SoftmaxCADMR and get_trainer(form) is SoftmaxTrainer
    assert (traits("CADMR").item_matrices, traits(form).item_matrices) == (0, 7)
    with pytest.raises(UserError, match="did you mean FREEDOM"):
        traits("FREEDON")


def test_hooks_of_a_model_that_has_none_do_nothing(tmp_path):
    folder = write_micro(tmp_path)
    ours, recboles = (open_micro(folder, model).model for model in ("CADMR", "EASE"))
    assert training_hooks(ours) is ours and (ours.phase, ours.loss_names) == ("pretrain", ("reconstruction",))
    hooks = training_hooks(recboles)
    assert type(hooks) is TrainingHooks
    assert (hooks.phase, hooks.loss_names, hooks.diagnostics(), hooks.before_epoch()) == ("training", (), {}, None)


def test_a_history_is_for_models_that_take_one(tmp_path):
    model = open_micro(write_micro(tmp_path), "VBPR").model
    with pytest.raises(UserError, match="knows only the users it was trained on"):
        model.score_rows(None)

"""What a study reads out of the history of a run."""

from __future__ import annotations

import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.study.figures import _fine_tuned, _said, check_figure


def validation(phase, epoch, score, losses, tc=1.0):
    said = {"tc/text": tc, "tc/across": 0.5, "cos/head": 0.2, "gate": None, "abs_cos_A0": 0.1, "abs_cos_A1": 0.3}
    return {
        "phase": phase,
        "epoch": epoch,
        "valid_score": score,
        "losses": losses,
        "diagnostics": said,
        "valid_result": {"ndcg@20": score / 2},
    }


HISTORY = [
    validation("pretrain", 0, 0.3, {"reconstruction": 1.0}),
    validation("finetune", 0, 0.4, {}),
    validation("finetune", 1, 0.2, {"reconstruction": 1.0}, tc=3.0),
    validation("finetune", 2, 0.1, {"reconstruction": 1.0}),
]


@pytest.mark.parametrize(("metric", "best"), [("Recall@20", 2), ("GiniIndex@20", 3)])
def test_the_best_epoch_of_fine_tuning_is_one_that_it_has_trained(metric, best):
    result = {"protocol": {"valid_metric": metric}, "history": HISTORY}
    assert _fine_tuned(result) is HISTORY[best]
    assert _fine_tuned({**result, "history": HISTORY[:2]}) is None


def test_what_a_model_says_of_itself_is_summed_and_averaged():
    assert _said(HISTORY[2]) == {"total correlation": 3.5, "abs_cos_A": pytest.approx(0.2), "cos/head": 0.2}


@pytest.mark.parametrize("figure", ["fine-tuned ndcg@20", "fine-tuned total correlation", "fine-tuned cos/head"])
def test_figures_of_fine_tuning_are_known(figure):
    check_figure(figure, [])


@pytest.mark.parametrize(
    "figure", ["fine-tuned parameters", "fine-tuned", "finetuned ndcg@20", "fine-tuned itemcoverage@20"]
)
def test_figures_that_no_fine_tuning_has_are_refused(figure):
    with pytest.raises(UserError, match="there is no figure"):
        check_figure(figure, [])

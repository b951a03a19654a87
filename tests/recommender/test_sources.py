"""What a model is given more by: its checkpoint and data set, or the features and interactions of an export alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.sources import ClosedFormSource
from tests.micro import IMAGE, TEXT
from tests.recommender.test_updates import ADDED, LINEAR, scores, trained

NEW = {"ids": ["e", "f"], "vectors": {"text": [TEXT["e"], [0.5, 0.5, 0.1]], "image": [[0, 0], IMAGE["d"]]}}


@pytest.mark.parametrize("settings", [{}, {"two_hop": 0.2, "popularity_damping": 0.4}, {"attention": "fused"}])
def test_both_give_the_same(tmp_path, settings):
    by_checkpoint = trained(tmp_path, "LinearCADMR", **{**LINEAR, **settings})
    own = by_checkpoint.engine.closed_form.settings
    alone = Recommender(replace(by_checkpoint.parts, source=ClosedFormSource("LinearCADMR", own)))
    for recommender in (by_checkpoint, alone):
        recommender.add_items(**NEW)
    assert alone.items == by_checkpoint.items == ["a", "b", "c", "d", "e", "f"]
    assert scores(alone) == pytest.approx(scores(by_checkpoint), abs=1e-6)
    for recommender in (by_checkpoint, alone):
        assert recommender.update(ADDED).refitted
    assert scores(alone) == pytest.approx(scores(by_checkpoint), abs=1e-6)
    first, second = (r.explain("fay", item="f").by_path() for r in (alone, by_checkpoint))
    assert first["contribution"].tolist() == pytest.approx(second["contribution"].tolist(), abs=1e-6)

"""Training with whatever stands in a setting about data ends well, or in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recbole_cadmr
from recbole_cadmr.errors import UserError
from tests.fuzz.draws import effort, values
from tests.micro import write_micro

pytestmark = pytest.mark.fuzz

# What RecBole reads in many places, and what it nests.
DATA = ["eval_args", "load_col", "unload_col", "val_interval", "user_inter_num_interval", "item_inter_num_interval",
        "rm_dup_inter", "filter_inter_by_user_or_item", "threshold", "normalize_field", "normalize_all",
        "alias_of_item_id", "additional_feat_suffix", "preload_weight", "seq_len", "numerical_features",
        "train_neg_sample_args", "metrics", "topk", "valid_metric", "benchmark_filename", "modalities",
        "item_graphs", "field_separator", "seq_separator", "encoding", "USER_ID_FIELD", "ITEM_ID_FIELD",
        "RATING_FIELD", "TIME_FIELD", "NEG_PREFIX", "LABEL_FIELD", "eval_batch_size", "split_seed",
        "settings_schedule", "clip_grad_norm", "loss_decimal_place", "weight_decay", "learner",
        "stopping_step", "eval_step", "shuffle", "repeatable", "kg_reverse_r", "worker"]  # fmt: skip


def check_sentence(error: UserError) -> None:
    """An error is one line that a person can read."""
    text = str(error)
    assert "\n" not in text and 0 < len(text) < 1500, text
    text.encode()  # no surrogates


def test_training_with_any_value(tmp_path):
    folder = write_micro(tmp_path) / "micro"
    rows = [(folder / f"micro.{part}.inter").read_text().splitlines() for part in ("train", "valid", "test")]
    everything = [rows[0][0], *(row for part in rows for row in part[1:])]
    (folder / "micro.inter").write_text("\n".join([*everything, ""]))  # for runs that split by themselves
    brief = {"data_path": str(tmp_path), "epochs": 1, "topk": [1, 2], "valid_metric": "Recall@2", "state": "ERROR"}
    brief["show_progress"] = False
    eval_args = st.fixed_dictionaries(
        {},
        optional={
            "split": st.dictionaries(st.sampled_from(["RS", "LS", "XX"]), values, max_size=2) | values,
            "order": values,
            "group_by": values,
            "mode": values,
        },
    )
    sampling = st.dictionaries(
        st.sampled_from(["distribution", "sample_num", "alpha", "dynamic", "candidate_num"]), values, max_size=3
    )
    draws = (
        st.tuples(st.sampled_from(DATA), values)
        | st.tuples(st.just("eval_args"), eval_args)
        | st.tuples(st.just("train_neg_sample_args"), sampling)
    )

    @effort(60)
    @given(draws, st.booleans())
    def holds(drawn, is_split):
        name, value = drawn
        given = {"benchmark_filename": ["train", "valid", "test"] if is_split else None} | {name: value}
        try:
            recbole_cadmr.train("BPR", "micro", settings={**brief, **given})
        except UserError as error:
            check_sentence(error)

    holds()

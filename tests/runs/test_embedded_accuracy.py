"""On the embedded set content is worth something, and the known factors survive their disentangling."""

from __future__ import annotations

import math
import statistics
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

import recbole_cadmr
from tests.micro import open_checkpoint

SEEDS = (1, 2, 3, 4, 5)
# A quick learner of half the default width; fine-tuning adds next to nothing here.
BRIEF = {
    "pretrain_epochs": 15,
    "epochs": 1,
    "eval_step": 15,
    "learning_rate": 0.003,
    "pretrain_learning_rate": 0.003,
    "autoencoder_hidden_sizes": [250],
}
EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "synthetic"


@pytest.fixture(scope="module")
def variants_results(tmp_path_factory):
    """Test metrics by variant, one entry a seed."""
    folder = tmp_path_factory.mktemp("accuracy")
    variants = {
        "popularity": ("Pop", None, {}),
        "paper": ("CADMR", "paper", BRIEF),
        "content": ("CADMR", "content", BRIEF),
        "no attention": ("CADMR", "content", {**BRIEF, "attention": "none"}),
    }
    results: dict[str, list[dict[str, float]]] = {}
    for name, (model, preset, settings) in variants.items():
        for seed in SEEDS if preset == "content" else SEEDS[:1]:
            given = {**settings, "seed": seed, "show_progress": False, "resume_step": 0}
            run = recbole_cadmr.train(model, preset=preset, output=folder / f"{name}-{seed}", settings=given)
            results.setdefault(name, []).append(run.result["test_result"])
    return results


def paired(results, one, other, metric):
    """Mean difference over seeds in units of its standard error."""
    difference = [a[metric] - b[metric] for a, b in zip(results[one], results[other])]
    return statistics.mean(difference) / (statistics.stdev(difference) / math.sqrt(len(difference)))


def test_cadmr_clearly_beats_popularity(variants_results):
    (popularity,) = variants_results["popularity"]
    for name in ("paper", "content"):
        for metric in ("recall@20", "ndcg@20"):
            assert min(result[metric] for result in variants_results[name]) > 3 * popularity[metric]


def test_content_attention_clearly_beats_no_attention(variants_results):
    for metric in ("recall@20", "ndcg@20"):
        better = [a[metric] > b[metric] for a, b in zip(variants_results["content"], variants_results["no attention"])]
        assert all(better)
        assert (
            paired(variants_results, "content", "no attention", metric) > 4.604
        )  # t, 4 degrees of freedom, 1% two-sided


def test_accuracy_floor(variants_results):
    assert statistics.mean(result["recall@20"] for result in variants_results["content"]) > 0.18
    assert statistics.mean(result["recall@20"] for result in variants_results["paper"]) > 0.15


def explained(latent: np.ndarray, factor: np.ndarray) -> float:
    """Share of a known factor's variance that a ridge regression on the latent explains, on items left out of it."""
    latent = (latent - latent.mean(0)) / (latent.std(0) + 1e-6)
    factor = (factor - factor.mean()) / factor.std()
    fitted = np.arange(len(latent)) % 2 == 0
    x, y = latent[fitted], factor[fitted]
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    return float(1 - np.mean((factor[~fitted] - latent[~fitted] @ weights) ** 2))


def test_disentangling_lowers_the_total_correlation_and_keeps_the_known_factors(tmp_path):
    latents, tc = {}, {}
    for weight in (0.0, 0.5):
        settings = {"pretrain_epochs": 1, "epochs": 8, "eval_step": 8, "autoencoder_hidden_sizes": [100]}
        settings |= {"gate_init": 0.5, "tc_weight": weight, "show_progress": False}
        run = recbole_cadmr.train("CADMR", output=tmp_path / str(weight), settings=settings)
        tc[weight] = run.result["history"][-1]["diagnostics"]
        session = open_checkpoint(run.folder / "resume.pt")
        with torch.no_grad():
            hidden = [encoder().numpy() for encoder in session.model.encoders]
        latents[weight] = dict(zip(session.model.modality_names, hidden))
    for name in ("tc/text", "tc/image"):
        assert tc[0.5][name] < 0.4 * tc[0.0][name]

    dataset = session.dataset
    known = dict(
        zip((EMBEDDED / "synthetic.factors").read_text().split()[1:], np.load(EMBEDDED / "synthetic.factors.npy"))
    )
    factors = np.array([known[token] for token in dataset.field2id_token["item_id"][1:]])
    seen = {
        "text": {"shared": range(4), "own": (4, 5), "other": (6, 7)},
        "image": {"shared": range(4), "own": (6, 7), "other": (4, 5)},
    }
    for name, groups in seen.items():
        present = session.model.present[session.model.modality_names.index(name)].numpy()
        share = {
            group: np.mean([explained(latents[0.5][name][present], factors[present, c]) for c in columns])
            for group, columns in groups.items()
        }
        assert min(share["shared"], share["own"]) > 0.5
        assert share["other"] < 0.1

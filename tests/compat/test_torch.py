"""Operators of torchvision are declared where they lack, and anomaly detection stays as it is."""

from __future__ import annotations

import torch

from recbole_cadmr.compat import torch as workarounds
from tests.processes import printed_by


def test_torchvision_and_sentence_transformers_import_with_the_workaround():
    code = """
import recbole_cadmr
import torch, torchvision
from torchvision.models import alexnet
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import v2
model = create_feature_extractor(alexnet(weights=None).eval(), ["classifier.5"])
print(tuple(model(v2.Resize((64, 64))(torch.zeros(1, 3, 80, 80)))["classifier.5"].shape))
import sentence_transformers
print(sentence_transformers.SentenceTransformer.__name__)
"""
    assert printed_by(code).splitlines()[-2:] == ["(1, 4096)", "SentenceTransformer"]


def test_torchvision_operators_that_exist_are_not_declared_again():
    code = """
import torch
own = torch.library.Library("torchvision", "DEF")
own.define("nms(Tensor boxes, int a_schema_of_our_own) -> Tensor")
from recbole_cadmr.compat.torch import declare_torchvision_operators
assert not declare_torchvision_operators()
print(torch.ops.torchvision.nms.default._schema)
"""
    assert "a_schema_of_our_own" in printed_by(code)


def test_torchvision_on_a_cuda_build_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(workarounds, "_has_torchvision_operators", lambda: False)
    declared = len(workarounds._libraries)
    assert not workarounds.declare_torchvision_operators()
    assert len(workarounds._libraries) == declared


def test_models_of_sequences_leave_anomaly_detection_as_it_is():
    code = """
import torch
from recbole_cadmr.models.registry import get_model
get_model("SASRec")
print(torch.is_anomaly_enabled())
torch.autograd.set_detect_anomaly(True)
get_model("GRU4Rec")
print(torch.is_anomaly_enabled())
"""
    assert printed_by(code).split() == ["False", "True"]

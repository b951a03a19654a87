"""Features are aligned by token, masked where missing, and never invent an item."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from recbole_cadmr import neighbours
from recbole_cadmr.data import dataset as dataset_module
from recbole_cadmr.data import graph as graph_module
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.graph import cached_nearest_items, nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from tests.micro import IMAGE, TEXT, open_micro, write_micro


def vectors(dataset, name):
    """Features by token, for every item that RecBole knows."""
    modality, tokens = dataset.modality(name), dataset.field2id_token["item_id"]
    return {tokens[i]: modality.features[i].tolist() for i in range(1, len(tokens)) if modality.present[i]}


def approx(expected):
    return {token: pytest.approx(values) for token, values in expected.items()}


def test_features_are_aligned_by_token_in_any_order(tmp_path):
    turned = dict(reversed(TEXT.items()))
    for index, text in enumerate((TEXT, turned)):
        dataset = open_micro(write_micro(tmp_path / str(index), text=text)).dataset
        assert vectors(dataset, "text") == approx({token: TEXT[token] for token in "abcd"})
        assert vectors(dataset, "image") == approx(IMAGE)


def test_missing_and_padding_rows_are_masked_zeros(tmp_path):
    dataset = open_micro(write_micro(tmp_path)).dataset
    image = dataset.modality("image")
    tokens = list(dataset.field2id_token["item_id"])
    assert image.present.tolist() == [token in IMAGE for token in tokens]
    assert image.features[~image.present].abs().sum() == 0


def test_a_feature_without_interactions_adds_no_item(tmp_path):
    dataset = open_micro(write_micro(tmp_path)).dataset
    assert sorted(dataset.field2id_token["item_id"]) == ["[PAD]", "a", "b", "c", "d"]


def test_filtered_items_take_their_features_along(tmp_path):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.yaml").write_text("modalities: [text]\n")
    rows = [f"{user}\t{item}" for user in "xyz" for item in "dab"] + ["x\tc", "w\ta"]
    (folder / "micro" / "micro.inter").write_text("\n".join(["user_id:token\titem_id:token", *rows]) + "\n")
    session = open_micro(folder, user_inter_num_interval="[2,inf)", item_inter_num_interval="[2,inf)")
    assert vectors(session.dataset, "text") == approx({token: TEXT[token] for token in "dab"})


def test_inline_text_and_npy_are_the_same_and_nothing_hidden_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_micro(tmp_path)
    rows = [f"{token}\t{' '.join(map(str, values))}" for token, values in TEXT.items()]
    file = folder / "micro" / "micro.text"
    (folder / "micro" / "micro.text.npy").unlink()
    file.write_text("\n".join(["item_id:token\ttext:float_seq", *rows]) + "\n")
    assert vectors(open_micro(folder).dataset, "text") == approx({token: TEXT[token] for token in "abcd"})
    assert not list((folder / "micro").glob(".*")) and not (tmp_path / "cache").exists()
    file.write_text(file.read_text().replace("5.0", "6.0"))  # other content, parsed anew
    assert vectors(open_micro(folder).dataset, "text")["a"] == pytest.approx(TEXT["a"])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_any_float_becomes_float32(tmp_path, kind):
    folder = write_micro(tmp_path)
    np.save(folder / "micro" / "micro.text.npy", np.array(list(TEXT.values()), dtype=kind))
    modality = open_micro(folder).dataset.modality("text")
    assert modality.features.dtype == torch.float32
    assert modality.features.max().item() == pytest.approx(1.0)


def test_graphs_are_aligned_and_hold_no_item_itself(tmp_path):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.yaml").write_text(
        "benchmark_filename: [train, valid, test]\nmodalities: [text]\nitem_graphs: [text]\n"
    )
    # File rows a, b, c, d, e; e is not in the data set; b stands behind its duplicate a in its own row.
    idx = np.array([[0, 1, 3], [0, 1, 2], [2, 4, 3], [3, 2, -1], [4, 0, 1]])
    cos = np.array([[1, 0.9, 0.5], [1, 1, 0.4], [1, 0.8, 0.7], [1, 0.6, 0], [1, 0.1, 0.1]], dtype=np.float32)
    np.savez(folder / "micro" / "micro.text.knn.npz", idx=idx, cos=cos)
    dataset = open_micro(folder).dataset
    graph, tokens = dataset.item_graph("text"), dataset.field2id_token["item_id"]
    near = {
        tokens[i]: [(tokens[j], pytest.approx(c)) for j, c in zip(graph.idx[i].tolist(), graph.cos[i].tolist()) if j]
        for i in range(1, 5)
    }
    assert near == {"a": [("b", 0.9), ("d", 0.5)], "b": [("a", 1), ("c", 0.4)], "c": [("d", 0.7)], "d": [("c", 0.6)]}
    assert dataset.item_graph("image") is None


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_a_row_of_zeros_is_an_item_without_the_modality(tmp_path, empty, caplog):
    folder = write_micro(tmp_path, image={"a": [1.0, 2.0], "b": [0.0, 0.0], "c": [3.0, -1.0], "e": [0.0, 0.0]})
    (folder / "micro" / "micro.yaml").write_text(
        "benchmark_filename: [train, valid, test]\nmodalities: [text, image]\nitem_graphs: [image]\n"
    )
    # File rows a, b, c, e; the toolboxes divide by the norm, so that an item of zeros has cosines 0 or NaN.
    idx = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 3], [3, 0, 1]])
    cos = np.array([[1, empty, 0.5], [empty] * 3, [1, 0.5, empty], [empty] * 3], dtype=np.float32)
    np.savez(folder / "micro" / "micro.image.knn.npz", idx=idx, cos=cos)
    config = open_micro(folder).config
    with caplog.at_level("INFO"):
        dataset = MultimodalDataset(config)
    tokens, image = dataset.field2id_token["item_id"], dataset.modality("image")
    assert [token for token, there in zip(tokens, image.present) if there] == ["a", "c"]
    for graph in (dataset.item_graph("image"), nearest_items(image, 1)):
        near = {tokens[i]: [tokens[j] for j in graph.idx[i].tolist() if j] for i in range(1, 5)}
        assert near == {"a": ["c"], "b": [], "c": ["a"], "d": []}
        assert torch.isfinite(graph.cos).all()
    assert dataset.coverage() == {
        "text": {"items": 4, "of": 4, "width": 3},
        "image": {"items": 2, "of": 4, "width": 2},
    }
    said = [record.getMessage() for record in caplog.records]
    assert "1 items have a row of zeros in micro.image: they lack image" in said
    assert "micro.text names 1 items that have no interaction" in said


def test_a_kept_graph_is_used_only_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    modality = Modality("text", torch.randn(9, 5), torch.arange(9) > 0)
    first = cached_nearest_items(modality, 3)
    (kept,) = (tmp_path / "recbole_cadmr" / "graphs").iterdir()
    monkeypatch.setattr(graph_module, "nearest_items", None)  # read, not computed
    assert cached_nearest_items(modality, 3).cos.tolist() == first.cos.tolist()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = dict(np.load(kept))
    for change in (lambda: np.savez(kept, **{**content, "idx": content["idx"][::-1]}), lambda: kept.write_bytes(b"x")):
        change()
        assert cached_nearest_items(modality, 3).idx.tolist() == first.idx.tolist()


def test_features_that_no_item_has_are_refused(tmp_path):
    with pytest.raises(UserError, match="zeros for every item"):
        open_micro(write_micro(tmp_path / "a", image={"a": [0.0], "b": [0.0]}))
    with pytest.raises(UserError, match="names one twice"):
        open_micro(write_micro(tmp_path / "b", modalities="[text, text]"))
    with pytest.raises(UserError, match="a name that may be part of a file's"):
        open_micro(write_micro(tmp_path / "c", modalities="[../text]"))


def test_nearest_items_agree_with_a_full_sort(monkeypatch):
    monkeypatch.setattr(neighbours, "_NUMBERS", 7 * 37)  # blocks of 7 items
    torch.manual_seed(0)
    present = torch.ones(40, dtype=torch.bool)
    present[[0, 7, 9]] = False
    modality = Modality("text", torch.randn(40, 5) * present[:, None], present)
    graph = nearest_items(modality, 4)
    unit = torch.nn.functional.normalize(modality.features, dim=1)
    for item in range(40):
        if not present[item]:
            assert graph.idx[item].tolist() == [0] * 4
            continue
        cosine = unit @ unit[item]
        cosine[~present] = -2
        cosine[item] = -2
        best = cosine.argsort(descending=True)[:4]
        assert graph.idx[item].tolist() == best.tolist()
        assert torch.allclose(graph.cos[item], cosine[best], atol=1e-6)


def test_tokens_that_look_like_nothing_stay_tokens(tmp_path):
    train = ['NA "a', "null b", 'ann "a', "ann b", "nan c", "ann d"]
    folder = write_micro(
        tmp_path, train=train, text={'"a': [1.0], "b": [2.0], "c": [3.0], "d": [4.0], "a": [5.0]}, modalities="[text]"
    )
    dataset = open_micro(folder).dataset
    assert {"NA", "null", "nan"} <= set(dataset.field2id_token["user_id"])
    assert vectors(dataset, "text")['"a'] == [1.0] and vectors(dataset, "text")["a"] == [5.0]


def test_models_without_features_read_none(tmp_path, monkeypatch):
    folder = write_micro(tmp_path)
    for name in ("text", "image"):
        (folder / "micro" / f"micro.{name}").unlink()
    assert open_micro(folder, "BPR").dataset._modalities == {}


MEASURE = """
import sys, time
import numpy as np
from pathlib import Path
from recbole_cadmr.data.dataset import MultimodalDataset
class Bare(MultimodalDataset):
    def __init__(self, folder, n_items):
        self.config = {"modalities": ["text", "image"], "item_graphs": None, "content_controls": None}
        self.dataset_path, self.dataset_name, self.iid_field = folder, "big", "item_id"
        self.field2token_id = {"item_id": {"[PAD]": 0, **{str(i): i + 1 for i in range(n_items)}}}
        self._modalities, self.n = {}, n_items + 1
    item_num = property(lambda self: self.n)
data = Bare(sys.argv[1], 7050)
def peak():  # of this program alone: ru_maxrss begins with the peak of the process that started it
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
start = time.perf_counter()
features = data.modalities()
print(time.perf_counter() - start, (peak() - before) * 1024)
assert sum(m.features[1:].sum().item() for m in features.values()) != 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from the Linux kernel")
def test_features_of_baby_s_size_need_no_second_copy(tmp_path):
    generator = np.random.default_rng(0)
    size = 0
    for name, width in (("text", 384), ("image", 4096)):
        rows = generator.random((7050, width), dtype=np.float32)
        np.save(tmp_path / f"big.{name}.npy", rows)
        (tmp_path / f"big.{name}").write_text("item_id:token\n" + "\n".join(map(str, range(7050))) + "\n")
        size += rows.nbytes
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, env={**os.environ}
    )
    _, memory = map(float, out.stdout.split())
    assert memory < 1.5 * size  # the features and a block; the mapped file's pages are given back


def test_every_part_shares_the_features(tmp_path):
    session = open_micro(write_micro(tmp_path))
    parts = [data._dataset for data in (session.train_data, session.valid_data, session.test_data)]
    assert all(isinstance(part, MultimodalDataset) for part in parts)
    assert len({part.modality("text").features.data_ptr() for part in parts}) == 1


def test_a_large_table_of_features_is_mapped_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset_module, "_MAPPED", 0)
    dataset = open_micro(write_micro(tmp_path / "set")).dataset
    assert vectors(dataset, "text") == approx({token: TEXT[token] for token in "abcd"})
    assert dataset_module._table(tmp_path, 3, 2)[1] is not None
    dataset.modality("text").release()
    assert vectors(dataset, "text") == approx({token: TEXT[token] for token in "abcd"})
    assert not any((tmp_path / "cache" / "recbole_cadmr").iterdir())

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(dataset_module.os, "posix_fallocate", full)
    assert dataset_module._table(tmp_path, 3, 2)[1] is None
    monkeypatch.setattr(dataset_module, "free_bytes", lambda: 23)
    with pytest.raises(UserError, match="the 2-D features of .* need 24 bytes, but 23 are free"):
        dataset_module._table(tmp_path, 3, 2)


@pytest.mark.parametrize("scale", [2.0**70, 2.0**-50])
def test_nearest_items_do_not_depend_on_the_size_of_the_numbers(scale):
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    present = torch.arange(30) > 0
    expected = nearest_items(Modality("text", features, present), 4)
    found = nearest_items(Modality("text", scale * features, present), 4)
    assert torch.equal(found.idx, expected.idx) and torch.equal(found.cos, expected.cos)

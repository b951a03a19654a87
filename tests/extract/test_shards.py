"""Vectors in shards: killed and gone on with, started over for another input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.shards import ABSENT, DAMAGED, PRESENT, in_shards


def compute(calls, values):
    def of(part):
        calls.append(part.start)
        rows = np.arange(part.start, part.stop)
        return np.stack([rows, values[part]], 1).astype(np.float32), np.where(rows % 5 == 4, DAMAGED, PRESENT)

    return of


def test_shards_are_put_together_in_order(tmp_path):
    calls: list[int] = []
    values = np.arange(23) * 0.5
    found = in_shards(tmp_path / "s", 23, 2, compute(calls, values), key={"a": "1"}, card={"m": "x"}, size=10)
    assert calls == [0, 10, 20] and found.damaged == [4, 9, 14, 19] and found.present.sum() == 18
    assert np.load(found.features).tolist() == np.stack([np.arange(23), values], 1).tolist()
    assert found.card == {"m": "x", "type": "float32"} and found.zeros == 1  # that of place 0


def test_finished_shards_are_kept_and_another_key_starts_over(tmp_path):
    calls: list[int] = []

    def stops_at_20(part):
        if part.start == 20:
            raise KeyboardInterrupt
        return compute(calls, np.zeros(23))(part)

    with pytest.raises(KeyboardInterrupt):
        in_shards(tmp_path / "s", 23, 2, stops_at_20, key={"a": "1"}, card={}, size=10)
    again: list[int] = []
    in_shards(tmp_path / "s", 23, 2, compute(again, np.zeros(23)), key={"a": "1"}, card={}, size=10)
    assert calls == [0, 10] and again == [20]
    other: list[int] = []
    found = in_shards(tmp_path / "s", 23, 2, compute(other, np.ones(23)), key={"a": "2"}, card={}, size=10)
    assert other == [0, 10, 20] and (np.load(found.features)[:, 1] == 1).all()


def test_vectors_too_large_for_half_precision_are_refused(tmp_path):
    def large(part):
        return np.full((part.stop - part.start, 1), 7e4), np.full(part.stop - part.start, ABSENT)

    with pytest.raises(UserError, match="item 0 is not finite as float16; try --dtype float32"):
        in_shards(tmp_path / "s", 3, 1, large, key={}, card={}, dtype="float16")


PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np
from recbole_cadmr.extract.shards import in_shards
def compute(part):
    time.sleep(float(sys.argv[2]))
    with open(Path(sys.argv[1]) / "calls", "a") as file:
        file.write(f"{part.start}\\n")
    rng = np.random.default_rng(part.start)
    return rng.random((part.stop - part.start, 4)), np.zeros(part.stop - part.start)
in_shards(Path(sys.argv[1]) / "store", 100, 4, compute, key={}, card={}, size=10)
"""


def test_a_killed_process_goes_on_at_its_last_finished_shard(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, pause in (("killed", "0.3"), ("whole", "0")):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), pause]
        process = subprocess.Popen(command, env=environment)
        if name == "killed":
            while len(list((tmp_path / name).glob("store/0*.npz"))) < 3:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = subprocess.Popen([*command[:-1], "0"], env=environment)
        assert process.wait() == 0
    calls = [int(line) for line in (tmp_path / "killed" / "calls").read_text().split()]
    assert sorted(set(calls)) == list(range(0, 100, 10)) and len(calls) <= 11  # the one it was killed in may come twice
    for name in ("features.npy",):
        assert (tmp_path / "killed" / "store" / name).read_bytes() == (tmp_path / "whole" / "store" / name).read_bytes()


def test_what_is_no_whole_shard_is_computed_again(tmp_path):
    values, options = np.arange(23) * 0.5, {"key": {}, "card": {}}
    first = np.load(in_shards(tmp_path / "s", 23, 2, compute([], values), size=10, **options).features)
    (tmp_path / "s" / "000000000.npz").write_bytes(b"PK junk")
    np.savez(tmp_path / "s" / "000000010.npz", vectors=np.zeros((9, 2), np.float32), state=np.zeros(9, np.int8))
    calls: list[int] = []
    found = in_shards(tmp_path / "s", 23, 2, compute(calls, values), size=10, **options)
    assert calls == [0, 10] and np.array_equal(np.load(found.features), first)
    # Shards of another size hold other items under the same names.
    found = in_shards(tmp_path / "s", 23, 2, compute(calls, values), size=20, **options)
    assert calls == [0, 10, 0, 20] and np.array_equal(np.load(found.features), first)

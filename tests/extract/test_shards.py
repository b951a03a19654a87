"""Vectors in shards: killed and gone on with; what is kept is what was written, or is computed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.shards import DAMAGED, PRESENT, in_shards
from recbole_cadmr.extract.vector_store import VectorCache


def extract(work, inputs, calls=None, size=10, encoder=None, width=2, **how):
    """Vectors (number, 1) of the numbers ``inputs``, of which 4, 9, ... are damaged; None is absent."""

    def compute(numbers):
        if calls is not None:
            calls.append(numbers)
        vectors = np.stack([numbers, np.ones(len(numbers))], 1)[:, :width]
        return vectors, np.where(np.array(numbers) % 5 == 4, DAMAGED, PRESENT)

    keys = [None if number is None else sha256(str(number).encode()).digest() for number in inputs]
    how = {"card": {"m": "x"}, "encoder": encoder or {}, "read": lambda at: [inputs[place] for place in at], **how}
    found = in_shards(work, keys, width, compute, size=size, **how)
    return np.load(found.features), found


def test_shards_are_put_together_in_order(tmp_path):
    calls: list[list[int]] = []
    vectors, found = extract(tmp_path, [*range(23), None, 1, 1], calls)
    assert calls == [[*range(10)], [*range(10, 20)], [20, 21, 22]]  # what stands three times is computed once
    assert found.damaged == [4, 9, 14, 19] and found.present.sum() == 21 and not found.present[23]
    assert vectors.tolist() == [*([n, 1] for n in range(23)), [0, 0], [1, 1], [1, 1]]
    assert found.card == {"m": "x", "type": "float32"} and found.zeros == found.kept == 0


def test_vectors_of_zeros_are_told_apart(tmp_path):
    vectors, found = extract(tmp_path, [0, 1, 0], width=1)
    assert vectors.tolist() == [[0], [1], [0]] and found.zeros == 2 and found.present.tolist() == [False, True, False]


def test_the_order_of_computing_changes_nothing(tmp_path):
    calls: list[list[int]] = []
    vectors, _ = extract(tmp_path, [*range(7)], calls, size=3, order=[6, 5, 4, 3, 2, 1, 0])
    assert calls == [[6, 5, 4], [3, 2, 1], [0]] and vectors[:, 0].tolist() == [*range(7)]


def test_finished_shards_are_kept_and_another_encoder_starts_over(tmp_path):
    class Stopped(list):
        def append(self, numbers):
            if numbers[0] == 20:
                raise KeyboardInterrupt
            super().append(numbers)

    stopped, again, other = Stopped(), [], []
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, [*range(23)], stopped)
    assert not (tmp_path / "features.npy").exists()
    _, found = extract(tmp_path, [*range(23)], again)
    assert len(stopped) == 2 and again == [[20, 21, 22]] and found.kept == 16
    extract(tmp_path, [*range(23)], other, encoder={"a": "2"})
    assert len(other) == 3


def test_vectors_too_large_for_half_precision_are_refused(tmp_path):
    with pytest.raises(UserError, match="item 1 is not finite as float16; try --dtype float32"):
        extract(tmp_path, [1, 70_000], dtype="float16")
    assert not list(tmp_path.glob("**/[!.]*.npz"))


PROGRAM = """
import sys, time
from hashlib import sha256
from pathlib import Path
import numpy as np
from recbole_cadmr.extract.shards import in_shards
def compute(places):
    time.sleep(float(sys.argv[2]))
    with open(Path(sys.argv[1]) / "calls", "a") as file:
        file.write(f"{places[0]}\\n")
    rng = np.random.default_rng(places[0])
    return rng.random((len(places), 4)), np.zeros(len(places))
keys = [sha256(bytes([place])).digest() for place in range(100)]
in_shards(Path(sys.argv[1]) / "store", keys, 4, compute, encoder={}, card={}, size=10, read=list)
"""


def test_a_killed_process_goes_on_at_its_last_finished_shard(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, pause in (("killed", "0.3"), ("whole", "0")):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), pause]
        process = subprocess.Popen(command, env=environment)
        if name == "killed":
            while len(list((tmp_path / name).glob("store/vectors/*/[!.]*.npz"))) < 3:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = subprocess.Popen([*command[:-1], "0"], env=environment)
        assert process.wait() == 0
    calls = [int(line) for line in (tmp_path / "killed" / "calls").read_text().split()]
    assert sorted(set(calls)) == list(range(0, 100, 10)) and len(calls) <= 11  # the one it was killed in may come twice
    killed, whole = (tmp_path / name / "store" / "features.npy" for name in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()


def segments(cache):
    return sorted(cache.folder.glob("*/*.npz"), key=lambda path: path.stat().st_mtime)


@pytest.fixture
def cache(tmp_path):
    return VectorCache(tmp_path / "cache", 2**20)


def test_what_is_not_what_was_written_is_removed_and_computed_again(tmp_path, cache):
    inputs, calls = [*range(10)], []
    first, _ = extract(tmp_path / "1", inputs, cache=cache)
    (path,) = segments(cache)
    whole = path.read_bytes()
    arrays = dict(np.load(path))
    assert arrays["keys"].shape == (10, 32) and arrays["vectors"].shape == (10, 2)
    path.write_bytes(b"PK junk")
    assert extract(tmp_path / "2", inputs, calls, cache=cache)[1].kept == 0 and path.read_bytes() == whole
    for name, value in (
        ("vectors", np.full((10, 2), 7, np.float32)), ("vectors", np.zeros((10, 3), np.float32)),
        ("vectors", np.ones((10, 2))), ("state", np.ones(10, np.int8)), ("keys", arrays["keys"][::-1]),
        ("keys", np.zeros(3, np.uint8)), ("vectors", np.array([{}], dtype=object)),
    ):  # fmt: skip
        np.savez(path, **{**arrays, name: value})
        again, found = extract(tmp_path / "3", inputs, calls, cache=cache)
        assert again.tobytes() == first.tobytes() and found.kept == 0, name
    assert len(calls) == 8
    assert extract(tmp_path / "4", inputs, calls, cache=cache)[1].kept == 8 and len(calls) == 8


def test_a_segment_of_another_encoder_is_not_taken_for_ones_own(tmp_path, cache):
    extract(tmp_path / "1", [1, 2], cache=cache, encoder={"a": "1"})
    (path,) = segments(cache)
    extract(tmp_path / "2", [3], cache=cache, encoder={"a": "2"})
    other = next(folder for folder in cache.folder.iterdir() if folder != path.parent)
    (other / path.name).write_bytes(path.read_bytes())
    assert extract(tmp_path / "3", [1, 2], cache=cache, encoder={"a": "2"})[1].kept == 0


def test_what_was_unused_for_longest_goes_first(tmp_path):
    cache = VectorCache(tmp_path / "cache", 2**20)
    for day, number in enumerate((1, 2, 3)):
        extract(tmp_path / "work", [number], cache=cache)
        os.utime(segments(cache)[-1], (day, day))
    (size,) = {path.stat().st_size for path in segments(cache)}
    extract(tmp_path / "work", [1], cache=cache)  # it is used again
    extract(tmp_path / "work", [10], cache=VectorCache(cache.folder, 3 * size))
    assert [extract(tmp_path / "work", [n], cache=cache)[1].kept for n in (1, 3, 10, 2)] == [1, 1, 1, 0]
    half = cache.folder / "x" / ".0.1234abcd.npz"  # what killed processes left
    half.parent.mkdir()
    half.write_bytes(b"")
    cache.prune()
    assert half.exists()  # its process may be alive
    os.utime(half, (0, 0))
    cache.prune()
    assert not half.exists() and len(segments(cache)) == 4


def test_where_the_cache_cannot_be_written_vectors_are_computed(tmp_path):
    (tmp_path / "file").write_text("")
    cache, calls = VectorCache(tmp_path / "file" / "cache", 2**20), []
    assert extract(tmp_path / "work", [1, 2], calls, cache=cache)[0].tolist() == [[1, 1], [2, 1]]
    assert extract(tmp_path / "work", [1, 2], calls, cache=cache)[1].kept == 2 and len(calls) == 1  # beside the result


SHARED = PROGRAM.replace(
    "import in_shards", "import in_shards\nfrom recbole_cadmr.extract.vector_store import VectorCache"
).replace("read=list", "read=list, cache=VectorCache(Path(sys.argv[1]).parent / 'cache', int(sys.argv[3]))")


def test_processes_at_once_share_a_cache_even_one_that_is_too_small(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        command = [
            sys.executable,
            "-c",
            SHARED,
            str(tmp_path / str(number)),
            "0.02",
            "3000" if number % 2 else "100000",
        ]
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait() for process in running] == [0] * 4
    results = {(tmp_path / str(number) / "store" / "features.npy").read_bytes() for number in range(4)}
    assert len(results) == 1

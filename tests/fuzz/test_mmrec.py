"""Whatever stands in a stranger's folder, a data set comes out whole or not at all."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_cadmr.cli.main import main
from tests.fuzz.draws import damaged, effort

pytestmark = pytest.mark.fuzz


def attempt(arguments, folder, capsys):
    """Run ``prepare``: it ends well with a data set, or with one sentence and without one."""
    status = main(["prepare", *arguments, "--data_path", str(folder), "--name", "own"])
    said = capsys.readouterr().err
    assert status in (0, 2) and "Traceback" not in said, said
    assert (folder / "own").exists() == (status == 0)
    assert status == 0 or said.strip().splitlines()[-1].startswith("error: "), said
    shutil.rmtree(folder, ignore_errors=True)


def test_damaged_mmrec_folders(tmp_path, capsys):
    source = tmp_path / "raw"
    source.mkdir()
    lines = [f"{u}\t{(u * 7 + k * 3) % 25}\t{max(k - 5, 0)}" for u in range(12) for k in range(8)]
    inter = ("userID\titemID\tx_label\n" + "\n".join(lines) + "\n").encode()
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(0).random((25, 4)).astype("f4"))
    vectors = buffer.getvalue()
    header = vectors[:128]

    @effort(30)
    @given(
        st.one_of(
            st.tuples(damaged(inter), st.just(vectors)),
            st.tuples(st.just(inter), damaged(header).map(lambda head: head + vectors[128:])),
        )
    )
    def holds(contents):
        (source / "toys.inter").write_bytes(contents[0])
        (source / "text_feat.npy").write_bytes(contents[1])
        attempt(["mmrec", "--source", str(source)], tmp_path / "sets", capsys)

    holds()

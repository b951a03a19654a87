"""The embedded set of two domains is what its generator and ``prepare cross-domain`` make."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from recbole_cadmr.data.prepare.cross_domain import add_arguments, run
from tests.cross_domain import write_source

EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "two_domains"


def test_it_is_made_anew_byte_by_byte(tmp_path):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    source = write_source(tmp_path / "source", n_users=200, n_items=(60, 70))
    place = run(parser.parse_args(["--source", str(source), "--name", "two_domains", "--data_path", str(tmp_path)]))
    names = {file.name for file in EMBEDDED.iterdir()}
    assert names == {file.name for file in place.iterdir()} - {"two_domains.html"}
    for name in names:
        assert (place / name).read_bytes() == (EMBEDDED / name).read_bytes(), name

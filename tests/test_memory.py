"""Free memory is the least of what the machine, its control groups and the process's own limits leave."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from recbole_cadmr import memory

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine of 64 GiB; writes the files of its control groups: ``system(cgroup=, mountinfo=, files=)``."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    monkeypatch.setattr(memory, "_process_limit", lambda name: sys.maxsize)
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    memory._groups.cache_clear()

    def write(cgroup, mountinfo, files):
        (tmp_path / "cgroup").write_text(cgroup)
        (tmp_path / "mountinfo").write_text(mountinfo.format(tmp_path))
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(str(content))
        return memory.free_bytes(CPU)

    yield write
    memory._groups.cache_clear()


V2 = "31 23 0:28 / {}/cg rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 {{}} {}/cg rw,relatime shared:3 - cgroup cgroup rw,memory\n"


def test_without_control_groups(system):
    assert system("", "", {}) == 64 * GIB == memory.free_for_another()


def test_version_2_counts_the_group_and_its_parents(system):
    files = {"cg/a/b/memory.max": "max\n", "cg/a/memory.max": 3 * GIB, "cg/a/memory.current": 2 * GIB,
             "cg/a/memory.stat": f"anon 5\nactive_file {GIB // 2}\ninactive_file {GIB // 4}\n"}  # fmt: skip
    assert system("0::/a/b\n", V2, files) == 3 * GIB - (2 * GIB - 3 * GIB // 4)
    files["cg/a/b/memory.high"], files["cg/a/b/memory.current"] = GIB, 100
    assert system("0::/a/b\n", V2, files) == GIB - 100
    assert memory.free_for_another() == GIB - 100


def test_version_1_where_the_container_sees_its_own_group_as_root(system):
    cgroup = "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n"
    files = {"cg/memory.limit_in_bytes": 2 * GIB, "cg/memory.usage_in_bytes": GIB,
             "cg/memory.stat": f"cache 7\ntotal_inactive_file {GIB // 2}\n"}  # fmt: skip
    assert system(cgroup, V1.replace("{{}}", "/docker/abc"), files) == GIB + GIB // 2
    memory._groups.cache_clear()
    assert system(cgroup, V1.replace("{{}}", "/elsewhere"), files) == GIB + GIB // 2
    files["cg/memory.limit_in_bytes"] = 2**63 - 4096  # what stands there where there is no limit
    assert system(cgroup, V1.replace("{{}}", "/docker/abc"), files) == 64 * GIB


def test_more_is_used_than_allowed(system):
    files = {"cg/memory.max": GIB, "cg/memory.current": 2 * GIB}
    assert system("0::/\n", V2, files) == 0


def test_limits_of_the_process(system, monkeypatch):
    system("", "", {})
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(
        memory_info=lambda: SimpleNamespace(vms=5 * GIB, data=2 * GIB)))  # fmt: skip
    limits = {"RLIMIT_AS": 8 * GIB, "RLIMIT_DATA": sys.maxsize}
    monkeypatch.setattr(memory, "_process_limit", limits.__getitem__)
    assert (memory.free_bytes(CPU), memory.free_for_another()) == (3 * GIB, 8 * GIB)
    limits["RLIMIT_DATA"] = 3 * GIB
    assert (memory.free_bytes(CPU), memory.free_for_another()) == (GIB, 3 * GIB)
    limits["RLIMIT_AS"] = 4 * GIB
    assert memory.free_bytes(CPU) == 0


def test_ulimit_itself():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB, hard))
    try:
        assert 0 < memory.free_bytes(CPU) <= GIB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_freed_memory_serves_the_next_large_array_and_is_given_back():
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    code = """
import numpy, psutil
from recbole_cadmr.memory import freed_memory_kept
resident = lambda: psutil.Process().memory_info().rss
with freed_memory_kept():
    first = numpy.ones(2**24)  # 128 MiB
    held = resident()
    del first
    freed = resident()
print(held - freed < 2**24, held - resident() > 2**26)
"""
    # In a process of its own: one that has run out of memory before may allocate elsewhere.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]

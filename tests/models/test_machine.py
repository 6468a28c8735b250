"""The cores and memory that a process may use, by files as Linux has them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.machine import available_cores, available_memory

Machine = Callable[..., dict[str, Path]]

V2 = "0::/kubepods/pod1\n"
V1 = "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Lays out control groups on a machine of 8 cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))

    def lay_out(own: str, files: dict[str, str]) -> dict[str, Path]:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "cgroup" / name).write_text(content + "\n")
        return {"cgroups": tmp_path / "cgroup", "own": tmp_path / "own"}

    return lay_out


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("10000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_containers_quota_cuts_the_cores_down(machine: Machine, quota: str, cores: int) -> None:
    assert available_cores(**machine(V2, {"cpu.max": quota})) == cores


def test_the_least_of_several_quotas_counts(machine: Machine) -> None:
    files = {"cpu.max": "max 100000", "kubepods/cpu.max": "300000 100000", "kubepods/pod1/cpu.max": "600000 100000"}
    assert available_cores(**machine(V2, files)) == 3


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("200000", 2), ("1000", 1)])
@pytest.mark.parametrize("folder", ["cpu", "cpu/docker/1"], ids=["inside", "outside"])
def test_quotas_of_the_first_version_count_too(machine: Machine, folder: str, quota: str, cores: int) -> None:
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}
    assert available_cores(**machine(V1.replace("cpu,cpuacct", "cpu"), files)) == cores


def test_controllers_that_are_mounted_together_are_found(machine: Machine) -> None:
    files = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
    assert available_cores(**machine(V1, files)) == 2


def test_without_a_quota_all_cores_count(machine: Machine) -> None:
    assert available_cores(**machine("", {})) == 8


def test_there_is_a_core_when_nothing_is_known(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none", tmp_path / "none") >= 1


@pytest.mark.parametrize(
    ("own", "file"), [(V2, "kubepods/pod1/memory.max"), (V1, "memory/memory.limit_in_bytes")], ids=["v2", "v1"]
)
def test_a_containers_memory_is_what_it_may_use(machine: Machine, own: str, file: str) -> None:
    assert available_memory(**machine(own, {file: "123456789"})) == 123456789


def test_memory_without_a_limit_is_the_machines(machine: Machine) -> None:
    assert available_memory(**machine(V2, {"memory.max": "max"})) > 2**28

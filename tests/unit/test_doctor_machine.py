"""doctor's rows on the machine: CPU level, memory, GPU with driver and CUDA libraries, disk."""

from __future__ import annotations

import ctypes.util
import os
from pathlib import Path

import pytest

import planted
from tts_train.work.checkups import cpu, disk, gpu, machine
from tts_train.work.checkups.gpu import Smi
from tts_train.work.checkups.row import Row

V1 = "fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm"
PHENOM = f"{V1} pni cx16 popcnt lahf_lm sse4a abm"
NEHALEM = f"{V1} pni cx16 popcnt lahf_lm ssse3 sse4_1 sse4_2"
SANDY_BRIDGE = f"{NEHALEM} avx xsave"
HASWELL = f"{SANDY_BRIDGE} avx2 bmi1 bmi2 f16c fma abm movbe"
EPYC = f"{HASWELL} avx512f avx512bw avx512cd avx512dq avx512vl"


def cpuinfo(folder: Path, flags: str) -> Path:
    file = folder / "cpuinfo"
    file.write_text(f"processor\t: 0\nmodel name\t: a CPU\nflags\t\t: {flags}\nvmx flags\t: vnmi\n\nprocessor\t: 1\n")
    return file


@pytest.mark.parametrize(
    ("flags", "level", "state"),
    [
        (V1, "x86-64-v1", "problem"),
        (PHENOM, "x86-64-v1", "problem"),
        (NEHALEM, "x86-64-v2", "warning"),
        (SANDY_BRIDGE, "x86-64-v2", "warning"),
        (HASWELL, "x86-64-v3", "ok"),
        (EPYC, "x86-64-v4", "ok"),
        (EPYC.replace("sse4_1 ", ""), "x86-64-v1", "problem"),
    ],
)
def test_cpu_level(tmp_path: Path, flags: str, level: str, state: str) -> None:
    (row,) = cpu.rows(cpuinfo(tmp_path, flags), "x86_64")

    assert (row.check, row.state) == ("cpu", state)
    assert row.detail.startswith(level)


def test_old_cpu_gets_its_pins_and_is_told_what_it_lacks(tmp_path: Path) -> None:
    (row,) = cpu.rows(cpuinfo(tmp_path, PHENOM), "x86_64")

    assert "it lacks sse4_1, sse4_2, ssse3." in row.detail
    for pin in ("numpy==1.26.4", "torch==2.7.0", "torchaudio==2.7.0", "transformers==4.57.3"):
        assert pin in row.fix
    assert "pyarrow" in row.fix
    assert "another machine" in row.fix


def test_cpu_without_avx2_gets_advice(tmp_path: Path) -> None:
    (none,) = cpu.rows(cpuinfo(tmp_path, NEHALEM), "x86_64")
    (avx,) = cpu.rows(cpuinfo(tmp_path, SANDY_BRIDGE), "x86_64")

    assert "no AVX)" in none.detail
    assert "AVX but no AVX2" in avx.detail
    assert "SIGILL" in avx.fix


@pytest.mark.parametrize(("machine_name", "level"), [("aarch64", "aarch64"), ("x86_64", "x86-64")])
def test_where_nothing_shows_flags_nothing_is_claimed(tmp_path: Path, machine_name: str, level: str) -> None:
    assert list(cpu.rows(tmp_path / "none", machine_name)) == [Row("cpu", "ok", level)]


def test_memory(tmp_path: Path) -> None:
    *_, much = machine.rows(tmp_path, total=16_000_000_000)
    *_, little = machine.rows(tmp_path, total=2_000_000_000)

    assert much == Row("memory", "ok", "16.0 GB")
    assert little.state == "warning"
    assert "--jobs 1" in little.fix


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_memory_of_a_container(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("3000000000\n")
    *_, row = machine.rows(tmp_path, total=16_000_000_000)
    assert row.state == "warning"
    assert "3.0 GB of 16.0 (the container's limit)" in row.detail

    (tmp_path / file).write_text("max\n")
    *_, row = machine.rows(tmp_path, total=16_000_000_000)
    assert row.state == "ok"


def test_cores_that_may_be_used() -> None:
    first, _ = machine.rows()

    assert first.state == "ok"
    assert first.detail.startswith(str(len(os.sched_getaffinity(0))))


def system(folder: Path, *, driver: bool = False, card: bool = False) -> Path:
    if driver:
        (folder / "proc/driver/nvidia").mkdir(parents=True)
        (folder / "proc/driver/nvidia/version").write_text("NVRM version: 570\n")
    if card:
        device = folder / "sys/bus/pci/devices/0000:01:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030000\n")
    return folder


def first_gpu(folder: Path, smi: Smi) -> Row:
    return next(gpu.rows(folder, lambda: smi, workers=()))


def test_no_gpu_is_no_alarm(tmp_path: Path) -> None:
    (row,) = gpu.rows(system(tmp_path), lambda: pytest.fail("without a driver nobody is asked"))

    assert row.state == "absent-but-optional"
    assert "backend: piper" in row.fix


def test_card_without_driver(tmp_path: Path) -> None:
    (row,) = gpu.rows(system(tmp_path, card=True))

    assert row.state == "warning"
    assert "install NVIDIA's driver" in row.fix


@pytest.mark.parametrize(
    ("smi", "state", "fix"),
    [
        (Smi(("NVIDIA GeForce RTX 4090, 24564 MiB",), "570.86.15", ""), "ok", ""),
        (Smi(("Tesla K80, 11441 MiB",), "470.82.01", ""), "problem", "525.60 or newer"),
        (Smi((), "", "nvidia-smi failed: Driver/library version mismatch"), "problem", "reboot"),
        (Smi((), "", "nvidia-smi is not on PATH"), "warning", "NVIDIA_DRIVER_CAPABILITIES"),
    ],
)
def test_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smi: Smi, state: str, fix: str) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    row = first_gpu(system(tmp_path, driver=True), smi)

    assert row.state == state
    assert fix in row.fix


def test_hidden_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    row = first_gpu(system(tmp_path, driver=True), Smi(("L4, 23034 MiB",), "570.1", ""))

    assert (row.state, row.fix) == ("warning", "unset CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 23034 MiB, 570.86.15'", Smi(("NVIDIA L4, 23034 MiB",), "570.86.15", "")),
        ("echo 'cannot talk to the driver'; exit 9", Smi((), "", "nvidia-smi failed: cannot talk to the driver")),
    ],
)
def test_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: Smi) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert gpu.ask_smi() == expected


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker environment whose `nvidia` is a namespace package; returns that, not made yet."""
    monkeypatch.setenv("TTS_TRAIN_ENVS", str(tmp_path / "envs"))
    return planted.environment(tmp_path / "envs", "skill") / "nvidia"


def library(nvidia: Path, part: str, name: str, content: bytes | None = None) -> None:
    folder = nvidia / part / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    if content is None:
        (folder / name).symlink_to(_some_library())
    else:
        (folder / name).write_bytes(content)


def _some_library() -> Path:
    """A real shared library: the C library's mathematics."""
    name = ctypes.util.find_library("m")
    mapped = (Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines())
    return next(path for path in mapped if path.name == name)


def cuda(tmp_path: Path) -> Row:
    smi = Smi(("L4, 23034 MiB",), "570.1", "")
    _, row = gpu.rows(system(tmp_path / "system", driver=True), lambda: smi, workers=("skill",))
    return row


@pytest.fixture
def driver_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver's libcuda.so.1, found before any real one."""
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "libcuda.so.1").symlink_to(_some_library())
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    return folder / "libcuda.so.1"


def test_cuda_libraries_that_load(worker: Path, tmp_path: Path, driver_library: Path) -> None:
    """Found although `nvidia` has no __file__; cuFile's RDMA part is nobody's need."""
    library(worker, "cudnn", "libcudnn.so.9")
    library(worker, "cufile", "libcufile_rdma.so.1", b"wants libmlx5, and torch does not want it")

    assert cuda(tmp_path) == Row("cuda skill", "ok", "1 libraries load (cudnn)")


def test_driver_library_that_does_not_load(worker: Path, tmp_path: Path, driver_library: Path) -> None:
    library(worker, "cudnn", "libcudnn.so.9")
    driver_library.unlink()
    driver_library.write_bytes(b"no library")

    row = cuda(tmp_path)

    assert row.state == "problem"
    assert "libcuda.so.1" in row.detail
    assert "ldconfig" in row.fix


def test_cuda_library_that_does_not_load(worker: Path, tmp_path: Path) -> None:
    library(worker, "cublas", "libcublas.so.12")
    library(worker, "cudnn", "libcudnn.so.9", b"\x7fELF and no more")

    row = cuda(tmp_path)

    assert row.state == "problem"
    assert "libcudnn.so.9" in row.detail
    assert "libcublas" not in row.detail
    assert row.fix.endswith("run.sh setup skill")


def test_environment_without_cuda_libraries(worker: Path, tmp_path: Path) -> None:
    row = cuda(tmp_path)

    assert row.state == "warning"
    assert "no CUDA libraries" in row.detail


def space(**gigabytes: float) -> object:
    return lambda folder: gigabytes[folder.name]


def disk_row(tmp_path: Path, check: str, missing: float, **gigabytes: float) -> Row:
    for name in gigabytes:
        (tmp_path / name).mkdir(exist_ok=True)
    found = disk.rows(tmp_path / "workspace", tmp_path / "envs", missing, space(**gigabytes))
    return {row.check: row for row in found}[check]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "workspace"))

    full = disk_row(tmp_path, "disk workspace", 0, workspace=0.2, envs=0.2)
    little = disk_row(tmp_path, "disk workspace", 0, workspace=3, envs=3)
    much = disk_row(tmp_path, "disk workspace", 0, workspace=40, envs=40)

    assert (full.state, little.state, much.state) == ("problem", "warning", "ok")
    assert "prune" in full.fix
    assert "7.7 (Qwen3-TTS)" in little.detail


def test_disk_too_small_for_the_missing_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "workspace"))

    small = disk_row(tmp_path, "disk environments", 15.8, workspace=100, envs=16)
    enough = disk_row(tmp_path, "disk environments", 15.8, workspace=100, envs=18)
    nothing_missing = disk_row(tmp_path, "disk environments", 0, workspace=100, envs=0.1)

    assert (small.state, enough.state, nothing_missing.state) == ("problem", "ok", "ok")
    assert "TTS_TRAIN_ENVS" in small.fix


def test_hub_cache_on_a_disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(disk, "_device", lambda folder: folder.name == "cache")

    row = disk_row(tmp_path, "disk hub cache", 0, workspace=100, envs=100, cache=1)

    assert (row.state, row.fix) == ("warning", "set HF_HOME to another disk")


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert disk.free_gigabytes(tmp_path / "a/b") == pytest.approx(disk.free_gigabytes(tmp_path), abs=0.5)

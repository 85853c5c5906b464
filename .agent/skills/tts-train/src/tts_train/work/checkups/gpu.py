"""NVIDIA GPUs: the card, its driver, and the CUDA libraries of each worker environment, loaded for a trial."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tts_train import environments
from tts_train.work.checkups import packages
from tts_train.work.checkups.row import Row, listed

WORKERS = ("skill", "project")
"""Environments with torch."""
OLDEST_DRIVER = (525, 60)
"""CUDA 12's minor-version compatibility begins there; torch 2.8 brings CUDA 12.8."""
_NVIDIA = "0x10de"
_DISPLAY = "0x03"
_SECONDS = 120

# Run by the environment's own Python. `nvidia` may be a namespace package, whose __file__ is None: its __path__ is what
# find_spec gives as search locations. Libraries need each other, so what fails is tried again after the others.
# cuFile's RDMA part wants the machine's libmlx5 and nobody else wants it: only what torch loads is tried.
_TRIAL = """
import ctypes, importlib.util, json
from pathlib import Path
parts = "cublas cuda_nvrtc cuda_runtime cudnn cufft curand cusolver cusparse cusparselt nccl nvjitlink".split()
spec = importlib.util.find_spec("nvidia")
places = list(spec.submodule_search_locations or ()) if spec else []
left = sorted({str(file) for place in places for part in parts for file in Path(place, part, "lib").glob("*.so*")})
found, why = [Path(file).parts[-3] for file in left], {}
while left:
    failed = []
    for file in left:
        try:
            ctypes.CDLL(file, ctypes.RTLD_GLOBAL)
        except OSError as error:
            failed.append(file)
            why[file] = str(error)
    if len(failed) == len(left):
        break
    left = failed
try:
    ctypes.CDLL("libcuda.so.1")
    driver = ""
except OSError as error:
    driver = str(error)
failed = {file: why[file] for file in left}
print(json.dumps({"parts": sorted(set(found)), "count": len(found), "failed": failed, "driver": driver}))
"""


@dataclass(frozen=True)
class Smi:
    """What nvidia-smi answered. `error`: why there is no answer, or ""."""

    gpus: tuple[str, ...]
    """Name, memory."""
    driver: str
    error: str


def has_driver(system: Path = Path("/")) -> bool:
    """Whether the kernel has an NVIDIA driver loaded, or Windows lends one to its Linux (WSL)."""
    return any(
        (system / file).exists()
        for file in ("proc/driver/nvidia/version", "dev/nvidia0", "usr/lib/wsl/lib/libcuda.so.1")
    )


def has_card(system: Path = Path("/")) -> bool:
    """Whether a display controller of NVIDIA is on the PCI bus, with a driver or without."""
    return any(
        _line(device / "vendor") == _NVIDIA and _line(device / "class").startswith(_DISPLAY)
        for device in (system / "sys/bus/pci/devices").glob("*")
    )


def ask_smi() -> Smi:
    """Ask nvidia-smi, which comes with the driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Smi((), "", "nvidia-smi is not on PATH")
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Smi((), "", f"nvidia-smi does not answer: {error}")
    if answer.returncode != 0:
        said = (answer.stdout + answer.stderr).strip().splitlines() or [f"exit code {answer.returncode}"]
        return Smi((), "", f"nvidia-smi failed: {said[0]}")
    lines = [line.rpartition(", ") for line in answer.stdout.splitlines() if line.count(", ") >= 2]
    return Smi(tuple(line[0] for line in lines), lines[0][2] if lines else "", "" if lines else "it lists no GPU")


def rows(system: Path = Path("/"), ask: Callable[[], Smi] = ask_smi, workers: Sequence[str] = WORKERS) -> Iterator[Row]:
    """One row for the card and its driver; with a driver, one for the CUDA libraries of each worker environment."""
    if not has_driver(system):
        if has_card(system):
            fix = "install NVIDIA's driver for this kernel (525 or newer), or start the container with --gpus all"
            yield Row("gpu", "warning", "an NVIDIA card is on the bus and no driver is loaded: torch sees no GPU", fix)
        else:
            detail = "none: Piper trains in minutes on a CPU; Qwen3-TTS and XTTS-v2 want an NVIDIA GPU"
            yield Row("gpu", "absent-but-optional", detail, "backend: piper here, or another machine for the others")
        return
    yield _driver(ask())
    for name in workers:
        if environments.is_usable(name):
            yield _libraries(name)


def _driver(smi: Smi) -> Row:
    if "failed" in smi.error or "does not answer" in smi.error:
        fix = "reboot, or reload the nvidia kernel modules: after an update the driver's two halves differ"
        return Row("gpu", "problem", f"a driver is loaded, but {smi.error}", fix)
    if smi.error:
        fix = "in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility; else install the driver's utilities"
        return Row("gpu", "warning", f"a driver is loaded, but {smi.error}: memory cannot be planned", fix)
    detail = f"{'; '.join(smi.gpus)}; driver {smi.driver}"
    numbers = tuple(int(part) for part in smi.driver.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_DRIVER:
        oldest = ".".join(map(str, OLDEST_DRIVER))
        return Row("gpu", "problem", f"{detail} is too old for CUDA 12", f"install NVIDIA's driver {oldest} or newer")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Row("gpu", "warning", f"{detail}; CUDA_VISIBLE_DEVICES hides all", "unset CUDA_VISIBLE_DEVICES")
    return Row("gpu", "ok", detail)


def _libraries(name: str) -> Row:
    """Whether an environment's CUDA libraries load, in a process of its own: a broken one may take it down."""
    check, again = f"cuda {name}", packages.set_up_again(name)
    command = [str(environments.interpreter(name)), "-I", "-c", _TRIAL]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        found = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return Row(check, "problem", f"the trial of its CUDA libraries ended without an answer: {error}", again)
    if found["failed"]:
        failed = [f"{Path(file).name}: {why}" for file, why in found["failed"].items()]
        return Row(check, "problem", f"cannot be loaded: {listed(failed, 3)}", again)
    if not found["count"]:
        detail = "a driver is there, but this environment has no CUDA libraries: torch runs on the CPU"
        return Row(check, "warning", detail, again)
    if found["driver"]:
        fix = "let the loader find the driver's libcuda.so.1: run ldconfig, or start the container with --gpus all"
        return Row(check, "problem", f"the driver's library cannot be loaded: {found['driver']}", fix)
    return Row(check, "ok", f"{found['count']} libraries load ({', '.join(found['parts'])})")


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

"""What this machine has to train with, found out without torch: the core environment plans, another one trains."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tts_train import environments
from tts_train.training.compute import Compute, Gpus, resolve

if TYPE_CHECKING:
    from tts_train.config import TrainConfig

GIB = 2**30
GB = 1e9
GPU_SHARE = 0.4
"""Of its peak that training reaches: usual, not measured."""
GPU_TFLOPS = {"H100": 989, "L40S": 362, "A100": 312, "RTX 4090": 165, "RTX A6000": 155, "L4": 121, "RTX 3090": 71}
"""Dense bfloat16 arithmetic as the vendor's data sheets have it."""
REFERENCE_GPU = "RTX 4090"
DEVICE_FILES = ("/dev/nvidia0", "/dev/kfd")
"""There when a driver is loaded, even where nvidia-smi is not installed."""
BFLOAT16_FROM = 8.0
"""CUDA compute capability."""


@dataclass(frozen=True)
class Gpu:
    name: str
    gib: float
    capability: float
    """0, like `gib`: the driver does not tell."""


@dataclass(frozen=True)
class Machine:
    gpus: tuple[Gpu, ...]
    maybe_gpu: bool
    """A driver is loaded, but nothing lists its GPUs."""
    memory_gib: float
    cores: int

    def compute(self, config: TrainConfig) -> Compute:
        """Where this will most likely train. Raises Unavailable for what is certainly not there."""
        if not self.gpus and self.maybe_gpu:
            return resolve(config, Gpus(config.processes, bfloat16=True))
        bfloat16 = all(gpu.capability >= BFLOAT16_FROM or not gpu.capability for gpu in self.gpus)
        return resolve(config, Gpus(len(self.gpus), bfloat16))

    def reckoned_gpu(self, compute: Compute) -> str | None:
        """The class of GPU that minutes are reckoned for; None: the CPU."""
        if compute.device == "cpu":
            return None
        return (gpu_class(self.gpus[0].name) if self.gpus else None) or REFERENCE_GPU

    def short_of_memory(self, needed_gib: float, compute: Compute, processes: int) -> str:
        """What is needed and what is there, when that is known and too little; else "". `needed_gib`: per process."""
        where, there = "GPU memory", min((gpu.gib for gpu in self.gpus[:processes] if gpu.gib), default=None)
        if compute.device == "cpu":
            needed_gib, where, there = needed_gib * processes, "memory", self.memory_gib
        if there is None or needed_gib <= there:
            return ""
        return f"about {needed_gib:.0f} GiB of {where} are needed and {there:.0f} are there"


def gpu_class(name: str) -> str | None:
    """The class in GPU_TFLOPS to which a GPU as nvidia-smi names it belongs."""
    return next((known for known in GPU_TFLOPS if re.search(rf"\b{known.removeprefix('RTX ')}\b", name)), None)


_planned: ContextVar[Machine | None] = ContextVar("planned", default=None)


@contextmanager
def as_planned_for(machine: Machine) -> Iterator[None]:
    """`look` sees `machine`: what is planned here will run there."""
    token = _planned.set(machine)
    try:
        yield
    finally:
        _planned.reset(token)


def look() -> Machine:
    """Read GPUs, memory and cores off this machine, or tell those of the one it is planned for."""
    elsewhere = _planned.get()
    if elsewhere is not None:
        return elsewhere
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Machine(
        gpus=_shown(_gpus(), visible),
        maybe_gpu=visible not in ("", "-1") and any(Path(file).exists() for file in DEVICE_FILES),
        memory_gib=psutil.virtual_memory().total / 2**30,
        cores=os.cpu_count() or 1,
    )


def _gpus() -> tuple[Gpu, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = [row.split(", ") for row in answer.stdout.splitlines()] if answer.returncode == 0 else []
    return tuple(Gpu(row[0], _number(row[1]) / 1024, _number(row[2])) for row in rows if len(row) == 3)


def _shown(gpus: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES lets a program see: numbers up to the first that is none, or as many as ids."""
    if visible is None:
        return gpus
    shown: list[Gpu] = []
    for name in visible.split(",") if visible else ():
        number = int(name) if name.strip().isdigit() else len(shown)
        if number >= len(gpus) or name.strip().startswith("-"):
            break
        shown.append(gpus[number])
    return tuple(shown)


def _number(text: str) -> float:
    """0 for what a driver does not tell ("[N/A]")."""
    return float(text) if text.strip().replace(".", "", 1).isdigit() else 0.0


def has_package(name: str, environment: str = "project") -> bool:
    """Whether an environment, not necessarily this one, has an import package."""
    folder = environments.interpreter(environment).parents[1]
    return any(folder.glob(f"lib/python3*/site-packages/{name}/__init__.py"))

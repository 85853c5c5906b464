"""What to rent for a training: how much GPU, for how much, for how long; and the request that asks for it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.backends.machine import REFERENCE_GPU, Gpu, Machine, as_planned_for
from tts_train.cloud import bundle as bundles
from tts_train.cloud.choose import Offer, memory_needed
from tts_train.config import TrainConfig, load_train_config
from tts_train.errors import UsageError
from tts_train.work import train
from tts_train.workspace import Workspace

IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
"""RunPod's own: sshd, Python 3.12, a driver for torch 2.8."""
CUDA = "12.8"
_ENVIRONMENTS_GB = 45
"""Environments, the package cache they are made from, and a model from the hub."""


@dataclass(frozen=True)
class Wish:
    """What the user said."""

    max_price: float
    """US dollars an hour for all GPUs together."""
    max_hours: float
    image: str = IMAGE
    cloud: str = "SECURE"
    gpu: str | None = None
    volume: str | None = None
    """ID of a network volume, or ID:PATH."""
    variables: tuple[str, ...] = ()
    """Names of variables of this environment that the job gets, too."""
    probe: bool = True
    tries: int = 5

    @property
    def mount(self) -> tuple[str, str] | None:
        """(id of the volume, where it is mounted)."""
        if self.volume is None:
            return None
        identifier, _, path = self.volume.partition(":")
        path = path or "/workspace"
        if not identifier or not path.startswith("/") or ".." in path.split("/"):
            raise UsageError(f"'{self.volume}' is no volume", hint="ID, or ID:/PATH")
        return identifier, path

    def root(self, run: str) -> str:
        """The folder of a run's files on the machine."""
        return f"{self.mount[1]}/tts-train/{run}" if self.mount else f"tts-train/{run}"

    @property
    def environment(self) -> dict[str, str]:
        """The job's variables. Raises UsageError for one that is not set."""
        missing = [name for name in self.variables if name not in os.environ]
        if missing:
            raise UsageError(f"not set: {', '.join(missing)}", hint="--env NAME takes its value from here")
        gpl = {"TTS_TRAIN_NO_GPL": os.environ["TTS_TRAIN_NO_GPL"]} if "TTS_TRAIN_NO_GPL" in os.environ else {}
        return {**gpl, **{name: os.environ[name] for name in self.variables}}


@dataclass(frozen=True)
class Planned:
    """A training that could begin on a machine with such GPUs."""

    config: TrainConfig
    bundle: bundles.Bundle
    training: Mapping[str, Any]
    """What `train-local --dry-run` says, reckoned for a rented GPU."""

    @property
    def gib(self) -> float:
        """Memory of each GPU."""
        return memory_needed(self.training["estimate"])

    @property
    def disk_gb(self) -> int:
        written = float(self.training["estimate"].get("disk_gigabytes") or 0.0)
        return _ENVIRONMENTS_GB + math.ceil(self.bundle.gigabytes + 1.5 * written)


def plan(path: Path, workspace: Workspace) -> Planned:
    """Check a config as `train-local` does, for a machine that has the GPUs this one may lack.

    Raises what `train-local` raises, and ConfigError for files outside of the workspace.
    """
    config = load_train_config(path, workspace)
    if config.device == "cpu":
        raise UsageError(f"{path} says device: cpu", hint="set device: auto, or train it here: run.sh train-local")
    gpu = Gpu(f"NVIDIA GeForce {REFERENCE_GPU}", 0.0, 8.9)
    with as_planned_for(Machine((gpu,) * config.processes, maybe_gpu=True, memory_gib=64.0, cores=8)):
        training = train.plan(config, workspace)
    return Planned(config, bundles.bundle(config, path, workspace), training)


def request(
    name: str, offer: Offer, planned: Planned, wish: Wish, public_key: str, data_center: str | None
) -> dict[str, Any]:
    """The body of POST /v2/pods. There is no secret in it: those of the job go to it over ssh.

    `data_center`: of the volume, when there is one.
    """
    body: dict[str, Any] = {
        "name": name,
        "image": wish.image,
        "cloud": wish.cloud,
        "gpu": {"id": offer.gpu, "count": planned.config.processes, "minCudaVersion": CUDA},
        "disk": planned.disk_gb,
        "ports": ["22/tcp"],
        "startSsh": True,
        "env": {"PUBLIC_KEY": public_key},
    }
    if wish.mount:
        body["mounts"] = {"network": [{"volumeId": wish.mount[0], "path": wish.mount[1]}]}
    if data_center:
        body["dataCenterIds"] = [data_center]
    return body


def told(planned: Planned, wish: Wish, offers: Sequence[Offer], body: Mapping[str, Any]) -> dict[str, Any]:
    """What --dry-run says."""
    best = offers[0]
    warnings = list(planned.training["warnings"])
    if best.dollars is None:
        warnings.append("without a key nobody can say what is in stock and what it costs")
    if wish.mount is None:
        warnings.append("no network volume: what was not fetched when a pod is lost is trained again")
    most = round(wish.max_price * wish.max_hours, 2)
    price = "price unknown" if best.dollars is None else f"${best.dollars:g} an hour"
    return {
        "run": planned.config.run,
        "request": dict(body),
        "needs": {"gpu_memory_gib": planned.gib, "gpus": planned.config.processes, "disk_gb": planned.disk_gb},
        "offers": [
            {"gpu": offer.gpu, "memory_gb": offer.gigabytes, "dollars_an_hour": offer.dollars} for offer in offers
        ],
        "caps": {"dollars_an_hour": wish.max_price, "hours": wish.max_hours, "dollars": most, "pods": wish.tries},
        "upload": {"files": len(planned.bundle.files), "gigabytes": round(planned.bundle.gigabytes, 3)},
        "variables_of_the_job": dict.fromkeys(wish.variables, "***"),
        "estimate": planned.training["estimate"],
        "warnings": warnings,
        "text": "\n".join(
            [
                f"{planned.config.run}: {planned.config.processes} x {best.gpu} ({price}), {planned.gib:g} GiB needed",
                f"at most {wish.max_hours:g} hours at ${wish.max_price:g}: ${most:g}; {wish.tries} pods at most",
                f"{len(planned.bundle.files)} files, {planned.bundle.gigabytes:.2f} GB go there",
                *(f"warning: {warning}" for warning in warnings),
            ]
        ),
    }

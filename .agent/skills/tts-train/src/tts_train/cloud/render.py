"""A training as a file for tools that rent or queue machines themselves: SkyPilot, dstack, Slurm. Nothing is sent."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tts_train.cloud.bundle import SKILL, WORKSPACE
from tts_train.cloud.plan import CUDA, IMAGE, Planned, plan
from tts_train.errors import UsageError
from tts_train.files import write_text
from tts_train.workspace import Workspace, check_name, skill_root

_STOP_SECONDS = 300
"""Before the end of its hours a job is told to save."""
_SKY_GPUS = {"RTX4090": 24, "L4": 24, "A10G": 24, "L40S": 48, "A100-80GB": 80, "H100": 80}


@dataclass(frozen=True)
class Order:
    """A training and what the user wants of the machine."""

    planned: Planned
    workspace: Path
    config: Path
    name: str
    hours: float
    spot: bool
    storage: str | None
    variables: tuple[str, ...]
    """Names: their values are asked for by the tool."""

    @property
    def gpus(self) -> int:
        return self.planned.config.processes

    @property
    def train(self) -> str:
        """In the folder of `files`."""
        config = f"{WORKSPACE}/{self.planned.bundle.config}"
        command = shlex.join([f"{SKILL}/run.sh", "train-local", config])
        return f'TTS_TRAIN_WORKSPACE="$PWD/{WORKSPACE}" {command}'

    @property
    def files(self) -> dict[str, str]:
        """Name there → what to copy, relative to the workspace where it is below it.

        Not the workspace as a whole: these tools leave out what .gitignore names, and that is what is needed.
        """
        root = self.workspace
        places = self.planned.bundle.places.items()
        return {name: f"./{at.relative_to(root)}" if at.is_relative_to(root) else str(at) for name, at in places}


def rendered(
    config: Path,
    workspace: Workspace,
    *,
    target: str,
    hours: float,
    spot: bool,
    storage: str | None,
    variables: Sequence[str] = (),
    output: Path | None,
) -> dict[str, Any]:
    """The file's text and how to hand it over. Raises UsageError for what the target cannot keep."""
    if spot and not storage and target != "slurm":
        raise UsageError("--spot loses the run with the machine", hint="name what keeps it: --storage NAME")
    if target == "slurm" and (spot or storage or variables):
        raise UsageError(
            "Slurm knows no --spot, --storage or --env",
            hint="leave them out: a preempted job is queued again, and it has your variables",
        )
    if storage is not None:
        check_name(storage, "storage")
    planned, path = plan(config, workspace), config.resolve()
    order = Order(
        planned=planned,
        workspace=workspace.root,
        config=path,
        name=f"tts-{planned.config.run}".replace("_", "-")[:40].rstrip("-"),
        hours=hours,
        spot=spot,
        storage=storage,
        variables=tuple(variables),
    )
    make, submit = _TARGETS[target]
    text = make(order)
    if output is not None:
        write_text(output, text)
    return {
        "target": target,
        "name": order.name,
        "needs": {"gpu_memory_gib": planned.gib, "gpus": order.gpus, "disk_gb": planned.disk_gb},
        "warnings": list(planned.training["warnings"]),
        "next": f"cd {shlex.quote(str(workspace.root))} && {submit.format(file=output or 'FILE', name=order.name)}",
        "text": text,
    }


def skypilot(order: Order) -> str:
    """A managed job: `sky jobs launch` starts another machine when one is taken away.

    A bucket is mounted at artifacts/; RunPod has no such mounts, so there SkyPilot refuses a file with --storage.
    """
    fit = [f"{name}:{order.gpus}" for name, size in _SKY_GPUS.items() if size >= order.planned.gib]
    if not fit:
        raise UsageError(f"no GPU that is known here has {order.planned.gib:g} GiB", hint="a smaller batch_size")
    resources: dict[str, Any] = {"accelerators": fit, "disk_size": max(50, order.planned.disk_gb)}
    mounts: dict[str, Any] = {f"~/tts-train/{name}": path for name, path in order.files.items()}
    task: dict[str, Any] = {"name": order.name, "resources": resources, "file_mounts": mounts}
    lines = ["cd ~/tts-train", "export TTS_TRAIN_ENVS=$HOME/tts-train-envs"]
    if order.storage:
        mounts["/artifacts"] = {"name": order.storage, "mode": "MOUNT_CACHED"}
        lines.append(f"ln -sfn /artifacts {WORKSPACE}/artifacts")
    lines.append(f"timeout {_hours(order)} env {order.train}")
    if order.spot:
        resources |= {"use_spot": True, "job_recovery": {"strategy": "FAILOVER", "max_restarts_on_errors": 0}}
    if order.variables:
        task["secrets"] = dict.fromkeys(order.variables)
    task["setup"] = "\n".join(["set -e", *lines[:2], _setup(order), ""])
    task["run"] = "\n".join(["set -e", *lines, ""])
    return _yaml(task)


def dstack(order: Order) -> str:
    """A task of dstack: `dstack apply -f FILE`. The volume has to be there; it is mounted at artifacts/."""
    task: dict[str, Any] = {
        "type": "task",
        "name": order.name,
        "image": IMAGE,
        "files": [f"{path}:{name}" for name, path in order.files.items()],
        "env": [*order.variables, "TTS_TRAIN_ENVS=/opt/tts-train-envs"],
        "commands": [_setup(order), order.train],
        "resources": {
            "gpu": {"vendor": "nvidia", "memory": f"{order.planned.gib:g}GB..", "count": order.gpus},
            "disk": f"{max(50, order.planned.disk_gb)}GB..",
        },
        "max_duration": f"{math.ceil(order.hours * 3600)}s",
        "stop_duration": f"{_STOP_SECONDS}s",
        "spot_policy": "spot" if order.spot else "on-demand",
    }
    if order.storage:
        task["volumes"] = [f"{order.storage}:/artifacts"]
        task["commands"].insert(0, f"ln -sfn /artifacts {WORKSPACE}/artifacts")
    if order.spot:
        task["retry"] = {"on_events": ["no-capacity", "interruption"], "duration": task["max_duration"]}
    return _yaml(task)


def slurm(order: Order) -> str:
    """A batch script: `sbatch FILE`. Workspace and skill have to be where the nodes see them, too.

    Five minutes before its time is over it saves and is queued again; so it is when it is preempted.
    """
    minutes = math.ceil(order.hours * 60)
    return f"""#!/bin/bash
# {CUDA_NOTE}
#SBATCH --job-name={order.name}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:{order.gpus}
#SBATCH --mem=64G
#SBATCH --time={minutes}
#SBATCH --signal=B:TERM@{_STOP_SECONDS}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={order.name}-%j.log
set -u
cd {shlex.quote(str(order.workspace))} || exit 74

{shlex.join([str(skill_root() / "run.sh"), "train-local", str(order.config)])} &
training=$!
trap 'kill -TERM "$training" 2>/dev/null' TERM
code=0
wait "$training" || code=$?
# A signal ends the waiting, not yet the training.
while kill -0 "$training" 2>/dev/null; do
  code=0
  wait "$training" || code=$?
done
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID" && exit 0
fi
exit "$code"
"""


CUDA_NOTE = f"Each GPU needs the memory that `run.sh cloud render` says, and a driver for CUDA {CUDA}."
_TARGETS: Mapping[str, tuple[Callable[[Order], str], str]] = {
    "skypilot": (skypilot, "sky jobs launch {file}"),
    "dstack": (dstack, "dstack apply -f {file}"),
    "slurm": (slurm, "sbatch {file}"),
}


def _setup(order: Order) -> str:
    return shlex.join([f"{SKILL}/run.sh", "setup", "core", str(order.planned.training["environment"])])


def _hours(order: Order) -> str:
    return f"--signal=TERM --kill-after={_STOP_SECONDS}s {math.ceil(order.hours * 3600)}s"


def _yaml(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(value), sort_keys=False, width=1000)
    return text

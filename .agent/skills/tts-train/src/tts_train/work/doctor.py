"""doctor: what this machine can and cannot do, read off it; installs nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tts_train import installation
from tts_train.workspace import Workspace, repository_root, skill_root

LEVELS = {
    "v2": {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
    "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
}
"""CPU flags of the x86-64 levels; NumPy 2 needs v2."""


def examine(workspace: Workspace) -> dict[str, Any]:
    """Facts and, for each that stands in the way, what to do."""
    environments = [installation.state(name) for name, recipe in installation.recipes().items() if recipe.default]
    disk = shutil.disk_usage(workspace.root)
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 1e9, 1),
        "disk_free_gigabytes": round(disk.free / 1e9, 1),
        "cpu_level": cpu_level(_cpu_flags()),
        "gpus": _gpus(),
        "workspace": str(workspace.root),
        "skill": str(skill_root()),
        "repository": str(repository_root() or "") or None,
        "environments": environments,
    }
    facts["findings"] = _findings(facts)
    facts["text"] = _text(facts)
    return facts


def cpu_level(flags: set[str]) -> str:
    """x86-64 level by CPU flags: v1, v2 or v3; the machine's name elsewhere."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return platform.machine()
    if not flags >= LEVELS["v2"]:
        return "x86-64-v1"
    return "x86-64-v3" if flags >= LEVELS["v3"] else "x86-64-v2"


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return set().union(*LEVELS.values())
    line = next((line for line in path.read_text().splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def _findings(facts: dict[str, Any]) -> list[dict[str, str]]:
    findings = []
    for environment in facts["environments"]:
        if environment["state"] in ("missing", "stale"):
            name = environment["name"]
            findings.append(
                {"what": f"the {name} environment is {environment['state']}", "try": f"run.sh setup {name}"}
            )
    missing = sum(item["megabytes"] for item in facts["environments"] if item["state"] == "missing") / 1000
    if facts["disk_free_gigabytes"] < missing + 2:
        findings.append({"what": f"the missing environments need {missing:.0f} GB", "try": "free some disk space"})
    if not facts["gpus"]:
        findings.append(
            {"what": "no GPU: the piper backend trains in minutes on a CPU", "try": "use backend piper here"}
        )
    if facts["cpu_level"] == "x86-64-v1":
        findings.append({"what": "NumPy 2 does not run on this CPU (x86-64-v1)", "try": "another machine"})
    return findings


def _text(facts: dict[str, Any]) -> str:
    machine = (
        f"{facts['cores']} cores ({facts['cpu_level']}), {facts['memory_gigabytes']} GB memory, "
        f"{facts['disk_free_gigabytes']} GB free, GPUs: {', '.join(facts['gpus']) or 'none'}"
    )
    lines = [machine, *(f"{item['name']:8} {item['state']:10} {item['about']}" for item in facts["environments"])]
    lines += [f"- {finding['what']}. Try: {finding['try']}" for finding in facts["findings"]]
    return "\n".join(lines)

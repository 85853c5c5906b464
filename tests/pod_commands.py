"""Stands in for run.sh on a fake pod: quick `jobs` and a quick training, with the answers and files of the real ones.

Each step hashes the one before, each epoch publishes the hash, and the state resumes: what a lost pod does to the real
training is tests/skill/test_runpod_piper.py's. A file `fails` in the dataset's folder ends it with the code in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 8
STEP_SECONDS = 0.12


def stand_in(folder: Path) -> Path:
    """A skill's folder whose run.sh is this file."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/command.py").write_bytes(Path(__file__).read_bytes())
    program = folder / "run.sh"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ISs "$(dirname "$0")/src/command.py" "$@"\n')
    program.chmod(0o755)
    return folder


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(value if isinstance(value, str) else json.dumps(value))
    temporary.replace(path)


def train(workspace: Path, config: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Its exit code and its answer."""
    run, stop = workspace / "artifacts/tts" / config["run"], []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    fails = (workspace / config["dataset"]).parent / "fails"
    if fails.is_file():
        said = f"loss is nan; token {os.environ.get('HF_TOKEN')}"
        return int(fails.read_text()), {"error": {"kind": "diverged", "message": said, "hint": "lower lr"}}
    state = run / "state/state.pt"
    at = json.loads(state.read_text()) if state.is_file() else {"step": 0, "hash": "seed"}
    write(run / "run.json", {"run": config["run"], "config": config})
    while at["step"] < STEPS * config["epochs"]:
        time.sleep(STEP_SECONDS)
        at = {"step": at["step"] + 1, "hash": hashlib.sha256(at["hash"].encode()).hexdigest()}
        number, within = divmod(at["step"], STEPS)
        write(run / "status.json", {"state": "training", "host": "a-pod", **at, "epoch": number + 1, "loss": 1.0})
        if within == 0:
            folder = run / f"epochs/.tmp-epoch-{number:03d}"
            write(folder / "weights.safetensors", at["hash"])
            write(folder / "epoch.json", {"epoch": number})
            if not (final := folder.with_name(f"epoch-{number:03d}")).exists():
                folder.rename(final)
        if within == 0 or stop:
            write(state, at)
        if stop:
            return 143, {"error": {"kind": "stopped", "message": "stopped", "hint": "", "signal": "SIGTERM"}}
    write(run / "status.json", {"state": "done", "host": "a-pod", **at, "epoch": config["epochs"], "loss": 1.0})
    return 0, {"result": {"run": config["run"]}}


def submit(workspace: Path, name: str, config: Path) -> dict[str, Any]:
    if os.fork():
        return {"id": name}
    os.setsid()
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)
    job = {"name": name, "state": "running", "pid": os.getpid(), "exit_code": None}
    write(workspace / f"jobs/{name}", job)
    code, answer = train(workspace, json.loads(config.read_text()))
    state = {0: "ended", 143: "stopped"}.get(code, "failed")
    write(workspace / f"jobs/{name}", {**job, "state": state, "exit_code": code, "answer": answer})
    os._exit(0)


def jobs(workspace: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((workspace / "jobs").glob("cloud-*"))]
    for job in found:
        if job["state"] == "running" and not Path(f"/proc/{job['pid']}").exists():
            job["state"] = "lost"
    return found


def stop(workspace: Path, name: str) -> dict[str, Any]:
    job = next(job for job in jobs(workspace) if job["name"] == name)
    if job["state"] == "running":
        os.kill(job["pid"], signal.SIGTERM)
    while next(job for job in jobs(workspace) if job["name"] == name)["state"] == "running":
        time.sleep(0.02)
    return {"name": name}


def main() -> None:
    words = sys.argv[2:]
    workspace = Path(words[words.index("--workspace") + 1])
    if words[0] == "submit":
        at = words.index("train-local")
        result: Any = submit(workspace, words[words.index("--name") + 1], Path(words[at + 1]))
    elif words[0] == "list":
        result = {"jobs": jobs(workspace)}
    elif words[0] == "stop":
        result = stop(workspace, next(word for word in words if word.startswith("cloud-")))
    else:
        job = next(job for job in jobs(workspace) if job["name"] in words)
        print(json.dumps({"ok": False, "error": {"kind": "job-failed", "message": "failed", "hint": "", "job": job}}))
        sys.exit(job["exit_code"])
    print(json.dumps({"ok": True, "result": result}))


if __name__ == "__main__":
    main()

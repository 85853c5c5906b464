"""RunPod on loopback: its REST API, version 2, and pods that are folders and processes of this machine.

`FakeRunPod` serves the API, checks what is sent against the published schema's fields, and fails as it is told to.
The `ssh` of `variables` runs a command in the home folder of the pod with that port. A pod's processes carry its name
in their environment, so that it can be taken away as a cloud does it: all at once, without a word.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "rpa_PLANTEDPLANTEDPLANTEDPLANTED0123456789"
GPUS = [
    {"id": "NVIDIA A100 80GB PCIe", "name": "A100 PCIe", "memory": 80, "price": {"secure": 1.64, "community": 1.19}},
    {"id": "NVIDIA RTX A4000", "name": "RTX A4000", "memory": 16, "price": {"secure": 0.25, "community": 0.17}},
    {"id": "NVIDIA GeForce RTX 4090", "name": "RTX 4090", "memory": 24, "price": {"secure": 0.69, "community": 0.34}},
]
# CreatePodRequest of the published schema, which refuses what it does not know.
_FIELDS = {"name", "image", "cloud", "gpu", "disk", "ports", "startSsh", "env", "mounts", "dataCenterIds", "registry"}
_MARK = "TTS_FAKE_POD"


@dataclass
class Fault:
    """Told `times` to a request that matches. `what`: a status, "silence", or "made" (done, and then silence)."""

    request: str
    what: int | str
    times: int = 1
    after: int = 0
    """As many are served well first."""


@dataclass
class FakeRunPod:
    """The account. `folder` holds the pods' homes."""

    folder: Path
    key: str = KEY
    faults: list[Fault] = field(default_factory=list)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cost: float | None = None
    """What a pod really costs, where that is not the list price."""
    ended: list[str] = field(default_factory=list)
    no_room: tuple[str, ...] = ()
    address: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def home(self, identifier: str) -> Path:
        return self.folder / "homes" / str(self.pods[identifier]["port"])

    def alive(self) -> list[str]:
        """Ids of pods that cost money."""
        return [identifier for identifier, pod in self.pods.items() if pod["status"] != "TERMINATED"]

    def take_away(self, identifier: str, status: str = "EXITED") -> None:
        """End a pod's processes and its disk at once; on a volume everything stays as it is."""
        with self._lock:
            self.pods[identifier]["status"] = status
            (self.home(identifier) / "RUNS").unlink(missing_ok=True)
            kill_marked(self.pods[identifier]["name"])
            shutil.rmtree(self.home(identifier), ignore_errors=True)

    def answer(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        with self._lock:
            self.asked.append(f"{method} {path}")
            if method == "GET" and path.startswith("/v2/catalog/gpus"):
                rows = [{**gpu, "manufacturer": "NVIDIA", "availability": "HIGH"} for gpu in GPUS]
                return 200, {"gpus": [{**row, "maxCount": {"secure": 8, "community": 4}} for row in rows]}
            if method == "GET" and path == "/v2/network-volumes/vol1":
                return 200, {"id": "vol1", "name": "v", "size": 50, "dataCenter": "EU-RO-1", "type": "STANDARD"}
            if method == "GET" and path == "/v2/pods":
                return 200, {"pods": [self._shown(identifier) for identifier in self.alive()]}
            if method == "POST" and path == "/v2/pods":
                return self._create(body or {})
            found = re.fullmatch(r"/v2/pods/([a-z0-9]+)", path)
            if found is None or found[1] not in self.alive():
                return 404, problem(404, "pod not found")
            if method == "DELETE":
                self.take_away(found[1], "TERMINATED")
                self.ended.append(found[1])
                return 204, None
            return 200, self._shown(found[1])

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        unknown = body.keys() - _FIELDS
        if unknown or not {"name", "image", "gpu"} <= body.keys():
            return 422, {**problem(422, "Request validation failed."), "errors": [f"unknown: {sorted(unknown)}"]}
        if body["gpu"]["id"] in self.no_room:
            return 400, problem(400, "There are no instances currently available")
        identifier = f"pod{len(self.pods) + 1}"
        gpu = next(gpu for gpu in GPUS if gpu["id"] == body["gpu"]["id"])
        cost = self.cost if self.cost is not None else gpu["price"][body["cloud"].lower()]
        port = 40000 + len(self.pods) + 1
        if "mounts" in body and body.get("dataCenterIds") != ["EU-RO-1"]:
            return 400, problem(400, "the volume is not in the data center of the pod")
        self.bodies.append(body)
        self.pods[identifier] = {"name": body["name"], "status": "RUNNING", "port": port, "cost": cost}
        home = self.home(identifier)
        home.mkdir(parents=True, exist_ok=True)
        (home / "RUNS").write_text(body["name"])
        return 201, {**self._shown(identifier), "status": "PROVISIONING", "ssh": {"proxy": None, "direct": None}}

    def _shown(self, identifier: str) -> dict[str, Any]:
        pod = self.pods[identifier]
        there = {"host": "127.0.0.1", "port": pod["port"], "username": "root", "command": "ssh"}
        runs = pod["status"] == "RUNNING"
        return {
            "id": identifier,
            "name": pod["name"],
            "status": pod["status"],
            "cost": pod["cost"] if runs else 0.0,
            "ssh": {"proxy": None, "direct": there if runs else None},
        }

    def fault(self, asked: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if not fault.times or not re.match(fault.request, asked):
                    continue
                if not fault.after:
                    fault.times -= 1
                    return fault
                fault.after -= 1
            return None


def problem(status: int, detail: str) -> dict[str, Any]:
    """RFC 9457, as the real one does it."""
    return {"title": "Error", "status": status, "detail": detail}


def kill_marked(name: str) -> None:
    """Kill every process of a pod; again, for what they started meanwhile."""
    for _ in range(3):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{_MARK}={name}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), 9)
            except OSError:
                continue


@contextmanager
def serving(folder: Path) -> Iterator[FakeRunPod]:
    """The API on a free port of loopback; every pod's processes are gone afterwards."""
    runpod = FakeRunPod(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            fault = runpod.fault(f"{self.command} {path}")
            if self.headers.get("Authorization") != f"Bearer {runpod.key}":
                return self.send(401, problem(401, f"no such key: {self.headers.get('Authorization')}"))
            if fault is not None and fault.what == "made":
                runpod.answer(self.command, path, body)
            if fault is not None and isinstance(fault.what, str):
                self.close_connection = True  # and not a word
                return None
            if fault is not None:
                return self.send(int(fault.what), problem(int(fault.what), "as the test wants it"))
            return self.send(*runpod.answer(self.command, path, body))

        def send(self, status: int, answer: Any) -> None:
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815  http.server's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    runpod.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield runpod
    finally:
        server.shutdown()
        server.server_close()
        for pod in runpod.pods.values():
            kill_marked(pod["name"])


_SSH = r"""#!/bin/sh
# Stands in for ssh: runs its last argument in the home of the pod that -p names.
{{ printf '%s\n' "$@"; env; }} >>'{folder}/ssh.log'
while [ $# -gt 1 ]; do
  [ "$1" != -p ] || home='{folder}/homes/'$2
  shift
done
if ! [ -f "$home/RUNS" ]; then
  echo 'ssh: connect to host 127.0.0.1: Connection refused' >&2
  exit 255
fi
cd "$home" || exit 255
exec env -i HOME="$home" PATH="$PATH" {mark}="$(cat RUNS)" {kept} sh -c "$1"
"""
_KEPT = ("TTS_TRAIN_ENVS", "TTS_TRAIN_PYTHON", "TTS_TRAIN_NO_SETUP", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def variables(runpod: FakeRunPod, key: str | None = KEY) -> dict[str, str]:
    """The environment in which a client finds this RunPod, and its `ssh`."""
    programs = runpod.folder / "bin"
    programs.mkdir(exist_ok=True)
    kept = " ".join(f'{name}="{os.environ[name]}"' for name in _KEPT if name in os.environ)
    ssh = programs / "ssh"
    ssh.write_text(_SSH.format(folder=runpod.folder, mark=_MARK, kept=kept))
    ssh.chmod(0o755)
    path = os.environ["PATH"].removeprefix(f"{programs}:")
    own = {"PATH": f"{programs}:{path}", "RUNPOD_API_ADDRESS": runpod.address}
    return own | ({} if key is None else {"RUNPOD_API_KEY": key})

"""Pieces of work on the nodes of a Ray cluster, for more books than one machine can take.

Every node has this skill with its project environment (Ray was started from there), the dataset's folder, its sources
and the folder that the command was started in, all under the same paths: a shared file system. Pieces write their
receipts there, each under its own name and whole or not at all, so a piece that ran twice, because its node was lost in
between, has done what one that ran once has done. A node that sees another folder, or has other code, is refused.

Ray retries a task whose process or node died (docs.ray.io, "Task Fault Tolerance"). It asks nobody who he is: its ports
belong into a private network.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tts_train import environments, holders
from tts_train.engine.pieces import Describe, attempt, name_of, named, peak_rss_mib_here
from tts_train.errors import EnvironmentMissing, InputUnusable, TtsTrainError, Unavailable
from tts_train.files import LOCK, sha256_file, sha256_json
from tts_train.output import mute_progress, progress

P = TypeVar("P")
R = TypeVar("R")

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable: the cluster to use, without it the one that this machine is a node of."""
RETRIES = 3
"""How often a piece begins anew after its process or node died."""
PATIENCE_SECONDS = 30.0
"""A network's file system may show what was just written only after some seconds."""
PASSED_ON = ("HF_HUB_OFFLINE", "TORCH_FORCE_WEIGHTS_ONLY_LOAD")
"""Variables of this process that hold for its pieces, whatever Ray was started with."""


@dataclass(frozen=True)
class Terms:
    """What a node must find before it works: the caller's folder with its lock held by the caller, and its code."""

    cwd: Path
    shared: Path
    holder: dict[str, Any]
    code: str
    variables: dict[str, str]
    patience: float = PATIENCE_SECONDS


@dataclass
class Cluster:
    """An Engine on the Ray cluster that this machine belongs to."""

    shared: Path
    """The folder whose lock the caller holds."""
    asked: int | None = None
    """Pieces at a time; None: as many as there are CPUs and GPUs for."""
    threads: int = 1
    gpus: int = 0
    """CPUs and GPUs that a piece takes."""
    describe: Describe | None = None
    _peaks: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        held = holders.holder(self.shared / LOCK)
        assert held is not None, f"nobody holds {self.shared}"
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.terms = Terms(Path.cwd(), self.shared.resolve(), held, code_sha256(), variables)
        ray = _connected()
        # max_calls=0: for a task with a GPU Ray would start a process, and load the model, each time.
        self._work = ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_retries=RETRIES, max_calls=0)(
            _work_there
        )
        if not self._room():
            wanted = f"{self.threads} CPUs" + (f" and {self.gpus} GPUs" if self.gpus else "")
            progress(f"no node of the Ray cluster has {wanted}: pieces wait until one joins")

    @property
    def jobs(self) -> int:
        return self.asked or max(1, self._room())

    def _room(self) -> int:
        """How many pieces the nodes there are now can work at a time."""
        import ray

        wanted = {"CPU": self.threads, "GPU": self.gpus}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(int(min(there.get(what, 0) // count for what, count in wanted.items() if count)) for there in nodes)

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        done: dict[int, R] = {}
        following = 0
        for number, value in self._as_they_finish(work, pieces):
            done[number] = value
            while following in done:
                yield done.pop(following)
                following += 1

    def _as_they_finish(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[tuple[int, R]]:
        # No task is cancelled where this is left in the middle: one that ends just then makes ray.cancel(force=True)
        # abort this process (Ray 2.60.0, "Tried to complete task that was not pending", one time in 20 to 50). They
        # end with `close`, 0.3 s after it, and those that wait never begin.
        tasks: dict[Any, tuple[int, str]] = {}
        for number, piece in enumerate(pieces):
            what = name_of(self.describe, piece) or f"piece {number + 1}"
            tasks[self._work.remote(self.terms, work, piece)] = (number, what)
            while len(tasks) > self.jobs:
                yield self._collect(tasks)
        while tasks:
            yield self._collect(tasks)

    def peak_rss_mib(self) -> int:
        return peak_rss_mib_here() + sum(self._peaks.values())

    def close(self) -> None:
        """Leave the cluster, which ends what it does for this process."""
        import ray

        ray.shutdown()

    def _collect(self, tasks: dict[Any, tuple[int, str]]) -> tuple[int, Any]:
        """Wait for one piece: its number and result. Raises what its work raised, or that it could not be worked."""
        import ray

        [ready], _ = ray.wait(list(tasks), num_returns=1)
        number, what = tasks.pop(ready)
        try:
            value, failed, place, peak = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise TtsTrainError(
                f"Ray gave {what} up after {RETRIES + 1} attempts: {_first_line(error)}",
                hint="memory that ran out kills processes: fewer --jobs. What is finished stays: run it again",
            ) from error
        self._peaks[place] = peak
        if failed:
            raise named(value, what if self.describe else "")
        return number, value


def _work_there(terms: Terms, work: Callable[[P], R], piece: P) -> tuple[Any, bool, tuple[str, int], int]:
    """On a node: (value, whether it is an error, host and pid, peak MiB)."""
    os.environ.update(terms.variables)
    mute_progress()

    def agreed_work(piece: P) -> R:
        _agree(terms)
        return work(piece)

    value, failed = attempt(agreed_work, piece)
    return value, failed, (socket.gethostname(), os.getpid()), peak_rss_mib_here()


def _agree(terms: Terms) -> None:
    """Raises InputUnusable where the folders are others, EnvironmentMissing where the code is."""
    here, there = socket.gethostname(), terms.holder["host"]
    try:
        os.chdir(terms.cwd)  # paths may be relative to it
    except OSError as error:
        hint = f"run the command in a folder that {here} shares with {there}"
        raise InputUnusable(f"node {here} has no folder {terms.cwd}", hint=hint) from error
    deadline = time.monotonic() + terms.patience
    while holders.holder(terms.shared / LOCK) != terms.holder:
        if time.monotonic() > deadline:
            raise InputUnusable(
                f"node {here} does not see {terms.shared} as {there} does",
                hint="every node needs the dataset and its sources under the same paths: a shared file system",
            )
        time.sleep(0.2)
    if code_sha256() != terms.code:
        raise EnvironmentMissing(
            f"node {here} has another version of tts-train, or of its environment, than {there}",
            hint="update the skill there, run.sh setup project, and start Ray anew from that environment",
        )


@functools.cache
def code_sha256() -> str:
    """Hash of this package's modules and of the lock that the project environment was made from."""
    package = Path(__file__).parents[1]
    files = {str(path.relative_to(package)): sha256_file(path) for path in sorted(package.rglob("*.py"))}
    return sha256_json([files, (environments.stamp("project") or {}).get("lock_sha256")])


def _connected() -> Any:
    """The module ray, connected. Raises Unavailable without it, or without a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray._private.services import canonicalize_bootstrap_address  # nothing public tells where "auto" leads
    except ImportError as error:
        raise Unavailable("ray is not installed", hint="run.sh setup project") from error
    asked = os.environ.get(ADDRESS) or "auto"
    ours = signal.getsignal(signal.SIGTERM)
    try:
        address = canonicalize_bootstrap_address(asked)
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except SystemExit as ended:  # ray's handler of SIGTERM, which is there until ours is put back
        raise KeyboardInterrupt(signal.SIGTERM) from ended
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"no Ray cluster at {asked!r}: {_first_line(error)}",
            hint="ray start --head, from the project environment; references/dataset.md has the whole of it",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)
    return ray


def _require_answer(address: str | None) -> None:
    """Raises OSError where nobody listens: ray itself asks a cluster that is gone for minutes, and then exits."""
    if address is None:
        raise ConnectionError("none was started on this machine")
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

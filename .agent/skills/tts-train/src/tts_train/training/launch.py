"""Start the processes of a data-parallel training on this machine, watch them, and answer with one voice.

Each rank is worker.py in this same Python. Variables that model libraries act upon (RANK, WORLD_SIZE, …) are not set:
accelerate and transformers would form groups of their own, and so would a probe that rank 0 starts.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from tts_train.errors import Stopped, TtsTrainError, from_json
from tts_train.output import mute_progress
from tts_train.signals import handled
from tts_train.training.ranks import RankLost, Seat, refuse_foreign_launcher, take_seat

WORKER = Path(__file__).parents[1] / "worker.py"
GRACE_SECONDS = 30.0
"""What a rank gets to end by itself when another failed, and again after SIGTERM before SIGKILL."""
_POLL_SECONDS = 0.05


@dataclass
class _Rank:
    """One started process; `answer` is what it printed, once it ended."""

    number: int
    process: subprocess.Popen[bytes]
    stdout: IO[bytes]
    answer: Mapping[str, Any] | None = None
    ended: bool = False
    hurried: list[int] = field(default_factory=list)
    """Signals that we sent because another rank failed."""

    @property
    def failed(self) -> bool:
        """Whether it ended without having done its work; what its libraries do after that does not count."""
        return self.ended and not (self.answer is not None and self.answer["ok"])

    @property
    def is_cause(self) -> bool:
        """Whether it failed of itself, and not because another rank was gone or we ended it."""
        if not self.failed or self.hurried:
            return False
        return self.answer is None or self.answer["error"]["kind"] != RankLost.kind

    def poll(self) -> None:
        if self.ended or self.process.poll() is None:
            return
        self.ended = True
        self.stdout.seek(0)
        try:
            self.answer = json.loads(self.stdout.read())
        except ValueError:
            self.answer = None

    def hurry(self, number: int) -> None:
        if not self.ended and number not in self.hurried:
            self.hurried.append(number)
            self.process.send_signal(number)


def run_ranks(
    function: str,
    arguments: Mapping[str, Any],
    count: int,
    *,
    grace_seconds: float = GRACE_SECONDS,
) -> dict[str, Any]:
    """Call `function` (module:name) with JSON `arguments` in `count` processes; rank 0's result.

    Each of them meets the others in `ranks.joined`. Signals reach every rank. When one fails the others get
    `grace_seconds`, then SIGTERM, then as long again until SIGKILL; none outlives this call, nor this process. Raises
    the error of the rank that failed first, as its own class and exit code, with the rank's number unless all say the
    same; TtsTrainError naming a rank that was killed; UsageError under torchrun or accelerate launch.
    """
    refuse_foreign_launcher()
    with tempfile.TemporaryDirectory(prefix="tts-train-ranks-") as folder, _lifeline() as lifeline:
        ranks: list[_Rank] = []
        try:
            with _forwarding(ranks) as received:
                for number in range(count):
                    seat = {"rank": number, "count": count, "rendezvous": str(Path(folder) / "rendezvous")}
                    call = {"function": function, "arguments": dict(arguments), "seat": seat, "lifeline": lifeline}
                    ranks.append(_start(number, call))
                    for signal_number in received:
                        ranks[-1].process.send_signal(signal_number)
                cause = _watch(ranks, grace_seconds)
        finally:
            for rank in ranks:
                rank.process.kill()
                rank.process.wait()
                rank.stdout.close()
    if cause is not None:
        raise _error(cause, ranks, received)
    first = ranks[0].answer
    if first is None:
        raise TtsTrainError("rank 0 ended without an answer", hint="its messages are above")
    result: dict[str, Any] = first["result"]
    return result


def as_rank(
    function: str, arguments: dict[str, Any], seat: dict[str, Any], lifeline: int
) -> dict[str, Any]:  # worker entry
    """Be one rank: take the seat, die with the launcher, do the work. Ranks other than 0 are quiet."""
    _die_with_launcher(lifeline)
    take_seat(Seat(**seat))
    if seat["rank"] > 0:
        mute_progress()
    module, _, name = function.partition(":")
    result: dict[str, Any] = getattr(importlib.import_module(module), name)(**arguments)
    return result


def _start(number: int, call: Mapping[str, Any]) -> _Rank:
    stdout = tempfile.TemporaryFile()  # noqa: SIM115  closed with the rank
    # A group of its own: Ctrl-C in a terminal then comes once, from us. Hash seed: sets iterate alike in all ranks.
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(call).encode())
        stdin.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), f"rank-{number}", "tts_train.training.launch:as_rank"],
            stdin=stdin,
            stdout=stdout,
            pass_fds=[call["lifeline"]],
            process_group=0,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    return _Rank(number, process, stdout)


def _watch(ranks: Sequence[_Rank], grace_seconds: float) -> _Rank | None:
    """Wait for all ranks. Returns the one whose failure made the others fail; None when none failed."""
    cause: _Rank | None = None
    first_failure: float | None = None
    while not all(rank.ended for rank in ranks):
        time.sleep(_POLL_SECONDS)
        for rank in ranks:
            rank.poll()
        cause = cause or _cause(ranks)
        if first_failure is None and any(rank.failed for rank in ranks):
            first_failure = time.monotonic()
        waited = 0.0 if first_failure is None else time.monotonic() - first_failure
        for rank in ranks:
            if waited > grace_seconds:
                rank.hurry(signal.SIGTERM)
            if waited > 2 * grace_seconds:
                rank.hurry(signal.SIGKILL)
    return cause or next((rank for rank in ranks if rank.failed), None)


def _cause(ranks: Sequence[_Rank]) -> _Rank | None:
    """Of ranks that ended between two looks a killed one comes first: it could not tell, the others felt it."""
    causes = [rank for rank in ranks if rank.is_cause]
    return min(causes, key=lambda rank: (rank.process.returncode >= 0, rank.number)) if causes else None


def _error(cause: _Rank, ranks: Sequence[_Rank], received: Sequence[int]) -> TtsTrainError:
    if cause.answer is None:
        if received:
            return Stopped(received[0], "the training was stopped", hint="run the same command again to go on")
        code = cause.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code} and no answer"
        return TtsTrainError(
            f"rank {cause.number} of {len(ranks)} {how}",
            hint="its messages are above; SIGKILL mostly means that memory ran out. "
            "Run the same command again to go on from the saved state",
        )
    error = from_json(cause.answer["error"])
    said = [rank.answer["error"]["message"] if rank.answer and rank.failed else None for rank in ranks]
    if set(said) != {error.message}:
        error.message = f"rank {cause.number} of {len(ranks)}: {error.message}"
        error.args = (error.message,)
    return error


@contextmanager
def _forwarding(ranks: Sequence[_Rank]) -> Iterator[list[int]]:
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        for rank in ranks:
            rank.process.send_signal(number)

    with handled(forward):
        yield received


@contextmanager
def _lifeline() -> Iterator[int]:
    """The reading end of a pipe that closes when this process is gone, however it went."""
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(write)
        os.close(read)


def _die_with_launcher(lifeline: int) -> None:
    """Nobody would watch this rank, and the lock on the run was the launcher's: end at once, as in a crash."""

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()

"""The front's end of a worker: one environment's process, started again when it dies, and its line of requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tts_train.errors import TtsTrainError, Unavailable, from_json
from tts_train.output import progress
from tts_train.serve import TOKEN, frames

WORKER = "tts_train.serve.worker:run"
_END_SECONDS = 5.0


class WorkerDied(TtsTrainError):
    """It ended in the middle of a request; the next one meets a new process."""


class Refused(TtsTrainError):
    """The worker could not speak: its own error, and at which `stage` ("load" or "speak")."""

    def __init__(self, stage: str, error: TtsTrainError) -> None:
        super().__init__(error.message, hint=error.hint)
        self.stage = stage
        self.error = error


@dataclass(eq=False)
class Job:
    """One request in a line: what the worker is asked, and what has come of it."""

    message: dict[str, Any]
    events: asyncio.Queue[tuple[dict[str, Any], bytes] | TtsTrainError] = field(default_factory=asyncio.Queue)
    """Audio as it comes, then the worker's "done" or an error."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> None:
        """Nobody waits for it any longer."""
        self.cancelled.set()

    async def audio(self) -> AsyncIterator[tuple[bytes, float]]:
        """Encoded bytes (may be none) and seconds of speech, until all is said. Raises Refused or WorkerDied."""
        while True:
            event = await self.events.get()
            if isinstance(event, TtsTrainError):
                raise event
            if event[0]["kind"] == "done":
                return
            yield event[1], float(event[0]["seconds"])


@dataclass(eq=False)
class Line:
    """The requests for one environment, spoken one after the other.

    `command` starts its worker; `patience` is how long a cancelled request may go on in it before it is killed.
    """

    environment: str
    command: Sequence[str]
    patience: float
    on_speak: Callable[[str, str], None]
    """Called with voice and environment before the worker is asked."""
    on_death: Callable[[str], None]
    jobs: asyncio.Queue[Job] = field(default_factory=asyncio.Queue)
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _number: int = 0

    @property
    def ready(self) -> bool:
        return self._writer is not None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    async def run(self) -> None:
        """Speak for ever; `close` when the task is cancelled."""
        while True:
            job = await self.jobs.get()
            if job.cancelled.is_set():
                continue
            try:
                await self.start()
                await self._speak(job)
            except TtsTrainError as error:
                job.events.put_nowait(error)
            except Exception as error:  # noqa: BLE001  the requests that wait have nobody else
                traceback.print_exc()
                await self.close()
                job.events.put_nowait(TtsTrainError(f"{type(error).__name__}: {error}"))
            if not self.ready and self.restarts:
                # At once, so that the next request need not wait for it. What fails here fails again for that one.
                with contextlib.suppress(TtsTrainError):
                    await self.start()

    async def start(self) -> None:
        """Start the worker if it does not run. Raises what kept it from starting."""
        if self.ready:
            return
        ours, theirs = socket.socketpair()
        started = time.monotonic()
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if name != TOKEN},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C reaches the front, which lets requests in flight finish
            )
            arguments = json.dumps({"descriptor": theirs.fileno()}).encode()
        assert self.process.stdin
        self.process.stdin.write(arguments)
        self.process.stdin.close()
        self._reader, writer = await asyncio.open_connection(sock=ours)
        try:
            hello = await frames.receive(self._reader)
        except BaseException:
            writer.close()
            raise
        if hello is None:
            writer.close()
            raise await _reason(self.process)
        self._writer = writer
        progress(f"worker of the {self.environment} environment: ready in {time.monotonic() - started:.1f} s")

    def drop(self, voice: str) -> None:
        """Have the worker forget a voice, after what it has been asked before."""
        self._send({"op": "drop", "voice": voice})

    async def close(self) -> None:
        """End the worker."""
        process, self.process = self.process, None
        if self._writer:
            self._writer.close()  # that alone ends it, unless it hangs
        self._writer = None
        if process is None:
            return
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _speak(self, job: Job) -> None:
        self._number += 1
        self.on_speak(job.message["voice"]["name"], self.environment)
        self._send({**job.message, "id": self._number})
        left = asyncio.create_task(job.cancelled.wait())
        heard = asyncio.create_task(self._hear())
        try:
            while True:
                if not left.done():
                    await asyncio.wait({heard, left}, return_when=asyncio.FIRST_COMPLETED)
                    if left.done() and not heard.done():
                        await self._leave(heard)
                message, payload = await heard
                if message["kind"] == "error":
                    raise Refused(message["stage"], from_json(message["error"]))
                job.events.put_nowait((message, payload))
                if message["kind"] == "done":
                    return
                heard = asyncio.create_task(self._hear())
        finally:
            left.cancel()
            heard.cancel()

    async def _leave(self, heard: asyncio.Task[Any]) -> None:
        """Wait for the worker to see that nobody listens; one that does not come back is killed."""
        self._send({"op": "cancel", "id": self._number})
        done, _ = await asyncio.wait({heard}, timeout=self.patience)
        if not done and self.process:
            progress(f"worker of the {self.environment} environment: killed, {self.patience:.0f} s after a request")
            self.process.kill()

    async def _hear(self) -> tuple[dict[str, Any], bytes]:
        """The next message of the worker. Raises WorkerDied, and is ready for a new one then."""
        assert self._reader
        assert self.process
        received = await frames.receive(self._reader)
        if received is not None:
            return received
        process = self.process
        await self.close()
        self.restarts += 1
        self.on_death(self.environment)
        told = f"the process that speaks ended with code {process.returncode}"
        progress(f"worker of the {self.environment} environment: {told}; starting another")
        raise WorkerDied(told, hint="try again; -9 mostly means that memory ran out")

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer:
            self._writer.write(frames.packed(message))


async def _reason(process: asyncio.subprocess.Process) -> TtsTrainError:
    """Why a worker never became ready: its launcher's own error, if it said one."""
    assert process.stdout
    said = await process.stdout.read()
    await process.wait()
    try:
        return from_json(json.loads(said)["error"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(
            f"a worker ended at its start (exit code {process.returncode})", hint="its messages are on stderr"
        )

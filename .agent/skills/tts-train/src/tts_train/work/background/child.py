"""A program in a process group of its own whose output goes to the job's log, without secrets; no shell anywhere."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from tts_train.masking import MaskedBytes, masked_values, secrets_of
from tts_train.processes import identity
from tts_train.work.background.logfile import RotatingLog

COMMAND_NOT_STARTED = 127
ANSWER_BYTES = 1_000_000
_SECONDS_FOR_STRAGGLERS = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A running program. `copy` moves its output and says whether it goes on."""

    def __init__(self, argv: Sequence[str], cwd: str, variables: Mapping[str, str], log: RotatingLog) -> None:
        self._secrets = secrets_of(argv)
        self._log = log
        parent = os.getpid()
        self._process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=lambda: end_with_parent(parent),  # noqa: PLW1509  this process has one thread
        )
        self.identity = identity(self._process.pid)
        self._stdout = bytearray()
        self._stdout_cut = False
        self._ended_at: float | None = None
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, MaskedBytes(self._secrets))

    def send(self, number: int) -> None:
        """Signal the whole group, while its leader is not reaped: the number cannot be anybody else's."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def copy(self, seconds: float) -> bool:
        """Copy output for up to `seconds`; False once the program has ended and all it wrote is in the log."""
        if self._selector.get_map():
            ready = self._selector.select(seconds)
            for key, _ in ready:
                self._read(key)
            if not ready:  # half a line that waits for an answer, or for hours
                for key in self._selector.get_map().values():
                    self._log.write(key.data.rest())
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        if self._process.poll() is None:
            return True
        if not self._selector.get_map():
            self._selector.close()
            return False
        # Programs that it left behind hold its pipes open.
        self._ended_at = self._ended_at or time.monotonic()
        if time.monotonic() - self._ended_at < _SECONDS_FOR_STRAGGLERS:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        for key in list(self._selector.get_map().values()):
            self._forget(key)
        self._selector.close()
        return False

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, rather than it itself."""
        return self._process.returncode < 0

    @property
    def exit_code(self) -> int:
        """As a shell gives it: 128 + the signal's number when a signal ended it."""
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def answer(self) -> dict[str, Any] | None:
        """The last line of stdout when it is a JSON object, masked: what every command of run.sh prints."""
        lines = self._stdout.decode(errors="replace").strip().splitlines()
        if not lines or (self._stdout_cut and len(lines) == 1):
            return None
        try:
            value = json.loads(lines[-1])
        except json.JSONDecodeError:
            return None
        return masked_values(value, self._secrets) if isinstance(value, dict) else None

    def _read(self, key: selectors.SelectorKey) -> None:
        data = os.read(key.fd, 1 << 16)
        if not data:
            return self._forget(key)
        if key.fileobj is self._process.stdout:
            self._stdout += data
            if len(self._stdout) > 2 * ANSWER_BYTES:
                del self._stdout[:-ANSWER_BYTES]
                self._stdout_cut = True
        return self._log.write(key.data.feed(data))

    def _forget(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        self._log.write(key.data.rest())
        cast("IO[bytes]", key.fileobj).close()


def end_with_parent(parent: int) -> None:
    """In the child before it starts: SIGTERM when the supervisor dies, so that a training saves and does not run on
    unwatched, with pipes that nobody reads."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)

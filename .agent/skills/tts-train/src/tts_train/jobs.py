"""Work in another environment: one JSON object in, one JSON object out.

A worker is a function `module:name` of this package that takes JSON arguments and returns a JSON object. It runs in
the environment that owns its libraries, started through the same launcher as commands, so locks and set-up apply.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tts_train.errors import Stopped, TtsTrainError, from_json
from tts_train.output import hand_over_stdout
from tts_train.signals import handled
from tts_train.workspace import skill_script


def call(environment: str, function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run `function(**arguments)` in `environment` and return its result.

    Progress passes to stderr; signals are forwarded and waited for. Raises the worker's own TtsTrainError.
    """
    return _result(worker_command(environment, function), json.dumps(arguments), function)


def command(environment: str, name: str, *arguments: str) -> dict[str, Any]:
    """Run another command of this skill in its environment and return its result, as `call` does."""
    return _result([*launcher_command(), "run", environment, str(skill_script(name)), *arguments], "", name)


def _result(launch: list[str], stdin: str, name: str) -> dict[str, Any]:
    process = subprocess.Popen(launch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(number)

    with handled(forward):
        stdout, _ = process.communicate(stdin)
    try:
        answer = json.loads(stdout)
    except json.JSONDecodeError as error:
        if received:
            raise Stopped(received[0], f"{name} was stopped", hint="run the same command again to go on") from error
        raise TtsTrainError(
            f"{name} ended with code {process.returncode} and no answer",
            hint="its messages are above; -9 mostly means that memory ran out",
        ) from error
    if answer["ok"]:
        result: dict[str, Any] = answer["result"]
        return result
    raise from_json(answer["error"])


def replace(environment: str, name: str, function: str, arguments: dict[str, Any]) -> NoReturn:
    """Become `function(**arguments)` in `environment`; its answer is then the answer of the command
    `name`.

    The process stays the same, so a scheduler's signals reach the worker and its exit code is the command's.
    """
    # On descriptor 0, as in call(): argv shows up in process lists.
    with tempfile.TemporaryFile() as payload:
        payload.write(json.dumps(arguments).encode())
        payload.seek(0)
        os.dup2(payload.fileno(), 0)
    sys.stderr.flush()
    hand_over_stdout()
    launch = [*_launch(environment), name, function]
    os.execv(launch[0], launch)


def worker_command(environment: str, function: str) -> list[str]:
    """What to start for `function` in `environment`, with its arguments as JSON on stdin."""
    return [*_launch(environment), "call", function]


def launcher_command() -> list[str]:
    """The stdlib launcher, run by the Python that environments are made with."""
    python = os.environ.get("TTS_TRAIN_PYTHON") or getattr(sys, "_base_executable", None) or sys.executable
    return [python, "-I", str(Path(__file__).parent / "environments.py")]


def _launch(environment: str) -> list[str]:
    return [*launcher_command(), "run", environment, str(Path(__file__).parent / "worker.py")]

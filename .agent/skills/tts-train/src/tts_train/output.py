"""What a command prints: one JSON object on stdout, everything else on stderr.

Libraries print to stdout (qwen_tts a banner, whisperx its log), so file descriptor 1 itself points at stderr
while a command works; only the result goes to the real one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO, cast

import click

from tts_train.errors import DiskError, Stopped, TtsTrainError, UsageError
from tts_train.masking import MaskedStream, masked_values
from tts_train.signals import interrupt_the_work, received


def progress(text: str) -> None:
    """One line for the person or log that watches."""
    if not _muted:
        print(text, file=sys.stderr, flush=True)


_muted: list[bool] = []


def mute_progress() -> None:
    """This process is one of several that do the same: another one tells."""
    _muted.append(True)


_guards: list[int] = []
"""Descriptors of the real stdout, outermost guard first."""


@contextlib.contextmanager
def guarded_stdout() -> Iterator[TextIO]:
    """Yield the real stdout while file descriptor 1 (and whatever writes to it) goes to stderr, without secrets.

    A scheduler's SIGTERM ends the work as Ctrl-C does: with clean-up, the JSON object and the documented code.
    """
    interrupt_the_work()
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    _guards.append(real)
    python_streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", MaskedStream(stream)) for stream in python_streams)
    try:
        with os.fdopen(os.dup(real), "w", encoding="utf-8") as stdout:
            yield stdout
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = python_streams
        os.dup2(_guards.pop(), 1)
        os.close(real)


def hand_over_stdout() -> None:
    """Give the real stdout back to descriptor 1, for the program that this process is about to become."""
    if _guards:
        sys.stdout.flush()
        os.dup2(_guards[0], 1)


def workspace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--workspace`: where configs, datasets and artifacts are."""
    return click.option(
        "--workspace",
        metavar="DIR",
        help="Folder of configs/, datasets/ and artifacts/ [default: nearest parent with configs/tts].",
    )(function)


@dataclass(frozen=True)
class Serving:
    """What a server command returns once it is ready: its result is printed, then `wait()` runs until a signal."""

    result: Mapping[str, Any]
    wait: Callable[[], object]


def run_command(command: click.Command, arguments: list[str] | None = None) -> NoReturn:
    """Run a click command that returns its result, print the one JSON object, and exit with the documented code.

    `--human` works on every command and is consumed here: commands only return data, with `text` as its form for
    people.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = own_options(given)
    human = "--human" in own
    name = command.name or "tts-train"
    _tell_of_human(command)
    if any(flag in own for flag in ("--help", "-h")):
        command.main(args=given, prog_name=f"run.sh {name}")
    with guarded_stdout() as stdout:
        answer, code, wait = _answer(command, name, [word for word in own if word != "--human"] + given[len(own) :])
        stdout.write(_rendered(masked_values(answer), human) + "\n")
        stdout.flush()
        wait()
    sys.exit(code)


def own_options(arguments: Sequence[str]) -> list[str]:
    """The arguments before `--`: what follows is another command's."""
    return list(itertools.takewhile(lambda argument: argument != "--", arguments))


def answer_of(name: str, work: Callable[[], Mapping[str, Any]]) -> tuple[dict[str, Any], int]:
    """Run `work` and turn what happened into (the JSON object, the exit code)."""
    try:
        return {"ok": True, "command": name, "result": dict(work())}, 0
    except click.ClickException as error:
        return _usage(name, error)
    except KeyboardInterrupt as interrupt:
        # Ray's C++ notices our exception and raises another, without the number.
        stopped = _stopped_by(interrupt.args[0] if interrupt.args else received() or signal.SIGINT)
        return _failure(name, stopped), stopped.exit_code
    except Exception as error:  # noqa: BLE001  the last place where a bug can become one JSON object
        ours = as_ours(error)
        # What breaks after a signal broke by it: libraries make another exception of ours.
        number = None if isinstance(ours, Stopped) else received()
        told = _stopped_by(number) if number else ours
        return _failure(name, told), told.exit_code


def _stopped_by(number: int) -> Stopped:
    return Stopped(number, f"stopped by {signal.Signals(number).name}", hint="run the same command again to go on")


def as_ours(error: Exception) -> TtsTrainError:
    """Any exception as one with a hint and an exit code; the traceback of one that was not foreseen goes to stderr."""
    if isinstance(error, TtsTrainError):
        return error
    traceback.print_exception(error)
    if isinstance(error, OSError):
        return DiskError(str(error), hint="check free space, permissions and the path, then run the command again")
    return TtsTrainError(
        f"{type(error).__name__}: {error}", hint="this is a bug of tts-train; the traceback is on stderr"
    )


def _tell_of_human(command: click.Command) -> None:
    text = "Print text for people instead of JSON."
    command.params.append(click.Option(["--human"], is_flag=True, expose_value=False, help=text))
    for subcommand in command.commands.values() if isinstance(command, click.Group) else ():
        _tell_of_human(subcommand)


def _answer(
    command: click.Command, name: str, arguments: list[str]
) -> tuple[dict[str, Any], int, Callable[[], object]]:
    waits: list[Callable[[], object]] = []

    def work() -> Mapping[str, Any]:
        with command.make_context(f"run.sh {name}", arguments) as context:
            returned = command.invoke(context) or {}
        if isinstance(returned, Serving):
            waits.append(returned.wait)
            return returned.result
        result: Mapping[str, Any] = returned
        return result

    answer, code = answer_of(name, work)
    return answer, code, waits[0] if waits else lambda: None


def _usage(name: str, error: click.ClickException) -> tuple[dict[str, Any], int]:
    usage = UsageError(error.format_message(), hint=f"run.sh {name} --help")
    return _failure(name, usage), usage.exit_code


def _failure(name: str, error: TtsTrainError) -> dict[str, Any]:
    return {"ok": False, "command": name, "error": error.as_json()}


def _rendered(answer: Mapping[str, Any], human: bool) -> str:
    if not human:
        return json.dumps(answer, ensure_ascii=False)
    if answer["ok"]:
        result = answer["result"]
        return str(result["text"]) if "text" in result else json.dumps(result, ensure_ascii=False, indent=2)
    error = answer["error"]
    lines = [f"Error: {error['message']}"]
    lines += [f"  {_place(problem)}{problem['message']}" for problem in error.get("problems", ())]
    if error["hint"]:
        lines.append(f"Try: {error['hint']}")
    return "\n".join(lines)


def _place(problem: Mapping[str, Any]) -> str:
    parts = [str(problem[key]) for key in ("file", "line") if problem.get(key) is not None]
    return ":".join(parts) + ": " if parts else ""

"""A signal ends a command wherever it arrives, with its own exit code, and is not heard where the caller ignores it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

BEGUN = "import os; from pathlib import Path; Path(os.environ['BEGUN']).touch()"
FOREVER = "for _ in range(3000): time.sleep(0.01)"
COMMAND = """
import time
import click
from tts_train.output import run_command
{helpers}
@click.command()
def endless() -> dict[str, int]:
{body}
    return {{"done": 1}}

run_command(endless, [])
"""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    return tmp_path / "begun"


def start(
    body: str, begun: Path, helpers: str = "", before: Callable[[], object] | None = None
) -> subprocess.Popen[str]:
    script = begun.with_name("endless.py")
    script.write_text(COMMAND.format(helpers=textwrap.dedent(helpers), body=textwrap.indent(body, "    ")))
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BEGUN": str(begun)},
        preexec_fn=before,  # noqa: PLW1509  no threads here
    )
    deadline = time.monotonic() + 30
    while not begun.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, object], str]:
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, json.loads(stdout), stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
    ids=str,
)
def test_each_signal_has_its_code(number: signal.Signals, code: int, begun: Path) -> None:
    process = start(f"{BEGUN}\n{FOREVER}", begun)
    process.send_signal(number)
    exit_code, answer, _ = ended(process)
    assert exit_code == code
    assert answer["error"]["kind"] == "stopped"  # type: ignore[index]
    assert answer["error"]["signal"] == number.name  # type: ignore[index]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("where", ["a command", "a loop that saves first"])
def test_what_the_caller_ignores_stays_ignored(where: str, number: signal.Signals, begun: Path) -> None:
    wait = f"{BEGUN}; time.sleep(0.6)"
    if where == "a loop that saves first":
        wait = "from tts_train.training.records import signals\nwith signals() as received:\n"
        wait += f"    {BEGUN}; time.sleep(0.6)\nassert not received"
    process = start(wait, begun, before=lambda: signal.signal(number, signal.SIG_IGN))
    process.send_signal(number)
    code, answer, stderr = ended(process)
    assert (code, answer["ok"]) == (0, True), stderr


def test_an_import_that_would_swallow_it_is_finished_first(begun: Path) -> None:
    module = begun.with_name("optional.py")
    module.write_text(f"import time\ntry:\n    {BEGUN}; time.sleep(1); whole = True\nexcept BaseException: pass\n")
    process = start(
        f"import optional\nprint('whole', optional.whole)\n{FOREVER}",
        begun,
        helpers="import sys; sys.path.insert(0, __file__.rpartition('/')[0])",
    )
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code, answer, stderr = ended(process)
    assert (code, answer["ok"]) == (143, False)
    assert "whole True" in stderr
    assert time.monotonic() - began < 5


def test_an_import_that_hangs_is_given_up(begun: Path) -> None:
    begun.with_name("hangs.py").write_text(f"import time\n{BEGUN}; time.sleep(60)\n")
    process = start(
        "import hangs",
        begun,
        helpers="""
            import sys; sys.path.insert(0, __file__.rpartition('/')[0])
            from tts_train import signals
            signals._TRIES = 5
        """,
    )
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143


def test_one_that_python_drops_comes_again(begun: Path) -> None:
    helpers = f"""
        class Slow:
            def __del__(self) -> None:
                {BEGUN}; time.sleep(1)
    """
    process = start(f"Slow()\n{FOREVER}", begun, helpers)
    process.send_signal(signal.SIGTERM)
    code, answer, stderr = ended(process)
    assert (code, answer["ok"]) == (143, False)
    assert "ignored in" not in stderr


def test_what_else_python_drops_is_told_as_before(begun: Path) -> None:
    helpers = """
        class Broken:
            def __del__(self) -> None:
                raise ValueError("in the destructor")
    """
    process = start(f"Broken()\n{BEGUN}", begun, helpers)
    code, _, stderr = ended(process)
    assert code == 0
    assert "ValueError: in the destructor" in stderr


def test_another_error_made_of_it_is_still_the_signal(begun: Path) -> None:
    body = f"try:\n    {BEGUN}; time.sleep(30)\nexcept KeyboardInterrupt:\n    raise ImportError('half') from None"
    process = start(body, begun)
    process.send_signal(signal.SIGTERM)
    code, answer, stderr = ended(process)
    assert code == 143
    assert answer["error"]["message"] == "stopped by SIGTERM"  # type: ignore[index]
    assert "ImportError: half" in stderr  # for whoever looks for the reason

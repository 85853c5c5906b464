"""One JSON object on stdout, whatever libraries print; documented exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tts_train import errors


def run(body: str, *arguments: str) -> tuple[int, str, str]:
    program = textwrap.dedent(
        """
        import os, signal, sys
        import click
        from tts_train import errors
        from tts_train.output import Serving, run_command
        @click.command("demo")
        @click.option("--n", type=int, default=1)
        def main(n):
        BODY
        run_command(main)
        """
    ).replace("BODY", textwrap.indent(textwrap.dedent(body), "    "))
    finished = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    return finished.returncode, finished.stdout, finished.stderr


def test_noise_of_libraries_and_children_goes_to_stderr() -> None:
    code, out, err = run("print('banner'); os.system('echo child'); return {'n': n}", "--n", "3")

    assert json.loads(out) == {"ok": True, "command": "demo", "result": {"n": 3}}
    assert code == 0
    assert "banner" in err
    assert "child" in err


@pytest.mark.parametrize("kind", list(errors.BY_KIND.values()), ids=lambda kind: kind.__name__)
def test_each_error_has_its_code_and_json(kind: type[errors.TtsTrainError]) -> None:
    code, out, _ = run(f"raise errors.{kind.__name__}('what', hint='try')")

    assert code == kind.exit_code
    assert json.loads(out)["error"] == {"kind": kind.kind, "message": "what", "hint": "try"}


def test_usage_errors_are_json_too() -> None:
    code, out, _ = run("return {}", "--n", "many")

    assert code == 2
    assert json.loads(out)["error"]["kind"] == "usage"


def test_a_bug_is_code_1_with_the_traceback_on_stderr() -> None:
    code, out, err = run("return {'x': 1 / 0}")

    assert code == 1
    assert "ZeroDivisionError" in json.loads(out)["error"]["message"]
    assert "Traceback" in err


def test_human_prints_text_and_problems() -> None:
    code, out, _ = run(
        "raise errors.ConfigError('bad', problems=[errors.Problem('no', 'a.yaml', 3)], hint='fix')", "--human"
    )

    assert code == 78
    assert out == "Error: bad\n  a.yaml:3: no\nTry: fix\n"


def test_a_server_prints_its_result_before_it_waits() -> None:
    _, out, err = run("return Serving({'url': 'x'}, lambda: print('waited', file=sys.stderr))")

    assert json.loads(out)["result"] == {"url": "x"}
    assert "waited" in err


def test_errors_survive_the_way_through_json() -> None:
    sent = errors.ConfigError("m", hint="h", problems=[errors.Problem("p", "f", 1)])

    got = errors.from_json(json.loads(json.dumps(sent.as_json())))

    assert type(got) is errors.ConfigError
    assert (got.message, got.hint, got.problems) == (sent.message, sent.hint, sent.problems)
    assert errors.from_json(errors.Stopped(15, "bye").as_json()).exit_code == 143


def test_a_schedulers_sigterm_is_answered_with_json_and_143() -> None:
    code, out, _ = run("os.kill(os.getpid(), signal.SIGTERM); __import__('time').sleep(5); return {}")

    assert code == 143
    assert json.loads(out)["error"] == {
        "kind": "stopped",
        "message": "stopped by SIGTERM",
        "hint": "run the same command again to go on",
        "signal": "SIGTERM",
    }


def test_a_library_that_raises_an_interrupt_of_its_own_does_not_lose_the_signal() -> None:
    code, out, _ = run(
        """
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            __import__("time").sleep(5)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        """
    )

    assert (code, json.loads(out)["error"]["signal"]) == (143, "SIGTERM")


def test_a_program_that_takes_over_gets_the_real_stdout() -> None:
    becomes_echo = "hand_over_stdout(); os.execlp('echo', 'echo', 'mine')"
    _, out, err = run(f"from tts_train.output import hand_over_stdout; {becomes_echo}")

    assert out == "mine\n"
    assert err == ""

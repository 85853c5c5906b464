"""run.sh: fast help, a suggestion for a typo, a Python that really runs, one JSON object for its own errors."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny_skill
from tiny_skill import ROOT, SKILL, TinySkill


def run(*arguments: str, program: Path = ROOT / "run.sh", **variables: str) -> subprocess.CompletedProcess[str]:
    ours = ("TTS_TRAIN_PYTHON", "TTS_TRAIN_NO_SETUP", "TTS_TRAIN_HELD")
    environment = {key: value for key, value in os.environ.items() if key not in ours} | variables
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=environment, check=False)


def error_of(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    answer = json.loads(finished.stdout)
    assert answer["ok"] is False
    assert answer["error"].keys() >= {"kind", "message", "hint"}
    return dict(answer["error"])


def test_help_is_on_stdout_and_takes_under_50_ms_of_cpu() -> None:
    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    seconds = []
    for _ in range(5):
        before = cpu()
        finished = run("--help")
        seconds.append(cpu() - before)

    assert finished.returncode == 0
    assert "train-local" in finished.stdout
    assert finished.stderr == ""
    assert min(seconds) < 0.05


@pytest.mark.parametrize("arguments", [("-h",), ("help",)])
def test_other_ways_to_ask_for_help(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).stdout == run("--help").stdout


@pytest.mark.parametrize(
    ("typed", "meant"), [("stauts", "status"), ("train_local", "train-local"), ("tensor", "tensorboard")]
)
def test_an_unknown_command_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    finished = run(typed)

    assert finished.returncode == 2
    error = error_of(finished)
    assert error["kind"] == "usage"
    assert typed in error["message"]
    assert f"'run.sh {meant}'" in error["hint"]


def test_a_command_with_quotes_and_newlines_is_still_json() -> None:
    assert error_of(run('a"b\\c\nd'))["message"] == "unknown command 'a\"b\\c\nd'"


def test_no_command_is_a_usage_error() -> None:
    finished = run()

    assert finished.returncode == 2
    assert error_of(finished)["kind"] == "usage"


def test_a_wrong_option_of_setup_is_json_too() -> None:
    finished = run("setup", "--nonsense")

    assert finished.returncode == 2
    assert "--nonsense" in error_of(finished)["message"]


def make_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def link_tools(folder: Path) -> None:
    for tool in ("bash", "env", "dirname", "readlink", "cat"):
        (folder / tool).symlink_to(next(Path(part, tool) for part in ("/bin", "/usr/bin") if Path(part, tool).exists()))


def test_candidates_that_do_not_run_are_passed_over(tmp_path: Path) -> None:
    """A pyenv shim is there but does not resolve; the next is older than it says; the third one is it."""
    skill = tiny_skill.make(tmp_path)
    link_tools(skill.tools)
    make_program(skill.tools / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    # Called as `python3.11 -I -c CODE`: it runs the code as if it were Python 3.10.
    pretend = "import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])"
    make_program(skill.tools / "python3.11", f"exec {sys.executable} -c '{pretend}' \"$3\"")
    (skill.tools / "python3").symlink_to(sys.executable)

    finished = run("setup", "--status", program=skill.folder / "run.sh", PATH=str(skill.tools))

    assert finished.returncode == 0, finished
    assert finished.stderr == ""
    assert json.loads(finished.stdout)["ok"] is True
    skill.script("import os; print(os.environ['TTS_TRAIN_PYTHON'])")
    shown = run("show", program=skill.folder / "run.sh", PATH=str(skill.tools))
    assert shown.stdout == f"{skill.tools / 'python3'}\n"


def test_no_python_at_all(tmp_path: Path) -> None:
    skill = tiny_skill.make(tmp_path)
    link_tools(skill.tools)

    finished = run("show", program=skill.folder / "run.sh", PATH=str(skill.tools))

    assert finished.returncode == 3
    assert error_of(finished)["kind"] == "environment-missing"


def test_a_wrong_choice_of_python_is_not_replaced_silently(tmp_path: Path) -> None:
    old = tmp_path / "an old python"
    make_program(old, "exit 1")

    finished = run("setup", "--status", TTS_TRAIN_PYTHON=str(old))

    assert finished.returncode == 3
    assert "TTS_TRAIN_PYTHON" in error_of(finished)["message"]


def test_the_python_of_the_last_set_up_is_used_without_a_search(tmp_path: Path) -> None:
    skill = tiny_skill.make(tmp_path)
    skill.run("setup")
    link_tools(skill.tools)

    finished = run("show", program=skill.folder / "run.sh", PATH=str(skill.tools))

    assert (finished.returncode, finished.stdout) == (0, "{}\n")


def test_paths_are_the_callers_and_links_to_run_sh_work(tmp_path: Path) -> None:
    skill = tiny_skill.make(tmp_path)
    skill.script("import json, os, sys; print(json.dumps([os.getcwd(), sys.argv[1:]]))")
    linked = tmp_path / "tts"
    linked.symlink_to(skill.folder / "run.sh")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    command = [linked, "show", "rel/path", "$HOME `x` *"]

    finished = subprocess.run(command, cwd=elsewhere, env=skill.variables(), capture_output=True, text=True, check=True)

    assert json.loads(finished.stdout) == [str(elsewhere), ["rel/path", "$HOME `x` *"]]


def test_test_says_where_the_tests_are_when_the_skill_was_copied_alone(tmp_path: Path) -> None:
    skill: TinySkill = tiny_skill.make(tmp_path)
    (skill.folder / "scripts/setup.py").write_text((SKILL / "scripts/test.py").read_text())

    finished = run("setup", program=skill.folder / "run.sh")

    assert finished.returncode == 2
    assert "repository" in error_of(finished)["message"]


@pytest.mark.parametrize("link", [".agents/skills/tts-train", ".claude/skills/tts-train"])
def test_clients_find_the_skill_where_they_look(link: str) -> None:
    assert (ROOT / link).is_symlink()
    assert not os.readlink(ROOT / link).startswith("/")
    assert (ROOT / link).resolve() == SKILL

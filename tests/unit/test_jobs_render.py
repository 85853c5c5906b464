"""What `jobs render` prints says to its scheduler exactly what was asked: read back by that scheduler's own rules."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_train.errors import ConfigError, UsageError
from tts_train.masking import has_secrets, masked
from tts_train.work.background import rendering
from tts_train.workspace import Workspace, skill_root

RUN = str(skill_root() / "run.sh")
ODD = [
    "a b",
    "50%",
    "%n",
    "$HOME",
    "${X}",
    "$$",
    '"',
    "'",
    "\\",
    "a\\nb",
    ";",
    "",
    "#",
    "ü",
    "*",
    "@x",
    "-",
    "`id`",
    "$(id)",
]
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5)


def systemd_words(line: str) -> list[str]:
    """systemd.syntax(7), systemd.service(5): quotes, C escapes, then %% and (in a command line) $$."""
    words, position = [], 0
    while position < len(line):
        if line[position] == " ":
            position += 1
            continue
        word, quoted = "", False
        while position < len(line) and (quoted or line[position] != " "):
            character = line[position]
            position += 1
            if character == '"':
                quoted = not quoted
            elif character == "\\":
                escape = line[position]
                if escape == "x":
                    word += chr(int(line[position + 1 : position + 3], 16))
                    position += 3
                else:
                    word += {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}[escape]
                    position += 1
            else:
                word += character
        assert not quoted
        words.append(word)
    return [_undoubled(word, "%") for word in words]


def _undoubled(word: str, sign: str) -> str:
    assert not re.search(
        rf"(?<!{re.escape(sign)}){re.escape(sign)}(?:{re.escape(sign)}{{2}})*(?!{re.escape(sign)})", word
    )
    return word.replace(sign * 2, sign)


def value(text: str, key: str) -> str:
    (line,) = [line for line in text.split("\n") if line.startswith(f"{key}=")]
    return line.partition("=")[2]


def rendered(root: Path, words: list[str], target: str, **more: Any) -> dict[str, Any]:
    return rendering.render(Workspace(root), words, target=target, **more)


@given(WORDS)
@settings(deadline=None, max_examples=200)
def test_systemd_reads_back_what_was_written(words: list[str]) -> None:
    argv = [RUN, "train-local", *ODD, *words]
    unit = rendering.unit(argv, Path("/w/50% x"), Path("/w/$a %b"), "n", None)
    env, dashes, *read = systemd_words(value(unit, "ExecStart"))

    assert (env, dashes) == ("/usr/bin/env", "--")
    assert [_undoubled(word, "$") for word in read] == argv
    assert value(unit, "WorkingDirectory") == "/w/50%% x"
    assert systemd_words(value(unit, "Environment")) == ["TTS_TRAIN_WORKSPACE=/w/$a %b"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_itself_takes_the_unit_and_the_timer(tmp_path: Path) -> None:
    text = rendering.unit([RUN, "train-local", *ODD], tmp_path, tmp_path, "night", "*-*-* 22:00:00")
    service, _, timer = text.partition("\n# ~/.config/systemd/user/night.timer")
    (tmp_path / "night.service").write_text(service)
    (tmp_path / "night.timer").write_text(timer.partition("\n")[2])
    runtime = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "night.timer", tmp_path / "night.service"],
        capture_output=True, text=True, env=runtime, check=False,
    )  # fmt: skip

    complaints = [line for line in verified.stderr.splitlines() if "night." in line]
    assert complaints == []


@given(WORDS.map(lambda words: [re.sub(r"[\r\n]", "", word) for word in words]))
@settings(deadline=None, max_examples=200)
def test_cron_reads_back_what_was_written(words: list[str]) -> None:
    argv = [RUN, "jobs", *ODD, *words]
    line = rendering.crontab_line(argv, Path("/w/50% x"), "30 22 * * 1-5")

    assert "\n" not in line
    assert not re.search(r"(?<!\\)%", line)  # cron: an unescaped % ends the command
    command = re.match(r"30 22 \* \* 1-5 (.*)", line, re.DOTALL)[1].replace("\\%", "%")
    cd, folder, and_then, *read = shlex.split(command)
    assert (cd, folder, and_then) == ("cd", "/w/50% x", "&&")
    assert read == argv


def test_sh_runs_the_line_of_cron_as_it_was_meant(tmp_path: Path) -> None:
    here = tmp_path / "a b %"
    here.mkdir()
    show = ["python3", "-c", "import json, os, sys; print(json.dumps([os.getcwd(), sys.argv[1:]]))", *ODD]
    command = rendering.crontab_line(show, here, "@daily").removeprefix("@daily ").replace("\\%", "%")
    printed = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout

    assert json.loads(printed) == [str(here), ODD]


def test_cron_and_the_skill_start_a_job_that_writes_its_own_log(tmp_path: Path) -> None:
    job = json.loads(rendered(tmp_path, ["train-local", "a b.yaml"], "scheduler-skill", name="n")["text"])
    submit = [RUN, "jobs", "submit", "--workspace", str(tmp_path), "--name", "n", "--", "train-local", "a b.yaml"]

    assert job == {"name": "n", "schedule": "every 12h", "argv": submit, "cwd": str(Path.cwd())}
    cron = rendered(tmp_path, ["train-local", "a b.yaml"], "cron", name="n")
    assert cron["argv"] == submit
    assert cron["schedule"] == "0 22 * * *"
    assert "|" not in cron["text"]
    assert ">" not in cron["text"]


def test_a_timer_only_with_a_schedule(tmp_path: Path) -> None:
    assert "OnCalendar" not in rendered(tmp_path, ["report"], "systemd")["text"]
    assert "OnCalendar=*-*-* 22:00\n" in rendered(tmp_path, ["report"], "systemd", schedule="*-*-* 22:00")["text"]


@pytest.mark.parametrize(
    ("target", "words", "more"),
    [
        ("cron", ["report"], {"schedule": "daily"}),
        ("cron", ["report"], {"schedule": "* * * *"}),
        ("cron", ["report"], {"schedule": "* * * * * rm"}),
        ("systemd", ["report"], {"schedule": "daily\nExecStart=x"}),
        ("cron", ["report", "a\nb"], {}),
        ("systemd", ["report", "--hf-token", "x"], {}),
        ("cron", ["report", "--password=***"], {}),
        ("cron", ["report"], {"name": "../x"}),
    ],
)
def test_what_cannot_be_said_is_refused(tmp_path: Path, target: str, words: list[str], more: dict[str, str]) -> None:
    with pytest.raises((UsageError, ConfigError)):
        rendered(tmp_path, words, target, **more)


def test_a_job_is_rendered_by_its_id(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts/jobs/20261122-095848-e08991"
    folder.mkdir(parents=True)
    job = {"id": folder.name, "name": "night", "argv": ["train-local", "x y"], "cwd": "/data"}
    (folder / "job.json").write_text(json.dumps({**job, "ended_at": "2026-11-22T09:58:48+00:00", "exit_code": 0}))
    made = rendered(tmp_path, [folder.name], "systemd")

    assert made["argv"] == [RUN, "train-local", "x y"]
    assert (made["cwd"], made["name"]) == ("/data", "night")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--hf-token", "v", "x"], ["--hf-token", "***", "x"]),
        (["--API_KEY=v=w"], ["--API_KEY=***"]),
        (["-password", "v"], ["-password", "***"]),
        (["client_secret=v"], ["client_secret=***"]),
        (["--use-key", "--lr", "1"], ["--use-key", "--lr", "1"]),
        (["--tokenizer", "v", "--keys", "k", "token", "x"], ["--tokenizer", "v", "--keys", "k", "token", "x"]),
        (["--token", "--token", "v"], ["--token", "--token", "***"]),
    ],
)
def test_secrets_are_masked_and_nothing_else(argv: list[str], shown: list[str]) -> None:
    assert masked(argv) == shown
    assert has_secrets(argv) == (shown != argv)
    assert masked(shown) == shown

"""Environments are made whole, once, and never under a running program. Real processes, real uv, no network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_skill
from tiny_skill import TinySkill, wait_until
from tts_train import lockfiles


@pytest.fixture
def skill(tmp_path: Path) -> Iterator[TinySkill]:
    made = tiny_skill.make(tmp_path)
    yield made
    made.end_all()


WAIT_FOR_FILE = """
    import pathlib, sys, time
    marks = pathlib.Path(sys.argv[1])
    (marks / "started").touch()
    while not (marks / "go").exists():
        time.sleep(0.02)
    print("{}")
"""


def test_the_first_call_sets_up_and_the_second_does_not(skill: TinySkill) -> None:
    skill.wrap_uv("true")
    skill.script("import json, sys; print(json.dumps({'prefix': sys.prefix, 'arguments': sys.argv[1:]}))")

    code, answer, stderr = skill.run("show", "a b", "--c")

    assert (code, answer["arguments"]) == (0, ["a b", "--c"])
    assert Path(answer["prefix"]) == skill.environments / "tiny"
    assert "setting up the tiny environment" in stderr
    assert len(stderr.splitlines()) == 1
    assert skill.run("show")[2] == ""
    assert skill.syncs() == 1


def test_two_first_calls_at_once_make_one_environment(skill: TinySkill) -> None:
    skill.wrap_uv("sleep 2")

    processes = [skill.start("show") for _ in range(3)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in processes]

    assert [(stdout, code) for stdout, _, code in ends] == [("{}\n", 0)] * 3
    assert skill.syncs() == 1
    assert any("waiting" in stderr for _, stderr, _ in ends)


def test_no_setup_means_exit_3_and_nothing_made(skill: TinySkill) -> None:
    code, answer, _ = skill.run("show", TTS_TRAIN_NO_SETUP="1")

    assert code == 3
    assert answer["ok"] is False
    assert answer["error"]["kind"] == "environment-missing"
    assert answer["error"]["hint"] == "run.sh setup tiny"
    assert not (skill.environments / "tiny").exists()


def test_a_changed_lock_waits_for_running_programs(skill: TinySkill, tmp_path: Path) -> None:
    """Neither a set-up nor a program that needs one may change the environment under a running program."""
    skill.wrap_uv("true")
    skill.script(WAIT_FOR_FILE)
    running = skill.start("show", str(tmp_path))
    wait_until((tmp_path / "started").exists)
    skill.change_lock()

    late = skill.start("setup")
    assert late.stderr is not None
    assert "waiting" in late.stderr.readline()
    time.sleep(0.3)
    assert late.poll() is None
    assert skill.syncs() == 1

    (tmp_path / "go").touch()
    assert running.wait(timeout=30) == 0
    assert late.wait(timeout=30) == 0
    assert skill.syncs() == 2
    for process in (running, late):
        process.communicate()


def test_a_child_of_a_running_program_never_waits_for_its_parent(skill: TinySkill) -> None:
    """The lock changes while a program runs, and it starts a worker in its own environment: no deadlock."""
    skill.script("""
        import pathlib, subprocess, sys
        if sys.argv[1:] == ["child"]:
            print('{"child": true}')
        else:
            skill = pathlib.Path(__file__).parents[1]
            with (skill / "locks/tiny.txt").open("a") as lock:
                lock.write("# changed\\n")
            sys.exit(subprocess.run([skill / "run.sh", "show", "child"], timeout=20).returncode)
    """)

    code, answer, stderr = skill.run("show")

    assert (code, answer) == (0, {"child": True})
    assert "going on with the old one" in stderr


def test_a_program_that_becomes_another_lets_go_of_its_first_lock(skill: TinySkill) -> None:
    """train-local starts in core and execs the trainer: core must be free to change while it trains."""
    skill.script("""
        import fcntl, os, pathlib, sys
        skill = pathlib.Path(__file__).parents[1]
        if sys.argv[1:] != ["second"]:
            os.execv(skill / "run.sh", ["run.sh", "show", "second"])
        held = [entry.split(":") for entry in os.environ["TTS_TRAIN_HELD"].split()]
        locks = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
        names = [os.readlink(f"/proc/self/fd/{fd}") for fd in locks]
        open_locks = sum(name.endswith("tiny.lock") for name in names)
        print(f'{{"held": {len(held)}, "open": {open_locks}}}')
    """)

    code, answer, _ = skill.run("show")

    assert (code, answer) == (0, {"held": 1, "open": 1})


def test_a_failed_set_up_keeps_the_old_environment(skill: TinySkill) -> None:
    assert skill.run("setup")[0] == 0
    stamp = (skill.environments / "tiny/tts-train.json").read_bytes()
    skill.change_lock()
    skill.wrap_uv("echo the index is on fire >&2; exit 7")

    code, answer, _ = skill.run("setup")

    assert code == 3
    assert answer["error"]["kind"] == "environment-missing"
    assert "the index is on fire" in answer["error"]["hint"]
    assert skill.syncs() == 2, "a failure is tried once more"
    assert (skill.environments / "tiny/tts-train.json").read_bytes() == stamp
    assert not (skill.environments / "tiny.new").exists()


def test_a_network_blip_is_tried_again(skill: TinySkill) -> None:
    skill.wrap_uv(f'[ $(wc -l < "{skill.tools}/uv.calls") -ge 2 ] || exit 2')

    code, answer, _ = skill.run("setup")

    assert (code, answer["result"]["environments"][0]["state"]) == (0, "ready")
    assert skill.syncs() == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_set_up_leaves_nothing(skill: TinySkill, number: signal.Signals, code: int) -> None:
    skill.wrap_uv(f'echo $$ > "{skill.tools}/uv.pid"; exec sleep 60')
    process = skill.start("setup")
    wait_until(lambda: skill.syncs() == 1 and (skill.tools / "uv.pid").exists())
    time.sleep(0.1)

    process.send_signal(number)
    stdout, _ = process.communicate(timeout=30)

    assert process.returncode == code
    assert json.loads(stdout)["error"]["kind"] == "stopped"
    assert not (skill.environments / "tiny.new").exists()
    assert not (skill.environments / "tiny").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((skill.tools / "uv.pid").read_text()), 0)


def test_a_killed_set_up_is_swept_away_by_the_next(skill: TinySkill) -> None:
    """After SIGKILL uv goes on alone and still holds the lock: the next set-up waits for it, then starts afresh."""
    sleeping = skill.tools / "sleeping"
    skill.wrap_uv(f'[ -e "{sleeping}" ] || {{ touch "{sleeping}"; exec sleep 3; }}')
    process = skill.start("setup")
    wait_until(sleeping.exists)
    process.kill()
    process.communicate()
    assert (skill.environments / "tiny.new").exists()

    code, answer, stderr = skill.run("show")

    assert (code, answer) == (0, {})
    assert "waiting" in stderr
    assert not (skill.environments / "tiny.new").exists()


def test_death_between_the_two_renames_is_repaired(skill: TinySkill) -> None:
    assert skill.run("setup")[0] == 0
    (skill.environments / "tiny").rename(skill.environments / "tiny.old")
    skill.change_lock()
    skill.wrap_uv("exit 2")

    assert skill.run("setup")[0] == 3
    assert (skill.environments / "tiny/tts-train.json").is_file()


def test_exit_code_and_signals_pass_through(skill: TinySkill, tmp_path: Path) -> None:
    skill.script("""
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(41))
        pathlib.Path(sys.argv[1], "started").touch()
        time.sleep(60)
    """)
    process = skill.start("show", str(tmp_path))
    wait_until((tmp_path / "started").exists)

    process.terminate()

    assert process.wait(timeout=10) == 41
    process.communicate()


def test_standard_input_reaches_the_program(skill: TinySkill, tmp_path: Path) -> None:
    """The table is read from a here-string in run.sh: that must not be what the program reads."""
    skill.script("import sys; print(sys.stdin.read())")
    skill.run("setup")
    (tmp_path / "input").write_text('{"from": "caller"}')
    with (tmp_path / "input").open() as given:
        answer = subprocess.run(
            [skill.folder / "run.sh", "show"], stdin=given, capture_output=True, env=skill.variables(), check=True
        )

    assert json.loads(answer.stdout) == {"from": "caller"}


def test_the_skill_can_move_with_its_environments(skill: TinySkill) -> None:
    """The path line is relative: after a move the package comes from the new place, not the old."""
    skill.script("import json, tts_train; print(json.dumps(tts_train.__file__))")
    skill.run("setup")
    line = next((skill.environments / "tiny/lib").glob("*/site-packages/tts_train.pth")).read_text()
    moved = TinySkill(skill.folder.rename(skill.folder.with_name("moved")), skill.tools)

    code, answer, stderr = moved.run("show")

    assert not line.startswith("/")
    assert (code, stderr) == (0, "")
    assert Path(answer) == moved.folder / "src/tts_train/__init__.py"


def test_shared_environments_run_the_copy_that_was_called(tmp_path: Path) -> None:
    """Two copies of the skill, one TTS_TRAIN_ENVS: each runs its own code."""
    shared = str(tmp_path / "shared")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        skill = tiny_skill.make(tmp_path / name)
        skill.script("import json, tts_train; print(json.dumps(tts_train.__file__))")
        code, answer, _ = skill.run("show", TTS_TRAIN_ENVS=shared)
        assert (code, Path(answer)) == (0, skill.folder / "src/tts_train/__init__.py")
        assert not skill.environments.exists()


def test_scripts_do_not_hide_packages_and_callers_variables_do_not_leak(skill: TinySkill, tmp_path: Path) -> None:
    (skill.folder / "scripts/json.py").write_text("raise SystemExit('a script was imported in place of a package')")
    (tmp_path / "stray.py").touch()
    skill.script("""
        import importlib.util, json, os
        print(json.dumps([importlib.util.find_spec("stray") is None, "PYTHONHOME" in os.environ]))
    """)

    code, answer, stderr = skill.run("show", PYTHONPATH=str(tmp_path))

    assert (code, answer) == (0, [True, False]), stderr


def test_no_gpl_drops_packages_and_is_remembered(skill: TinySkill) -> None:
    hash_line = "    --hash=sha256:" + "0" * 64
    skill.lock.write_text(f"# locks\ngpl-thing==1.0 \\\n{hash_line}\n    # via something\n")
    skill.wrap_uv("true")

    code, answer, stderr = skill.run("setup", "--no-gpl")

    assert code == 0, "the GPL package does not exist: it was left out"
    assert answer["result"]["environments"][0]["gpl"] is False
    assert "GPL" not in stderr
    assert skill.run("show")[0] == 0, "a later run keeps the choice"
    assert skill.syncs() == 1
    code, answer, stderr = skill.run("setup", "--gpl")
    assert code == 3, "with GPL the package is asked for again, and there is no such package"
    assert "GPL packages" in stderr


def test_lock_text_without_some_packages() -> None:
    text = (
        "# header\n"
        "alpha==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n    # via x\n"
        "Piper_TTS==2 ; python_version < '3' \\\n    --hash=sha256:bb\n    # via\n    #   y\n"
        "# a comment between\n"
        "piper-tts-extras==3 \\\n    --hash=sha256:cc\n"
    )

    assert lockfiles.without_packages(text, ["piper-tts"]) == (
        "# header\n"
        "alpha==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n    # via x\n"
        "# a comment between\n"
        "piper-tts-extras==3 \\\n    --hash=sha256:cc\n"
    )


def test_status_tells_without_changing(skill: TinySkill) -> None:
    def state() -> str:
        return str(skill.run("setup", "--status")[1]["result"]["environments"][0]["state"])

    assert state() == "missing"
    skill.wrap_uv("exec sleep 1")
    process = skill.start("setup")
    wait_until(lambda: skill.syncs() == 1)
    assert state() == "setting-up"
    process.kill()
    process.communicate()
    wait_until(lambda: state() != "setting-up")
    assert state() == "missing"
    skill.wrap_uv("true")
    skill.run("setup")
    assert state() == "ready"
    skill.change_lock()
    assert state() == "stale"


def test_background_goes_on_without_the_caller(skill: TinySkill) -> None:
    code, answer, _ = skill.run("setup", "--background")

    assert code == 0
    log = Path(answer["result"]["log"])
    wait_until(lambda: '"ok": true' in log.read_text())
    assert skill.run("show", TTS_TRAIN_NO_SETUP="1")[0] == 0

"""The test tiers: no folder of tests is forgotten, none runs twice, and CI brings a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import run_tiers
from run_tiers import TIERS, Counts

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py")))


def test_every_folder_of_tests_belongs_to_one_tier(monkeypatch):
    asked: dict[str, list[tuple[str, ...]]] = {}
    monkeypatch.setattr(run_tiers, "check", lambda *_: Counts(passed=1))
    for tier in TIERS:
        asked[tier] = []
        monkeypatch.setattr(
            run_tiers,
            "pytest",
            lambda _environment, *arguments, said=asked[tier], **_: said.append(arguments) or Counts(passed=1),
        )
        TIERS[tier].run()
    tiers = {
        name: {t for t in asked if any(f"tests/{name}" in arguments for arguments in asked[t])} for name in FOLDERS
    }
    ignored = {name for name in FOLDERS if all(f"--ignore=tests/{name}" in arguments for arguments in asked["unit"])}
    assert ignored == set(FOLDERS) - {"unit"}
    assert {name: found - {"faults"} for name, found in tiers.items() if name not in ("unit", "faults")} == {
        "browser": {"browser"},
        "demo": {"demo"},
        "project": {"slow"},
        "skill": {"slow"},
    }


def test_every_environment_is_set_up_from_its_lock(monkeypatch):
    made: list[str] = []
    monkeypatch.setattr(run_tiers, "check", lambda label, _command: made.append(label) or Counts(passed=1))
    run_tiers.setup_tier()
    locks = {path.stem for path in (ROOT / ".agent/skills/tts-train/locks").glob("*.txt")} - {"uv", "overrides"}
    assert {label.removeprefix("setup ") for label in made} == locks


@pytest.mark.parametrize(
    ("programs", "arguments", "installed", "said"),
    [
        ({"apt-get": True, "sudo": True}, (), True, ""),
        ({"apt-get": True, "sudo": True}, ("--tier", "browser"), True, ""),
        ({"apt-get": True, "sudo": True}, ("--tier", "unit"), False, ""),
        ({"apt-get": True, "sudo": True, "chromium": True}, (), False, ""),
        ({"apt-get": True, "sudo": False}, (), False, "no right to install"),
        ({"sudo": True}, (), False, "no right to install"),
    ],
)
def test_ci_installs_chromium_where_it_may(tmp_path, programs, arguments, installed, said):
    """In a folder of its own, with stand-ins for the programs: this machine is left alone."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("bash", "env", "readlink", "dirname", "true"):
        (bin_folder / name).symlink_to(str(shutil.which(name)))
    scripts = {name: f'echo {name} "$@" >>{tmp_path}/log\nexit {0 if works else 1}' for name, works in programs.items()}
    if programs.get("sudo"):
        scripts["sudo"] = 'shift; exec "$@"'
    scripts |= {"id": "echo 1000"}
    for name, body in scripts.items():
        (bin_folder / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
        (bin_folder / name).chmod(0o755)
    (tmp_path / "run.sh").write_text(f'#!{shutil.which("bash")}\necho tests "$@"\n')
    (tmp_path / "run.sh").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "TTS_TRAIN_CHROMIUM"}
    ended = subprocess.run(
        [tmp_path / ".ci/run", *arguments],
        env={**environment, "PATH": str(bin_folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == " ".join(["tests test", *arguments]) + "\n"
    log = (tmp_path / "log").read_text() if (tmp_path / "log").is_file() else ""
    assert ("apt-get install -y --no-install-recommends chromium" in log) is installed
    assert said in ended.stderr


def test_a_test_that_passed_at_its_second_try_is_one_that_passed(tmp_path):
    tries = "".join(
        f'<testcase classname="browser" name="{name}">{"<failure/>" if failed else ""}</testcase>'
        for name, failed in (("shaky", False), ("shaky", False), ("broken", False), ("broken", True), ("good", False))
    )
    (tmp_path / "report.xml").write_text(f"<testsuites><testsuite>{tries}</testsuite></testsuites>")
    assert str(run_tiers._counts(tmp_path / "report.xml")) == "2 passed, 1 failed"

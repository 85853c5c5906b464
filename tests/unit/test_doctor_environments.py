"""doctor's rows on environments: missing, out of date, broken, wrong pins, damaged files; espeak and Chromium."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

import planted
from tts_train import environments
from tts_train.work.checkups import extras, installed, packages
from tts_train.work.checkups.row import Row

LOCK = """# Made by 'run.sh lock'
alpha==1.2 \\
    --hash=sha256:00
    # via beta
beta-two==3.0.1 ; platform_machine == 'x86_64' and sys_platform == 'linux' \\
    --hash=sha256:01
for-windows==1 ; sys_platform == 'win32' \\
    --hash=sha256:02
newer==2 ; python_full_version >= '3.13' \\
    --hash=sha256:03
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a folder; of 'mine'"
    monkeypatch.setenv("TTS_TRAIN_ENVS", str(folder))
    for name in ("TTS_TRAIN_NO_SETUP", "TTS_TRAIN_NO_GPL"):
        monkeypatch.delenv(name, raising=False)
    return folder


def row(check: str) -> Row:
    found = {row.check: row for row in installed.rows()}
    return found[check]


def whole(root: Path, name: str = "skill") -> Path:
    site = planted.environment(root, name, LOCK)
    planted.package(site, "alpha", "1.2", {"alpha/core.py": b"x = 1\n"})
    planted.package(site, "Beta_Two", "3.0.1")
    return site


@pytest.fixture(autouse=True)
def _on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(packages.sys, "platform", "linux")


def test_a_whole_environment_is_in_order(root: Path) -> None:
    whole(root)

    assert row("environment skill").state == "ok"
    assert row("packages skill") == Row("packages skill", "ok", "2 packages, all as locked, every file there")


def test_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = row("environment skill")

    assert (missing.state, missing.fix) == ("warning", "run.sh setup skill")
    assert "missing; its first command sets it up" in missing.detail

    monkeypatch.setenv("TTS_TRAIN_NO_SETUP", "1")
    forbidden = row("environment skill")
    assert (forbidden.state, forbidden.fix) == ("problem", "run.sh setup skill")
    assert "exit 3" in forbidden.detail


def test_missing_where_nobody_may_write(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.os, "access", lambda *_: False)

    assert row("environment skill").state == "problem"
    assert "set TTS_TRAIN_ENVS" in row("environment skill").detail


def test_the_environment_of_developers_is_optional(root: Path) -> None:
    assert (row("environment dev").state, row("environment dev").fix) == ("absent-but-optional", "run.sh setup dev")


def test_out_of_date(root: Path) -> None:
    whole(root)
    stamp = root / "skill" / environments.STAMP
    stamp.write_text(stamp.read_text().replace('"lock_sha256": "', '"lock_sha256": "0'))

    stale = row("environment skill")

    assert (stale.state, stale.fix) == ("warning", "run.sh setup skill")
    assert stale.detail.startswith("out of date")
    # It is what its own lock says: no wrong pins besides.
    assert row("packages skill").state == "ok"


def test_broken_python(root: Path) -> None:
    whole(root)
    python = root / "skill/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    broken = row("environment skill")

    assert (broken.state, broken.fix) == ("problem", "run.sh setup skill")
    assert "/nowhere/python3" in broken.detail


def test_a_set_up_that_never_finished(root: Path) -> None:
    whole(root)
    (root / "skill" / environments.STAMP).unlink()

    assert row("environment skill").state == "problem"
    assert "no set-up finished" in row("environment skill").detail


def test_lock_file_of_an_incomplete_copy(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipes = installed.installation.recipes()
    monkeypatch.setattr(installed.installation, "recipes", lambda: recipes)
    monkeypatch.setattr(environments, "SKILL", tmp_path)

    assert row("environment skill").state == "problem"
    assert "locks/skill.txt" in row("environment skill").fix


def test_path_line_to_another_copy(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installed.environments, "SKILL", tmp_path)
    (tmp_path / "locks").mkdir()
    real = Path(environments.__file__).resolve().parents[2]
    for lock in (real / "locks").glob("*.txt"):
        (tmp_path / "locks" / lock.name).write_bytes(lock.read_bytes())
    site = whole(root)
    (site / "tts_train.pth").write_text("/elsewhere/src\n")

    lost = row("environment skill")

    assert lost.state == "problem"
    assert "/elsewhere/src" in lost.detail
    assert lost.fix.endswith("run.sh setup skill")


def test_wrong_pin(root: Path) -> None:
    site = whole(root)
    (site / "alpha-1.2.dist-info").rename(site / "alpha-9.9.dist-info")

    wrong = row("packages skill")

    assert wrong.state == "problem"
    assert "alpha is 9.9, locked 1.2" in wrong.detail
    # A set-up believes the stamp: without deleting it nothing would happen.
    stamp = f"{root}/skill/{environments.STAMP}"
    assert shlex.split(wrong.fix) == ["rm", "-f", stamp, "&&", "run.sh", "setup", "skill"]


def test_the_fix_of_a_wrong_pin_makes_the_environment_be_set_up_again(root: Path) -> None:
    whole(root)
    assert environments.is_current("skill")

    subprocess.run(packages.set_up_again("skill").partition(" && ")[0], shell=True, check=True)

    assert not environments.is_current("skill")


def test_two_versions_over_each_other(root: Path) -> None:
    planted.package(whole(root), "alpha", "1.3")

    assert "alpha is 1.2 and 1.3, locked 1.2" in row("packages skill").detail


def test_package_that_is_gone(root: Path) -> None:
    site = whole(root)
    (site / "alpha-1.2.dist-info/RECORD").unlink()
    (site / "alpha-1.2.dist-info").rmdir()

    assert "alpha is missing (1.2)" in row("packages skill").detail


def test_package_that_the_lock_does_not_name(root: Path) -> None:
    planted.package(whole(root), "stranger", "1")

    assert row("packages skill").state == "warning"
    assert "not in the lock: stranger" in row("packages skill").detail


@pytest.mark.parametrize("harm", ["cut", "gone", "no record"])
def test_damaged_files(root: Path, harm: str) -> None:
    site = whole(root)
    match harm:
        case "cut":
            (site / "alpha/core.py").write_bytes(b"x")
        case "gone":
            (site / "alpha/core.py").unlink()
        case _:
            (site / "alpha-1.2.dist-info/RECORD").unlink()

    damaged = row("packages skill")

    assert damaged.state == "problem"
    assert ("RECORD" if harm == "no record" else "alpha/core.py") in damaged.detail
    assert damaged.fix.endswith("run.sh setup skill")


@pytest.mark.parametrize(
    ("marker", "wanted"),
    [
        ("", True),
        ("sys_platform == 'linux'", True),
        ("sys_platform != 'linux' or platform_machine == 'x86_64'", True),
        ("sys_platform == 'linux' and (platform_machine == 'arm64' or python_version < '3.12')", True),
        ("python_full_version >= '3.9' and python_full_version < '3.11.10'", True),
        ("python_full_version >= '3.13'", False),
        ("python_version == '3.11.0'", True),
        ("platform_machine in 'x86_64 amd64'", True),
        ("extra == 'gpu'", None),
        ("no marker at all", None),
    ],
)
def test_markers(marker: str, wanted: bool | None) -> None:
    assert packages.is_wanted(packages.Pin("a", "1", marker), "3.11.7") is wanted


@pytest.mark.parametrize("name", ["core", "skill", "project", "dashboard", "dev"])
def test_every_marker_of_our_locks_is_understood(name: str) -> None:
    text = environments.lock_file(name).read_text()
    pins = packages.pins(text)

    assert len(pins) == sum(line[:1].isalnum() for line in text.splitlines())
    assert [pin for pin in pins if packages.is_wanted(pin, "3.12.1") is None] == []


def test_espeak(root: Path) -> None:
    def espeak() -> Row:
        return next(extras.rows())

    assert (espeak().state, espeak().fix) == ("absent-but-optional", "run.sh setup skill")

    site = planted.environment(root, "skill", LOCK)
    assert espeak().state == "problem"
    assert espeak().fix.endswith("run.sh setup skill --gpl")

    planted.package(site, "piper_tts", "1", {"piper/espeakbridge.abi3.so": b"x", "piper/espeak-ng-data/phontab": b"x"})
    assert espeak().state == "ok"


def test_espeak_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.environment(root, "skill", LOCK)
    monkeypatch.setenv("TTS_TRAIN_NO_GPL", "1")

    left_out = next(extras.rows())

    assert (left_out.state, left_out.fix) == ("absent-but-optional", "run.sh setup skill --gpl")


def test_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TTS_TRAIN_CHROMIUM", raising=False)
    *_, absent = extras.rows()
    assert absent.state == "absent-but-optional"
    assert "TTS_TRAIN_CHROMIUM" in absent.fix

    monkeypatch.setenv("TTS_TRAIN_CHROMIUM", "/opt/chromium")
    *_, there = extras.rows()
    assert there.state == "ok"

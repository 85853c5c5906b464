"""Lock files: exact, hashed, without addresses, and of one mind about the packages that matter."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tts_train import installation, lockfiles

LOCKS = Path(__file__).parents[2] / ".agent/skills/tts-train/locks"
NAMES = ["core", "skill", "project", "dev", "uv"]
PINS = {
    "core": {"numpy": "2.4.6"},
    "skill": {"torch": "2.8.0", "torchaudio": "2.8.0", "transformers": "4.57.3", "coqui-tts": "0.28.0"},
    "project": {
        "torch": "2.8.0",
        "torchaudio": "2.8.0",
        "transformers": "4.57.3",
        "whisperx": "3.8.6",
        "qwen-tts": "0.1.1",
        "librosa": "0.11.0",
    },
}
SHARED = ["click", "librosa", "numpy", "psutil", "pydantic", "pyyaml", "scipy", "soxr", "torch", "torchaudio"]


def blocks(name: str) -> list[str]:
    """One text a package: its line with the hashes that belong to it."""
    lines = [line for line in (LOCKS / f"{name}.txt").read_text().splitlines() if not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines).strip())


def versions(name: str) -> dict[str, str]:
    found = {}
    for block in blocks(name):
        match = re.match(r"([a-z0-9-]+)==([^ ]+)", block)
        assert match, block
        package, version = match.groups()
        assert package not in found, f"{package} has two versions in {name}.txt: Pythons would differ"
        found[package] = version
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes_and_no_file_has_an_address(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()

    for block in blocks(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|-e|file:|\.\.?/)", text, re.MULTILINE)


@pytest.mark.parametrize("name", PINS)
def test_pins_that_matter(name: str) -> None:
    assert PINS[name].items() <= versions(name).items()


def test_shared_packages_have_one_version_everywhere() -> None:
    for package in SHARED:
        found = {versions(name).get(package) for name in NAMES} - {None}
        assert len(found) == 1, (package, found)
    core = versions("core")
    for name in ("skill", "project", "dev"):
        assert core.items() <= versions(name).items(), f"{name}.txt has another version of a core package"


def test_core_is_light() -> None:
    assert not versions("core").keys() & {"torch", "transformers", "librosa", "pandas"}
    assert len(versions("core")) < 40


def test_packages_that_need_a_compiler_or_break_python_311_are_gone() -> None:
    for name in NAMES:
        assert not versions(name).keys() & {"webrtcvad", "typing"}
    assert "webrtcvad-wheels" in versions("project")
    assert "six" in versions("skill")


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_was_compiled_from_todays_requirements(name: str) -> None:
    assert (LOCKS / f"{name}.txt").read_text().startswith(lockfiles.header(name)), "run ./run.sh lock"


def test_gpl_packages_are_in_the_locks_and_can_be_left_out() -> None:
    listed = lockfiles.settings()["gpl"]
    for package in listed:
        assert any(package in versions(name) for name in NAMES), f"{package} is in no lock"
    for name in NAMES:
        left = lockfiles.without_gpl((LOCKS / f"{name}.txt").read_text())
        assert len(re.findall(r"^[a-z0-9]", left, re.MULTILINE)) == len(versions(name).keys() - set(listed))


def test_every_environment_has_a_lock_and_an_extra() -> None:
    project = tomllib.loads((LOCKS.parent / "pyproject.toml").read_text())["project"]

    assert {"core", *project["optional-dependencies"]} == set(installation.recipes())
    assert {path.stem for path in LOCKS.glob("*.txt")} == {*installation.recipes(), "uv", "overrides"}

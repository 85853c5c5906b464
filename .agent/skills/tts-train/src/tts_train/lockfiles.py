"""Lock files: exact versions and hashes of every package of an environment, compiled from pyproject.toml.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterable
from typing import Any

from tts_train.environments import SKILL, LaunchError

LOCKS = SKILL / "locks"


def settings() -> dict[str, Any]:
    """The table [tool.tts-train] of the skill's pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((SKILL / "pyproject.toml").read_text())["tool"]["tts-train"]
    return table


def without_gpl(lock_text: str) -> str:
    """A lock file's text less the packages that pyproject.toml lists as GPL."""
    return without_packages(lock_text, settings()["gpl"])


def without_packages(lock_text: str, packages: Iterable[str]) -> str:
    """A lock file's text less some packages: each one's line, its hashes and its comments."""
    dropped = {_normalised(package) for package in packages}
    kept, keep = [], True
    for line in lock_text.splitlines(keepends=True):
        if line[:1].isalnum():
            keep = _normalised(re.split(r"[=<>!~;\[\s@]", line, maxsplit=1)[0]) not in dropped
        elif not line[:1].isspace():
            keep = True
        if keep:
            kept.append(line)
    return "".join(kept)


def _normalised(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def requirements(name: str) -> list[str]:
    """What an environment asks for: the core's dependencies and its own extra; for uv, its pin."""
    if name == "uv":
        return [f"uv=={settings()['uv']}"]
    project = tomllib.loads((SKILL / "pyproject.toml").read_text())["project"]
    extra = [] if name == "core" else project["optional-dependencies"][name]
    return sorted({*project["dependencies"], *extra})


def header(name: str) -> str:
    """A lock's first line. Its hash of what was asked for lets a test notice a forgotten `run.sh lock`."""
    asked = "\n".join([*requirements(name), (LOCKS / "overrides.txt").read_text()])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
    return f"# Made by 'run.sh lock' from pyproject.toml; requirements {digest}\n"


def compile_lock(name: str, *, upgrade: bool) -> int:
    """Write locks/NAME.txt and return how many packages it names. Raises LaunchError when nothing fits.

    One set of versions for Python 3.11 and 3.12 and for every platform. Versions that still fit are kept unless
    `upgrade`; those of the core are the same in every environment.
    """
    from tts_train.uv import find_uv

    lock = LOCKS / f"{name}.txt"
    command = [str(find_uv(pinned=True)), "pip", "compile", "-", "--output-file", str(lock), "--quiet", "--no-header"]
    command += ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes"]
    command += ["--override", "overrides.txt"]
    if upgrade:
        command.append("--upgrade")
    if name not in ("core", "uv"):
        command += ["--constraint", "core.txt"]
    asked = "\n".join(requirements(name))
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=LOCKS)
    if answer.returncode != 0:
        raise LaunchError("unavailable", 69, f"cannot compile the lock of {name}", answer.stderr.strip())
    text = lock.read_text()
    lock.write_text(header(name) + text)
    return sum(line[:1].isalnum() for line in text.splitlines())

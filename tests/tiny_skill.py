"""A copy of the launcher with one tiny environment, for tests of run.sh and of set-up.

Its lock file is empty, so a real uv builds it in a fraction of a second and offline. The copy lives in a folder of
its own: nothing here touches the skill's real environments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_train import uv

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / ".agent/skills/tts-train"
LAUNCHER_MODULES = ("__init__", "environments", "installation", "lockfiles", "signals", "uv")
TABLE = """
setup  none  set up
show   tiny  print what a program sees
"""
PYPROJECT = """
[project]
dependencies = []
[tool.tts-train]
uv = "0"
gpl = ["gpl-thing"]
[tool.tts-train.environments]
tiny = { default = true, seconds = 1, megabytes = 1, about = "nothing" }
"""


@dataclass(frozen=True)
class TinySkill:
    """`folder` is the skill; `tools` comes first on its PATH and holds the uv that it uses."""

    folder: Path
    tools: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environments(self) -> Path:
        return self.folder / ".envs"

    @property
    def lock(self) -> Path:
        return self.folder / "locks/tiny.txt"

    def variables(self, **extra: str) -> dict[str, str]:
        """The caller's variables without ours, so that the outer test run does not leak in."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TTS_TRAIN_", "PYTHONPATH"))}
        path = f"{self.tools}:{os.environ['PATH']}"
        return {**kept, "PATH": path, "TTS_TRAIN_PYTHON": sys.executable, **extra}

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start `run.sh ARGUMENTS` in a folder that is not the skill's."""
        process = subprocess.Popen(
            [self.folder / "run.sh", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables(**extra),
            cwd=self.folder.parent,
        )
        self.started.append(process)
        return process

    def end_all(self) -> None:
        """A failed test may leave programs that wait for ever."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *arguments: str, **extra: str) -> tuple[int, dict[str, Any], str]:
        """The exit code, the one JSON object and stderr of `run.sh ARGUMENTS`."""
        process = self.start(*arguments, **extra)
        stdout, stderr = process.communicate(timeout=60)
        return process.returncode, json.loads(stdout), stderr

    def script(self, body: str) -> None:
        """What `run.sh show` runs."""
        (self.folder / "scripts/show.py").write_text(textwrap.dedent(body))

    def wrap_uv(self, before_sync: str) -> None:
        """Put a shell script before the real uv. It counts syncs in uv.calls, then runs `before_sync`."""
        (self.tools / "uv").unlink()
        lines = [
            "#!/bin/sh",
            f'if [ "$1 $2" = "pip sync" ]; then echo x >> "{self.tools}/uv.calls"',
            before_sync,
            "fi",
            f'exec "{uv.find_uv()}" "$@"',
        ]
        (self.tools / "uv").write_text("\n".join(lines) + "\n")
        (self.tools / "uv").chmod(0o755)

    def syncs(self) -> int:
        """How often the wrapped uv was asked to fill an environment."""
        calls = self.tools / "uv.calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def change_lock(self) -> None:
        self.lock.write_text(f"{self.lock.read_text()}# changed\n")


def make(folder: Path) -> TinySkill:
    """A tiny skill in `folder`, with no environment yet."""
    skill = TinySkill(folder / "skill", folder / "tools")
    package = skill.folder / "src/tts_train"
    for needed in (package, skill.folder / "scripts", skill.folder / "locks", skill.tools):
        needed.mkdir(parents=True)
    for module in LAUNCHER_MODULES:
        shutil.copyfile(SKILL / f"src/tts_train/{module}.py", package / f"{module}.py")
    shutil.copyfile(SKILL / "scripts/setup.py", skill.folder / "scripts/setup.py")
    shutil.copyfile(SKILL / "locks/uv.txt", skill.folder / "locks/uv.txt")
    (skill.folder / "pyproject.toml").write_text(PYPROJECT)
    skill.lock.write_text("# nothing\n")
    before, _, rest = (SKILL / "run.sh").read_text().partition("table='\n")
    (skill.folder / "run.sh").write_text(f"{before}table='{TABLE}'\n{rest.partition(chr(10) + chr(39) + chr(10))[2]}")
    (skill.folder / "run.sh").chmod(0o755)
    (skill.tools / "uv").symlink_to(uv.find_uv())
    skill.script("print('{}')")
    return skill


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll; fails the test instead of hanging."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.02)

"""Small environments that look like finished ones, for tests that break them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tts_train import environments


def environment(root: Path, name: str, lock_text: str | None = None) -> Path:
    """An environment that is current by its stamp, with no package in it; returns its site-packages."""
    site = root / name / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    site.mkdir(parents=True)
    (root / name / "bin").mkdir()
    # A Python of its own, which does not see the packages of the one that runs the tests.
    python = Path(sys.executable).resolve()
    (root / name / "bin/python").symlink_to(python)
    (root / name / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    text = environments.lock_file(name).read_text() if lock_text is None else lock_text
    (root / name / "lock.txt").write_text(text)
    facts = {"lock_sha256": environments.wanted_hash(name, gpl=True), "gpl": True, "python": "3.11.7", "megabytes": 10}
    (root / name / environments.STAMP).write_text(json.dumps(facts))
    return site


def package(site: Path, name: str, version: str, files: dict[str, bytes] | None = None) -> Path:
    """Install a package of these files (path in `site` → content), with its record; returns its dist-info folder."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = []
    for path, content in (files or {f"{name}/__init__.py": b""}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        lines.append(f"{path},sha256=x,{len(content)}\n")
    (info / "RECORD").write_text("".join(lines) + f"{info.name}/RECORD,,\n")
    return info

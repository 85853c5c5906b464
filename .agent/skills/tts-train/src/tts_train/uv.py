"""uv, our one tool for installing, and the steps around it: run with a log, put a folder in place whole.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tts_train.environments import LaunchError, lock_file, note, open_lock, root, take_lock

_OLDEST = (0, 8)
# Variables that would point uv at another Python or folder than the ones we name.
_NOT_FOR_UV = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
)


def put_in_place(new: Path, final: Path, old: Path) -> None:
    """Two renames; dying between them leaves `old`, which the next set-up puts back."""
    if final.exists():
        os.rename(final, old)
    try:
        os.rename(new, final)
    except OSError:
        if old.exists():
            os.rename(old, final)
        raise
    remove_folder(old)


def remove_folder(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def run_logged(command: Sequence[str | Path], log: Path, name: str, lock_descriptor: int) -> None:
    """Run one step with its output in the log. Raises LaunchError with its last lines."""
    variables = {key: value for key, value in os.environ.items() if key not in _NOT_FOR_UV}
    variables.setdefault("UV_HTTP_TIMEOUT", "120")
    variables |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_COMPILE_BYTECODE_TIMEOUT": "0"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=root(),  # uv reads settings from its folder and above: not from the caller's project
            env=variables,
            # Should this process be killed outright, the lock stays until uv has ended too.
            pass_fds=(lock_descriptor,),
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    if code != 0:
        raise LaunchError(
            "environment-missing",
            3,
            f"cannot set up the {name} environment: '{' '.join(map(str, command[:3]))}' ended with {code}",
            "\n".join([*last_lines(log, 8), f"All of it: {log}. Try again: run.sh setup {name}"]),
        )


def last_lines(log: Path, count: int) -> list[str]:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip()][-count:]


def find_uv(*, pinned: bool = False) -> Path:
    """uv: our own copy, else the one on PATH if it is recent (`pinned`: if it is ours), else a new copy by pip.

    Raises LaunchError when pip cannot install it.
    """
    version = _locked_uv_version()
    own = root() / "uv" / "bin" / "uv"
    if _uv_version(own) == version:
        return own
    on_path = shutil.which("uv")
    found = _uv_version(Path(on_path)) if on_path else None
    if on_path and found and (found == version if pinned else found >= _OLDEST):
        return Path(on_path)
    descriptor = open_lock("uv")
    try:
        take_lock("uv", descriptor, fcntl.LOCK_EX)
        if _uv_version(own) != version:  # another process may have installed it meanwhile
            _install_uv(descriptor)
    finally:
        os.close(descriptor)
    return own


def _locked_uv_version() -> tuple[int, ...]:
    number = re.search(r"^uv==(\d+)\.(\d+)\.(\d+)", lock_file("uv").read_text(), re.MULTILINE)
    if number is None:
        raise LaunchError(
            "environment-missing", 3, "locks/uv.txt names no version of uv", "copy the skill folder again"
        )
    return tuple(map(int, number.groups()))


def _uv_version(uv: Path) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    number = re.match(r"uv (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, number.groups())) if number and answer.returncode == 0 else None


def _install_uv(lock_descriptor: int) -> None:
    final, new, old = (root() / f"uv{suffix}" for suffix in ("", ".new", ".old"))
    log = root() / "uv.log"
    log.write_bytes(b"")
    remove_folder(new)
    remove_folder(old)
    note("installing uv with pip: about 5 s and 60 MB")
    try:
        run_logged([sys.executable, "-I", "-m", "venv", new], log, "uv", lock_descriptor)
        pip: list[str | Path] = [
            new / "bin" / "python",
            "-I",
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
        ]
        pip += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", lock_file("uv")]
        run_logged(pip, log, "uv", lock_descriptor)
        put_in_place(new, final, old)
    finally:
        remove_folder(new)

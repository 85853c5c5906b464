"""Making an environment from its lock file, whole or not at all. Standard library only.

uv builds `<name>.new` from locks/<name>.txt; the stamp is its last file; then two renames put it in place of the
old one. Whatever interrupts it leaves the old environment, or none, and never half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tts_train.environments import (
    SKILL,
    STAMP,
    LaunchError,
    chosen_gpl,
    held_by_ancestors,
    is_current,
    is_usable,
    lock_file,
    note,
    open_lock,
    root,
    stamp,
    take_lock,
    wanted_hash,
)
from tts_train.lockfiles import settings, without_gpl
from tts_train.signals import handled
from tts_train.uv import find_uv, last_lines, put_in_place, remove_folder, run_logged

# Proves the path line; and where PYTHONDONTWRITEBYTECODE is set, every command would compile us again and again.
_IMPORT_AND_COMPILE = "import compileall, tts_train; compileall.compile_dir(tts_train.__path__[0], quiet=2)"
_SECONDS_BEFORE_RETRY = 2


@dataclass(frozen=True)
class Recipe:
    """What pyproject.toml says of an environment; `seconds` and `megabytes` are rough."""

    name: str
    default: bool
    seconds: int
    megabytes: int
    about: str


def recipes() -> dict[str, Recipe]:
    """Every environment there is, by name."""
    return {name: Recipe(name=name, **row) for name, row in settings()["environments"].items()}


def recipe(name: str) -> Recipe:
    """One environment's recipe. Raises LaunchError for an unknown name."""
    known = recipes()
    if name in known:
        return known[name]
    raise LaunchError("usage", 2, f"there is no environment '{name}'", f"one of: {', '.join(known)}")


def state(name: str) -> dict[str, Any]:
    """How an environment is, without changing it: ready, stale, missing, or setting-up."""
    its_recipe = recipe(name)
    written = stamp(name) or {}
    log = root() / f"{name}.log"
    facts = {
        "name": name,
        "state": "ready" if is_current(name) else "stale" if is_usable(name) else "missing",
        "about": its_recipe.about,
        "path": str(root() / name),
        "gpl": chosen_gpl(name),
        "megabytes": written.get("megabytes", its_recipe.megabytes),
        "python": written.get("python"),
    }
    if _being_set_up(name):
        facts["state"] = "setting-up"
        facts["last_message"] = next(iter(last_lines(log, 1)), "")
    return facts


def _being_set_up(name: str) -> bool:
    if not (root() / f"{name}.lock").exists():
        return False
    descriptor = open_lock(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def set_up(name: str, *, gpl: bool | None = None) -> dict[str, Any]:
    """Make an environment current, once, however many processes ask at the same time.

    Waits for programs that run in it. Returns `state` with `seconds` (0 when nothing was to do). Raises LaunchError
    (3: the old environment, if any, is still there; 128+n: a signal came).
    """
    its_recipe = recipe(name)
    if is_current(name, gpl) and gpl in (None, chosen_gpl(name)):
        return {**state(name), "seconds": 0.0}
    if any(lock.name == name for lock in held_by_ancestors()):
        raise LaunchError(
            "environment-missing",
            3,
            f"the {name} environment cannot change while the command that asks for it runs in it",
            f"run.sh setup {name}",
        )
    started = time.monotonic()
    descriptor = open_lock(name)
    try:
        with _signals_raised(name):
            take_lock(name, descriptor, fcntl.LOCK_EX)
            if not is_current(name, gpl):
                _build(its_recipe, chosen_gpl(name, gpl), descriptor)
            elif gpl is not None:
                _write_stamp(root() / name, {**(stamp(name) or {}), "gpl": gpl})
    finally:
        os.close(descriptor)
    return {**state(name), "seconds": round(time.monotonic() - started, 1)}


def set_up_in_background(names: Sequence[str], *, gpl: bool | None = None) -> dict[str, Any]:
    """Start `run.sh setup NAMES` in a session of its own. Returns its pid and its log; `state` tells how it goes."""
    log = root() / "setup.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = [] if gpl is None else ["--gpl" if gpl else "--no-gpl"]
    command = [sys.executable, "-I", str(SKILL / "scripts" / "setup.py"), *names, *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    return {"pid": process.pid, "log": str(log), "environments": list(names)}


@contextlib.contextmanager
def _signals_raised(name: str) -> Iterator[None]:
    """Turn the signals that end a process into LaunchError, so that uv is stopped and the half environment goes."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise LaunchError(
            "stopped",
            128 + number,
            f"the set-up of the {name} environment was stopped by {signal.Signals(number).name}",
            f"run.sh setup {name}",
        )

    with handled(stop):
        yield


def _build(its_recipe: Recipe, gpl: bool, lock_descriptor: int) -> None:
    name = its_recipe.name
    final, new, old = (root() / f"{name}{suffix}" for suffix in ("", ".new", ".old"))
    if not final.exists() and old.exists():
        os.rename(old, final)  # a set-up died between the two renames of put_in_place
    remove_folder(new)
    remove_folder(old)
    text = lock_file(name).read_text()
    smaller = without_gpl(text)
    log = root() / f"{name}.log"
    log.write_bytes(b"")
    uv = find_uv()
    note(_announcement(its_recipe, has_gpl=gpl and smaller != text))
    try:
        run_logged(
            [uv, "venv", "--relocatable", "--no-project", "--python", sys.executable, new],
            log,
            name,
            lock_descriptor,
        )
        requirements = new / "lock.txt"
        requirements.write_text(text if gpl else smaller)
        sync: list[str | Path] = [
            uv,
            "pip",
            "sync",
            "--require-hashes",
            "--compile-bytecode",
            "--allow-empty-requirements",
        ]
        sync += ["--python", new / "bin" / "python", requirements]
        try:
            run_logged(sync, log, name, lock_descriptor)
        except LaunchError as error:
            if error.kind == "stopped":
                raise
            note(f"setting up the {name} environment failed; trying once more")
            time.sleep(_SECONDS_BEFORE_RETRY)
            run_logged(sync, log, name, lock_descriptor)
        _write_path_line(new, final)
        run_logged([new / "bin" / "python", "-P", "-c", _IMPORT_AND_COMPILE], log, name, lock_descriptor)
        facts = {"gpl": gpl, "python": sys.version.split()[0], "megabytes": _megabytes(new)}
        _write_stamp(new, {"lock_sha256": wanted_hash(name, gpl), **facts})
        put_in_place(new, final, old)
        (root() / "python.txt").write_text(sys.executable + "\n")  # run.sh starts with it: no search
    except OSError as error:
        raise LaunchError(
            "environment-missing",
            3,
            f"cannot set up the {name} environment: {error}",
            "check free space and permissions",
        ) from error
    finally:
        remove_folder(new)


def _announcement(its_recipe: Recipe, *, has_gpl: bool) -> str:
    size = its_recipe.megabytes
    size_text = f"{size / 1000:.1f} GB" if size >= 1000 else f"{size} MB"
    text = f"setting up the {its_recipe.name} environment: about {its_recipe.seconds} s and {size_text} in {root()}"
    if has_gpl:
        text += f" (with GPL packages, of {', '.join(settings()['gpl'])}; 'run.sh setup --no-gpl' leaves them out)"
    return text


def _write_path_line(new: Path, final: Path) -> None:
    """Put the skill's own package on the environment's path; a later sync would remove an editable install."""
    packages = next((new / "lib").glob("python3.*/site-packages"))
    source = SKILL / "src"
    line = str(source)
    if final.is_relative_to(SKILL):
        # Relative, so that the skill's folder can move together with its environments.
        line = os.path.relpath(source, final / packages.relative_to(new))
    (packages / "tts_train.pth").write_text(line + "\n")


def _write_stamp(folder: Path, facts: dict[str, Any]) -> None:
    temporary = folder / f"{STAMP}.tmp"
    temporary.write_text(json.dumps(facts))
    os.replace(temporary, folder / STAMP)


def _megabytes(folder: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return round(sum(path.lstat().st_blocks * 512 for path in files) / 1e6)

"""Environments against their locks: there, current, whole, and with the versions that the lock names."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tts_train import environments, installation, lockfiles
from tts_train.work.checkups import packages
from tts_train.work.checkups.row import Row, listed


def states() -> list[dict[str, Any]]:
    """`installation.state` of every environment that a bare `setup` makes."""
    return [_state(name) for name, recipe in installation.recipes().items() if recipe.default]


def rows() -> Iterator[Row]:
    """Two rows an environment: how it is, and whether its packages are those of its lock."""
    for name, recipe in installation.recipes().items():
        state = _state(name)
        if not recipe.default and state["state"] == "missing" and not _folder(name).exists():
            yield Row(f"environment {name}", "absent-but-optional", recipe.about, f"run.sh setup {name}")
            continue
        yield _environment(name, state)
        site = packages.site_packages(_folder(name))
        if site and state["state"] in ("ready", "stale"):
            yield _packages(name, site)


def _state(name: str) -> dict[str, Any]:
    try:
        return installation.state(name)
    except environments.LaunchError as error:
        megabytes = installation.recipe(name).megabytes
        return {"name": name, "state": "unknown", "about": error.message, "megabytes": megabytes, "hint": error.hint}


def _folder(name: str) -> Path:
    return environments.root() / name


def _environment(name: str, state: dict[str, Any]) -> Row:
    check, fix = f"environment {name}", f"run.sh setup {name}"
    size = f"{state['megabytes'] / 1000:.1f} GB"
    match state["state"]:
        case "ready":
            pth = _path_line(name)
            if pth:
                return Row(check, "problem", pth, packages.set_up_again(name))
            return Row(check, "ok", f"{state['about']}; {size}, Python {state['python']}")
        case "setting-up":
            return Row(check, "warning", f"being set up: {state['last_message'] or 'it just began'}", f"{fix} waits")
        case "unknown":
            return Row(check, "problem", state["about"], state["hint"])
        case "stale":
            detail = f"out of date: its lock has changed since it was made; {_next_use()}"
        case _ if _folder(name).exists():
            detail = f"broken: {_whats_broken(name)}; {_next_use()}"
            return Row(check, "problem", detail, fix)
        case _:
            detail = f"missing; {_next_use()} ({installation.recipe(name).seconds} s, {size})"
    if _cannot_set_up():
        return Row(check, "problem", f"{detail}; {_cannot_set_up()}", fix)
    return Row(check, "warning", detail, fix)


def _next_use() -> str:
    return "no command sets it up (TTS_TRAIN_NO_SETUP)" if _no_setup() else "its first command sets it up"


def _no_setup() -> bool:
    return os.environ.get("TTS_TRAIN_NO_SETUP", "0") not in ("", "0")


def _cannot_set_up() -> str:
    """Why the launcher will fail rather than set an environment up, or ""."""
    if _no_setup():
        return "commands that need it exit 3"
    folder = environments.root()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written to: set TTS_TRAIN_ENVS"


def _whats_broken(name: str) -> str:
    python = environments.interpreter(name)
    if python.is_symlink() and not python.exists():
        return f"its Python is gone ({python} points at {python.readlink()})"
    if not os.access(python, os.X_OK):
        return f"{python} is no program"
    return f"{_folder(name) / environments.STAMP} is missing or unreadable, so no set-up finished"


def _path_line(name: str) -> str:
    """What is wrong with the line that leads an environment to this skill's package, or ""."""
    site = packages.site_packages(_folder(name))
    if site is None:
        return f"{_folder(name)} has no site-packages"
    if not environments.root().is_relative_to(environments.SKILL):
        return ""  # shared by several copies of the skill: the launcher names the package's folder itself
    try:
        line = (site / "tts_train.pth").read_text(encoding="utf-8").strip()
    except OSError as error:
        return f"its path line cannot be read: {error}"
    leads = (site / line).resolve()
    if leads == environments.SKILL / "src":
        return ""
    return f"its path line leads to {leads}, not to {environments.SKILL / 'src'}"


def _packages(name: str, site: Path) -> Row:
    check = f"packages {name}"
    own = _folder(name) / "lock.txt"
    try:
        # Its own copy of the lock: an environment that is out of date is not full of wrong pins as well.
        text = own.read_text(encoding="utf-8")
    except OSError:
        text = environments.lock_file(name).read_text(encoding="utf-8")
        text = text if environments.chosen_gpl(name) else lockfiles.without_gpl(text)
    python = str((environments.stamp(name) or {}).get("python") or platform.python_version())
    wrong = wrong_pins(text, packages.installed(site), python)
    if wrong:
        return Row(check, "problem", f"not as locked: {listed(wrong)}", packages.set_up_again(name))
    gone = packages.damaged(site)
    if gone:
        return Row(
            check,
            "problem",
            f"{len(gone)} files gone or of another size: {listed(gone, 3)}",
            packages.set_up_again(name),
        )
    named = {pin.name for pin in packages.pins(text)}
    extra = sorted(packages.installed(site).keys() - named)
    if extra:
        detail = f"not in the lock: {listed(extra)}; the next set-up drops them"
        return Row(check, "warning", detail, packages.set_up_again(name))
    return Row(check, "ok", f"{len(packages.installed(site))} packages, all as locked, every file there")


def wrong_pins(lock_text: str, installed: dict[str, list[str]], python_version: str) -> list[str]:
    """Each package that is missing, or there in another version than the lock names for this machine."""
    wanted: dict[str, list[str]] = {}
    possible: dict[str, list[str]] = {}
    for pin in packages.pins(lock_text):
        is_wanted = packages.is_wanted(pin, python_version)
        if is_wanted:
            wanted.setdefault(pin.name, []).append(pin.version)
        if is_wanted is not False:
            possible.setdefault(pin.name, []).append(pin.version)
    missing = [
        f"{name} is missing ({' or '.join(versions)})" for name, versions in wanted.items() if name not in installed
    ]
    other = [
        f"{name} is {' and '.join(there)}, locked {' or '.join(possible[name])}"
        for name, there in installed.items()
        if name in possible and (len(there) > 1 or there[0] not in possible[name])
    ]
    return [*other, *missing]

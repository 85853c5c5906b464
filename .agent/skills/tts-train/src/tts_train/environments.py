"""Environments: where they are, whether they are current, and becoming a program in one of them.

Standard library only, because it runs before anything is installed:

    python -I environments.py run ENVIRONMENT PYTHON-ARGUMENTS…

An environment is current when its stamp names the hash of its lock file. Every program holds a shared lock
(flock) on its environment for as long as it lives, across exec; a set-up takes the lock exclusively, so an
environment is never changed under a running program.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SKILL = Path(__file__).resolve().parents[2]
STAMP = "tts-train.json"
# name:descriptor:pid of each lock that this process or an ancestor holds.
HELD = "TTS_TRAIN_HELD"


class LaunchError(Exception):
    """What is wrong before a command's own code runs. `exit_code`: 2 usage, 3 environment missing, 128+n signal."""

    def __init__(self, kind: str, exit_code: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, Any]:
        return {"ok": False, "error": {"kind": self.kind, "message": self.message, "hint": self.hint}}


def root() -> Path:
    """The folder of all environments: TTS_TRAIN_ENVS, else .envs in the skill."""
    given = os.environ.get("TTS_TRAIN_ENVS")
    return Path(given).expanduser().resolve() if given else SKILL / ".envs"


def interpreter(name: str) -> Path:
    """The Python of an environment, whether or not it exists."""
    return root() / name / "bin" / "python"


def lock_file(name: str) -> Path:
    """The list of exact versions and hashes. Raises LaunchError for a name that has none."""
    path = SKILL / "locks" / f"{name}.txt"
    if path.is_file():
        return path
    raise LaunchError(
        "usage",
        2,
        f"there is no environment '{name}'",
        f"a file {path} would define it; 'run.sh setup --status' lists those there are",
    )


def stamp(name: str) -> dict[str, Any] | None:
    """What the last finished set-up wrote into the environment, or None."""
    try:
        written: dict[str, Any] = json.loads((root() / name / STAMP).read_bytes())
    except (OSError, ValueError):
        return None
    return written


def chosen_gpl(name: str, explicit: bool | None = None) -> bool:
    """Whether GPL packages belong into an environment.

    An explicit choice wins, then TTS_TRAIN_NO_GPL, then what this environment has, then what any other was made
    with: whoever said --no-gpl once keeps it until they say --gpl.
    """
    if explicit is not None:
        return explicit
    variable = os.environ.get("TTS_TRAIN_NO_GPL")
    if variable:
        return variable == "0"
    own = stamp(name)
    if own is not None:
        return bool(own.get("gpl", True))
    others = (stamp(path.parent.name) for path in root().glob(f"*/{STAMP}"))
    return all(other.get("gpl", True) for other in others if other is not None)


def wanted_hash(name: str, gpl: bool) -> str:
    """The hash that a current environment's stamp has: of its lock file, less GPL packages if they are unwanted."""
    text = lock_file(name).read_bytes()
    if not gpl:
        from tts_train import lockfiles

        text = lockfiles.without_gpl(text.decode()).encode()
    return hashlib.sha256(text).hexdigest()


def is_current(name: str, explicit_gpl: bool | None = None) -> bool:
    """Whether the environment is whole and made from today's lock file."""
    written = stamp(name) or {}
    return written.get("lock_sha256") == wanted_hash(name, chosen_gpl(name, explicit_gpl)) and is_usable(name)


def is_usable(name: str) -> bool:
    """Whether a set-up finished once and its Python is still there, whatever the lock file says today."""
    return stamp(name) is not None and os.access(interpreter(name), os.X_OK)


def open_lock(name: str) -> int:
    """A descriptor to flock. Read-only, so that users of a read-only installation can hold it too."""
    try:
        root().mkdir(parents=True, exist_ok=True)
        return os.open(root() / f"{name}.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise LaunchError(
            "environment-missing",
            3,
            f"cannot lock the {name} environment: {error}",
            "set TTS_TRAIN_ENVS to a folder that you may write to",
        ) from error


def take_lock(name: str, descriptor: int, kind: int) -> None:
    """flock, saying so on stderr when it has to wait: a set-up for running programs, a program for a set-up."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        doing = "sets it up" if kind == fcntl.LOCK_SH else "sets it up or runs in it"
        note(f"waiting for the {name} environment: another process {doing}")
        fcntl.flock(descriptor, kind)


@dataclass(frozen=True)
class HeldLock:
    """A shared lock taken by a launcher: in this process (pid is ours) or in an ancestor."""

    name: str
    descriptor: int
    pid: int

    def __str__(self) -> str:
        return f"{self.name}:{self.descriptor}:{self.pid}"


def held_by_ancestors() -> list[HeldLock]:
    """Locks of living ancestors. Our own, left by a program that exec'ed this launcher, are released."""
    held = []
    for entry in os.environ.pop(HELD, "").split():
        name, descriptor, pid = entry.rsplit(":", 2)
        lock = HeldLock(name, int(descriptor), int(pid))
        if lock.pid == os.getpid():
            _release(lock)
        elif _is_alive(lock.pid):
            held.append(lock)
    os.environ[HELD] = " ".join(map(str, held))
    return held


def _release(lock: HeldLock) -> None:
    # A reused pid could make us close a stranger's descriptor; the file behind it tells.
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(lock.descriptor), os.stat(root() / f"{lock.name}.lock")):
            os.close(lock.descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def launch(name: str, arguments: Sequence[str]) -> NoReturn:
    """Become `python ARGUMENTS…` in an environment, setting it up first if it is not current.

    Raises LaunchError; else the program's signals and exit code are this process's.
    """
    held = held_by_ancestors()
    descriptor = open_lock(name)
    while True:
        take_lock(name, descriptor, fcntl.LOCK_SH)
        if is_current(name):
            break
        if any(lock.name == name for lock in held) and is_usable(name):
            # Our parent runs in it: waiting for the parent to end would wait for ever.
            note(f"the lock of the {name} environment changed; going on with the old one that this run started with")
            break
        if os.environ.get("TTS_TRAIN_NO_SETUP", "0") not in ("", "0"):
            raise LaunchError(
                "environment-missing",
                3,
                f"the {name} environment is {'out of date' if is_usable(name) else 'not set up'}"
                " and TTS_TRAIN_NO_SETUP forbids setting it up",
                f"run.sh setup {name}",
            )
        # An upgrade from shared to exclusive is not atomic anyway: let go, set up, look again.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        from tts_train import installation

        installation.set_up(name)
    os.set_inheritable(descriptor, True)
    held.append(HeldLock(name, descriptor, os.getpid()))
    python = str(interpreter(name))
    # -P: without it scripts/tensorboard.py would be found in place of the package tensorboard.
    os.execve(python, [python, "-P", *arguments], _program_environment(held))


def _program_environment(held: Sequence[HeldLock]) -> dict[str, str]:
    """The caller's variables, without what would mix another Python's packages into the environment."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    variables[HELD] = " ".join(map(str, held))
    # Spinning OpenMP threads make a busy machine ten times slower, and change nothing on an idle one.
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A pickle runs code when it is read. With this torch.load takes plain weights only, also where a library asks
    # for more (torch.hub does); the other variable would contradict it, and torch stops.
    variables["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    variables.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    if "TTS_TRAIN_ENVS" in variables:
        variables["TTS_TRAIN_ENVS"] = str(root())
    if not root().is_relative_to(SKILL):
        # Environments shared by several copies of the skill: their .pth names one copy; this copy must run itself.
        variables["PYTHONPATH"] = str(SKILL / "src")
    return variables


def note(text: str) -> None:
    """One line for the person or log that watches."""
    print(f"tts-train: {text}", file=sys.stderr, flush=True)


def refuse(message: str) -> NoReturn:
    """For argparse's `error`: a wrong option is one JSON object on stdout too. Raises LaunchError."""
    raise LaunchError("usage", 2, message, "--help lists the options")


def _unknown(command: str, known: Sequence[str]) -> LaunchError:
    import difflib

    if not command:
        return LaunchError("usage", 2, "no command given", "run.sh --help lists the commands")
    near = difflib.get_close_matches(command.lower().replace("_", "-"), known, n=1, cutoff=0.5)
    near = near or [name for name in known if name.startswith(command[:3].lower())][:1]
    suggestion = f"did you mean 'run.sh {near[0]}'? " if near else ""
    return LaunchError("usage", 2, f"unknown command '{command}'", f"{suggestion}run.sh --help lists the commands")


def _print(error: LaunchError) -> int:
    print(json.dumps(error.as_json()), flush=True)
    return error.exit_code


def main(arguments: Sequence[str]) -> int:
    """Run the launcher's own command line; returns only when it failed."""
    try:
        match list(arguments):
            case ["run", name, *rest] if rest:
                launch(name, rest)
            case ["unknown", command, *known]:
                return _print(_unknown(command, known))
            case _:
                return _print(LaunchError("usage", 2, "usage: run ENVIRONMENT PYTHON-ARGUMENTS…", "use run.sh"))
    except LaunchError as error:
        return _print(error)


if __name__ == "__main__":
    # As a module of its package, so that installation.py shares its classes; -I leaves the script's folder out.
    sys.path.insert(0, str(SKILL / "src"))
    module = importlib.import_module("tts_train.environments")
    sys.exit(module.main(sys.argv[1:]))

"""One training on a rented machine: sent there, started, looked at, stopped, and what it publishes fetched.

There it is a job like any other: `run.sh jobs submit -- train-local CONFIG` keeps its log and its end, and training
the same run again goes on where the files say it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tts_train.cloud.bundle import SKILL, WORKSPACE, Bundle, state_of
from tts_train.cloud.ssh import Machine, ProgramFailed, Unreachable
from tts_train.errors import TtsTrainError, from_json
from tts_train.files import TEMPORARY, atomic_write_stream, publish_folder, sync_folder
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

DEFAULTS = {"TTS_TRAIN_ENVS": "~/tts-train-envs", "HF_HOME": "~/tts-train-models"}
"""On the machine's own disk: many small files are slow on a network volume."""
_COMMAND_SECONDS = 900.0
"""The first command of all sets up the core environment."""
_LIST_SECONDS = 120.0
# RunPod puts runpodctl and a key for that pod alone into every pod; a login by ssh does not have its variables.
_END_ITSELF = """
for variable in $(tr '\\0' '\\n' </proc/1/environ 2>/dev/null | grep '^RUNPOD_'); do export "$variable"; done
setsid sh -c 'sleep "$1"; runpodctl pod delete "$2" || runpodctl remove pod "$2" || runpodctl pod stop "$2"' \\
  sh "$1" "$2" </dev/null >/dev/null 2>&1 &
"""
_EPOCH = re.compile(r"epoch-\d{3,6}")


@dataclass(frozen=True)
class Job:
    """`environment`: secrets and settings of the job alone; they travel on ssh's stdin."""

    machine: Machine
    run: RunFolder
    workspace: Workspace
    bundle: Bundle
    environment: Mapping[str, str]
    keeps: bool
    """Whether its files there outlive the machine."""
    left: Callable[[], float]
    """Seconds that anything may still take."""

    @property
    def there(self) -> str:
        """The run's folder on the machine."""
        return f"{WORKSPACE}/{self.workspace.relative(self.run.path)}"

    def send(self) -> int:
        """Copy what is not there yet; a run that has begun there is not touched. Returns how many files went."""
        known = self._files(SKILL, WORKSPACE)
        files = dict(self.bundle.files)
        if f"{self.there}/run.json" not in known:
            files |= state_of(self.run, self.workspace)
        new = {name: path for name, path in files.items() if known.get(name) != _facts(path)}
        if new:
            self.machine.put(new, self.left())
        return len(new)

    def end_itself(self, pod: str, seconds: float) -> None:
        """Let the pod end itself after that time, should nobody be left to do it."""
        words = ["sh", "-c", _END_ITSELF, "sh", f"{seconds:.0f}", pod]
        self.machine.run(words, environment={}, defaults={}, timeout=min(_LIST_SECONDS, self.left()))

    def submit(self, name: str, *, probe: bool) -> None:
        """Start it, unless a job of that name is there."""
        if self.look(name) is not None:
            return
        words = ["train-local", f"{WORKSPACE}/{self.bundle.config}", *([] if probe else ["--no-probe"])]
        self._run_sh("jobs", "submit", "--workspace", WORKSPACE, "--name", name, "--", *words)

    def look(self, name: str) -> dict[str, Any] | None:
        """The job as `jobs list` tells of it: `state` is running, ended, failed, stopped or lost."""
        listed = self._run_sh("jobs", "list", "--workspace", WORKSPACE, "--all")["jobs"]
        named: list[dict[str, Any]] = [job for job in listed if job.get("name") == name]
        return named[-1] if named else None

    def stop(self, name: str, seconds: float) -> None:
        """Ask it to save and end, and wait for that."""
        self._run_sh("jobs", "stop", "--workspace", WORKSPACE, name, "--timeout", f"{seconds:.0f}", "--kill")

    def failure(self, name: str) -> TtsTrainError:
        """What the job itself said went wrong."""
        try:
            self._run_sh("jobs", "wait", "--workspace", WORKSPACE, name, "--timeout", "1")
        except ProgramFailed as error:
            told = (_answer(error.stdout) or {}).get("error") or {}
            own = ((told.get("job") or {}).get("answer") or {}).get("error")
            found = from_json(own or told or {"message": error.message})
            found.exit_code = error.code
            return found
        return TtsTrainError("the job failed, and then says that it did not", hint="see its log")

    def fetch(self, *, state: bool) -> int:
        """Copy what is new in the run's folder there; `state` as well, for a resume. Returns how many files came.

        An epoch appears whole or not at all. The state is read first and put in its place last: with epochs newer than
        it a training goes on as after a crash; with a state newer than the epochs, one of them would never be made.
        """
        known = self._files(self.there)
        states = self._fetch_states(known) if state else {}
        if states:
            known = self._files(self.there)  # with every epoch that the state knows of
        new = [name for name in known if self._is_wanted(name) and known[name] != self._known(name)]
        epochs = sorted({parts[1] for name in new if _is_of_epoch(parts := self._parts(name))})
        for epoch in epochs:
            whole = [name for name in known if self._parts(name)[:2] == ["epochs", epoch]]
            if any(self._parts(name)[2:] == ["epoch.json"] for name in whole):
                self._fetch_epoch(epoch, whole)
        plain = sorted(name for name in new if self._parts(name)[0] != "epochs")
        self.machine.get(plain, self._take, self.left())
        for temporary, final in states.items():
            os.replace(temporary, final)
            sync_folder(final.parent)
        return len(new) + len(states)

    def _fetch_states(self, known: Mapping[str, tuple[int, int]]) -> dict[Path, Path]:
        """A new state, under temporary names: {temporary: final}."""
        new = [name for name in known if self._parts(name)[0] == "state" and known[name] != self._known(name)]
        taken: dict[Path, Path] = {}

        def take(name: str, content: IO[bytes], seconds: int) -> None:
            final = self._local(name)
            temporary = final.with_name(f"{TEMPORARY}{final.name}.{os.getpid()}")
            _keep(temporary, content, seconds)
            taken[temporary] = final

        self.machine.get(new, take, self.left())
        return taken

    def _files(self, *folders: str) -> dict[str, tuple[int, int]]:
        return self.machine.files(folders, min(_LIST_SECONDS, self.left()))

    def _fetch_epoch(self, epoch: str, names: list[str]) -> None:
        prefix = f"{self.there}/epochs/{epoch}/"

        def fill(folder: Path) -> None:
            def take(name: str, content: IO[bytes], seconds: int) -> None:
                _keep(folder / _safe(name.removeprefix(prefix)), content, seconds)

            self.machine.get(names, take, self.left())
            if len([path for path in folder.rglob("*") if path.is_file()]) != len(names):
                raise Unreachable(f"{epoch} changed while it was fetched", hint="try again")

        publish_folder(self.run.path / "epochs" / epoch, fill)

    def _take(self, name: str, content: IO[bytes], seconds: int) -> None:
        _keep(self._local(name), content, seconds)

    def _local(self, name: str) -> Path:
        return self.run.path / _safe(name.removeprefix(f"{self.there}/"))

    def _known(self, name: str) -> tuple[int, int] | None:
        path = self._local(name)
        return _facts(path) if path.is_file() else None

    def _is_wanted(self, name: str) -> bool:
        parts = self._parts(name)
        return parts[0] != "state" and not any(part.startswith(".") for part in parts)

    def _parts(self, name: str) -> list[str]:
        """A name there, below the run's folder."""
        return name.removeprefix(f"{self.there}/").split("/")

    def _run_sh(self, *words: str) -> dict[str, Any]:
        """The result of a command of run.sh there. Raises ProgramFailed with its one JSON object."""
        stdout = self.machine.run(
            [f"{SKILL}/run.sh", *words],
            environment=self.environment,
            defaults=DEFAULTS,
            timeout=min(_COMMAND_SECONDS, self.left()),
        )
        answer = _answer(stdout)
        if answer is None:
            raise Unreachable("run.sh on the rented machine gave no answer", hint="try again")
        result: dict[str, Any] = answer["result"]
        return result


def _answer(stdout: bytes) -> dict[str, Any] | None:
    lines = stdout.decode(errors="replace").strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_of_epoch(parts: list[str]) -> bool:
    return len(parts) > 2 and parts[0] == "epochs" and _EPOCH.fullmatch(parts[1]) is not None


def _keep(path: Path, content: IO[bytes], seconds: int) -> None:
    atomic_write_stream(path, lambda file: shutil.copyfileobj(content, file))
    os.utime(path, (seconds, seconds))


def _safe(name: str) -> str:
    """A name inside of the run's folder: the machine is rented, not ours."""
    if not name or name.startswith("/") or ".." in name.split("/") or any(ord(letter) < 32 for letter in name):
        raise TtsTrainError(f"the rented machine names a file {name!r}", hint="stop it: it is not what it should be")
    return name


def _facts(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, int(facts.st_mtime)

"""What is here after a connection broke anywhere in a fetch: whole epochs, and no state that is ahead of them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tts_train.cloud.bundle import Bundle
from tts_train.cloud.job import Job
from tts_train.cloud.ssh import Machine, Unreachable, machine_of
from tts_train.errors import TtsTrainError, Unavailable
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

THERE = "workspace/artifacts/tts/ann"


class Training:
    """A machine on which one more epoch is published at every look, and whose connection breaks at some file."""

    def __init__(self, breaks_at: int) -> None:
        self.content: dict[str, bytes] = {}
        self.epoch = 0
        self.left = breaks_at

    def publish(self) -> None:
        self.epoch += 1
        for name in ("weights.safetensors", "epoch.json"):
            self.content[f"{THERE}/epochs/epoch-{self.epoch:03d}/{name}"] = b"%d" % self.epoch
        self.content[f"{THERE}/state/state.pt"] = b"%d" % self.epoch
        self.content[f"{THERE}/status.json"] = json.dumps({"epoch": self.epoch}).encode()

    def files(self, under: Sequence[str], _timeout: float) -> dict[str, tuple[int, int]]:
        self.publish()
        found = {name: (len(data), 1_000_000 + self.epoch) for name, data in self.content.items()}
        return {name: facts for name, facts in found.items() if name.startswith(tuple(under))}

    def get(self, names: Sequence[str], take: Callable[[str, IO[bytes], int], None], _timeout: float) -> None:
        for name in names:
            if not self.left:
                raise Unreachable("the connection broke", hint="")
            self.left -= 1
            self.publish()
            take(name, io.BytesIO(self.content[name]), 1_000_000 + self.epoch)


@pytest.mark.parametrize("breaks_at", range(30))
def test_the_state_is_never_ahead_of_the_epochs(tmp_path: Path, breaks_at: int) -> None:
    run = RunFolder(tmp_path / "artifacts/tts/ann")
    machine: Any = Training(breaks_at)
    job = Job(machine, run, Workspace(tmp_path), Bundle({}, "c", {}), {}, keeps=False, left=lambda: 60.0)
    ended = False
    while not ended:
        try:
            for _ in range(2):
                job.fetch(state=True)
            ended = True
        except Unreachable:
            ended = True
    state = int(run.state.read_text()) if run.state.exists() else 0

    assert [path.name for path in run.path.glob("epochs/epoch-*")] == [
        path.parent.name for path in run.path.glob("epochs/epoch-*/epoch.json")
    ]
    assert {f"epoch-{number:03d}" for number in range(1, state + 1)} <= {
        path.name for path in run.path.glob("epochs/epoch-*")
    }
    assert breaks_at < 20 or state > 0


@pytest.mark.parametrize("name", ["../../../run.sh", "/etc/passwd", "epochs/../../x", "a\nb", ""])
def test_a_machine_cannot_write_outside_of_the_run(tmp_path: Path, name: str) -> None:
    machine: Any = Training(99)
    machine.publish = lambda: machine.content.update({f"{THERE}/{name}": b"x"})
    run = RunFolder(tmp_path / "artifacts/tts/ann")
    job = Job(machine, run, Workspace(tmp_path), Bundle({}, "c", {}), {}, keeps=False, left=lambda: 60.0)
    with contextlib.suppress(TtsTrainError):
        job.fetch(state=True)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", [{"host": "-oProxyCommand=x"}, {"username": "-l x"}, {"port": "22"}, {"host": "a b"}])
def test_an_address_cannot_be_an_option_of_ssh(place: dict[str, Any]) -> None:
    rental: Any = None
    with pytest.raises(Unavailable):
        machine_of({"ssh": {"direct": {"host": "h", "port": 22, "username": "root", **place}}}, rental, "r")
    known = machine_of({"ssh": {"direct": {"host": "1.2.3.4", "port": 22, "username": "root"}}}, rental, "r")
    assert isinstance(known, Machine)
    assert machine_of({"ssh": {"direct": None}}, rental, "r") is None

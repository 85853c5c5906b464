"""One training or rendering a GPU. There is no GPU here: cards have made-up names, processes and locks are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from finished_run import CONSTANT, config_of, make_run, workspace_in
from tts_train.errors import Busy, Unavailable
from tts_train.files import write_json
from tts_train.probe import render
from tts_train.training import gpus
from tts_train.training.compute import Compute
from tts_train.training.gpus import gpu_held, share_gpu_option
from tts_train.training.launch import run_ranks
from tts_train.training.ranks import Ranks
from tts_train.work import speak, train
from tts_train.workspace import Workspace, skill_root

OTHER = """
import json, subprocess, sys, time
from contextlib import ExitStack
from pathlib import Path
from tts_train.errors import Busy
from tts_train.training import gpus
gpus.gpu_name = lambda index: f"GPU-fake-{index}"
device, index, run, then = json.loads(sys.argv[1])
try:
    with gpus.gpu_held(device, index, run=Path(run) if run else None):
        print("held", flush=True)
        if then == "wait":
            time.sleep(60)
        if then == "child":
            again = json.dumps([device, index, None, ""])
            child = subprocess.run([sys.executable, "-c", sys.argv[2], again, ""], stdout=subprocess.PIPE, text=True)
            print(child.stdout)
except Busy as busy:
    print(json.dumps({"busy": busy.message, "hint": busy.hint, "code": busy.exit_code}), flush=True)
"""


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up cards, and a folder of locks that is this test's own."""
    monkeypatch.setenv(gpus.FOLDER, str(tmp_path / "locks"))
    monkeypatch.delenv(gpus.SHARE, raising=False)
    monkeypatch.setattr(gpus, "gpu_name", lambda index: f"GPU-fake-{index}")
    return tmp_path / "locks"


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start another process that takes a GPU and, with `then`, holds it or starts a child that takes it, too."""
    started: list[subprocess.Popen[str]] = []

    def start(index: int = 0, run: Path | None = None, then: str = "", **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src"), **variables}
        order = json.dumps(["cuda", index, str(run) if run else None, then])
        command = [sys.executable, "-c", OTHER, order, OTHER]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def held(start: Start) -> subprocess.Popen[str]:
    """Another process that computes on GPU 0."""
    process = start(then="wait")
    assert line(process) == "held"
    return process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_start_is_told_who_computes_there(tmp_path: Path, start: Start) -> None:
    run = tmp_path / "ann-qwen3"
    first = start(run=run, then="wait")
    assert line(first) == "held"
    write_json(run / "status.json", {"heartbeat_at": "2999-01-02T03:04:05+00:00"})
    said = json.loads(line(start()))
    assert said["code"] == 75
    for part in ("GPU GPU-fake-0 is in use by", "of run ann-qwen3", f"pid {first.pid} on {os.uname().nodename}"):
        assert part in said["busy"]
    assert "last heartbeat 2999-01-02T03:04:05" in said["busy"]
    assert f"kill {first.pid}" in said["hint"]
    assert "--share-gpu" in said["hint"]


def test_another_card_is_free_and_a_cpu_takes_no_lock(cards: Path, start: Start) -> None:
    with gpu_held("cpu"), gpu_held("mps"):
        assert not cards.exists()
    with gpu_held("cuda", 0):
        assert line(start(1)) == "held"


def test_a_killed_holder_holds_nothing(held: subprocess.Popen[str]) -> None:
    with pytest.raises(Busy), gpu_held("cuda"):
        pass
    held.send_signal(signal.SIGKILL)
    held.wait()
    with gpu_held("cuda"):
        pass


def test_what_the_holder_starts_itself_may_compute_there(start: Start) -> None:
    assert start(then="child").communicate(timeout=30)[0].split() == ["held", "held"]
    with gpu_held("cuda"), gpu_held("cuda"):
        pass


def test_sharing_is_allowed_to_whoever_asks(held: subprocess.Popen[str], start: Start) -> None:
    assert line(start(**{gpus.SHARE: "1"})) == "held"
    held.kill()
    held.wait()
    first, second = (start(then="wait", **{gpus.SHARE: "1"}) for _ in range(2))
    assert (line(first), line(second)) == ("held", "held")
    assert "in use by another process" in json.loads(line(start()))["busy"]


def test_the_option_reaches_what_the_command_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SHARE, "")  # so that it is taken back

    @click.command()
    @share_gpu_option
    def command() -> None:
        click.echo(os.environ.get(gpus.SHARE))

    assert CliRunner().invoke(command, []).output.strip() == ""
    assert CliRunner().invoke(command, ["--share-gpu"]).output.strip() == "1"


@pytest.mark.parametrize("command", ["train_local", "train_qwen3", "probe", "infer"])
def test_every_command_that_computes_on_a_gpu_has_it(command: str) -> None:
    assert "@share_gpu_option" in (skill_root() / "scripts" / f"{command}.py").read_text()


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpus.FOLDER)
    folder = Path("/tmp") / f"tts-train-{os.getuid()}"
    there = folder.exists()
    assert gpus.lock_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    mode = folder.stat().st_mode
    folder.chmod(0o777)
    try:
        with pytest.raises(Unavailable, match="you alone"):
            gpus.lock_folder()
    finally:
        folder.chmod(mode)
        if not there:
            folder.rmdir()
    stranger = Path("/tmp/tts-train-4000000")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    try:
        with pytest.raises(Unavailable):
            gpus.lock_folder()
    finally:
        stranger.rmdir()


NAMES = [
    ({"uuid": "8a3f"}, None, 0, "GPU-8a3f"),
    ({"uuid": "8a3f"}, "3,1", 0, "GPU-8a3f"),
    ({}, None, 1, "index-1"),
    ({}, "3,1", 0, "index-3"),
    ({}, "", 0, "index-0"),
]


@pytest.mark.parametrize(("properties", "visible", "index", "name"), NAMES)
def test_a_card_is_named_the_same_by_every_process(
    monkeypatch: pytest.MonkeyPatch, properties: dict[str, str], visible: str | None, index: int, name: str
) -> None:
    cuda = SimpleNamespace(device_count=lambda: 2, get_device_properties=lambda _index: SimpleNamespace(**properties))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.gpu_name(index) == name
    assert gpus.gpu_name(2) is None


@pytest.fixture
def on_gpu(tmp_path: Path) -> Workspace:
    """A workspace with a finished run that was trained on a GPU."""
    workspace = workspace_in(tmp_path)
    run = make_run(workspace, "demo", CONSTANT, epochs=1, measured=False)
    write_json(run.path / "run.json", {**run.info(), "compute": {"device": "cuda"}})
    return workspace


def test_rendering_takes_the_gpu_only_when_there_is_something_to_render(
    on_gpu: Workspace, held: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = str(on_gpu.path("configs/probes/small.yaml"))
    with pytest.raises(Busy, match="GPU-fake-0"):
        render.render_run(str(on_gpu.root), "demo", probe, [1])
    monkeypatch.setattr(render, "is_current", lambda *_: True)
    assert render.render_run(str(on_gpu.root), "demo", probe, [1])["epochs"][0]["rendered"] == 0


def test_speaking_takes_the_gpu(on_gpu: Workspace, held: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(Busy, match="GPU-fake-0"):
        speak.speak(str(on_gpu.root), "demo", 1, "Hello.", str(tmp_path / "a.wav"), 0, {})


@pytest.mark.parametrize(("rank", "busy"), [(0, True), (1, False)])
def test_a_rank_takes_its_own_gpu_before_anything_is_written(
    tmp_path: Path, held: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, rank: int, busy: bool
) -> None:
    @contextmanager
    def joined(_config: Any) -> Iterator[Ranks]:
        yield Ranks(rank, 1)  # of one: no messages between ranks

    class Loading(Exception):
        pass

    def load(_name: str) -> None:
        raise Loading

    workspace = workspace_in(tmp_path / "w")
    monkeypatch.setattr(train, "joined", joined)
    monkeypatch.setattr(train, "resolve", lambda _config: Compute("cuda", "bfloat16", 1))
    monkeypatch.setattr(train, "backend", load)
    config = config_of("demo", CONSTANT.changes).frozen()
    with pytest.raises(Busy if busy else Loading):
        train.train_rank(config, str(workspace.root), probe=False)
    assert not (workspace.runs / "demo").exists()


def test_several_ranks_take_a_gpu_each_and_all_end_when_one_is_taken(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = (skill_root() / "src", Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    assert run_ranks("gpu_ranks:take", {}, 2, grace_seconds=5) == {"rank": 0}
    assert line(start(1, then="wait")) == "held"
    with pytest.raises(Busy, match="rank 1 of 2: GPU GPU-fake-1 is in use by") as busy:
        run_ranks("gpu_ranks:take", {}, 2, grace_seconds=5)
    assert busy.value.exit_code == 75

"""The Ray engine on two local nodes: what the pool gives, also when a node, a worker or the command is killed.

Both nodes are this machine, each with one CPU; "Raylet … killed" on stderr is Ray's own word for what the tests do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine_work
from tts_train.align import align_manifest
from tts_train.align import manifest as align
from tts_train.audio import Audio, write_audio
from tts_train.backends.qwen3.convert import convert
from tts_train.engine import engine
from tts_train.engine.cluster import Cluster
from tts_train.errors import EnvironmentMissing, InputUnusable, TtsTrainError, Unavailable
from tts_train.files import owned
from tts_train.ingest import batches
from tts_train.ingest.book import ingest_book
from tts_train.ingest.transcript import ingest_transcript

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "datasets/demo"
ALIGN = ROOT / ".agent/skills/tts-train/scripts/align.py"
Readings = dict[str, tuple[Audio, str]]


class Nodes:
    """A cluster of nodes with one CPU each; the first stays, the second may be lost."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as LocalCluster

        self._size = {"num_cpus": 1, "object_store_memory": 100_000_000}
        self.cluster = LocalCluster(True, head_node_args={**self._size, "include_dashboard": False})
        self.second: Any = None

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def whole(self) -> None:
        """Two nodes again."""
        if self.second is None:
            self.second = self.cluster.add_node(**self._size)

    def lose_second(self) -> None:
        """Its processes are killed, the workers with a piece in hand among them."""
        lost, self.second = self.second, None
        self.cluster.remove_node(lost, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]))
        made = Nodes()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.cluster.shutdown()


@pytest.fixture(autouse=True)
def two(nodes: Nodes) -> Nodes:
    nodes.whole()
    return nodes


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Cluster]:
    with owned(tmp_path), engine(where="ray", shared=tmp_path) as made:
        assert isinstance(made, Cluster)
        yield made


def soon(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def meanwhile(condition: Callable[[], Any], then: Callable[[], None]) -> threading.Thread:
    def wait_and_act() -> None:
        soon(condition)
        then()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


# --- the seam


def test_results_come_in_order_from_both_nodes_and_a_bounded_number_is_on_the_way(run: Cluster, tmp_path: Path) -> None:
    unfinished: list[int] = []

    def pieces() -> Iterator[str]:
        for number in range(8):
            unfinished.append(number + 1 - len(list(tmp_path.glob("mark-*"))))
            yield str(tmp_path / f"mark-{number}")

    places = list(run.map(partial(engine_work.leave_mark_slowly, 0.5), pieces()))
    assert run.jobs == 2
    assert [place for place, _ in places] == [str(tmp_path / f"mark-{number}") for number in range(8)]
    assert len({pid for _, pid in places}) == 2
    assert max(unfinished) <= run.jobs + 1
    assert run.peak_rss_mib() > 3 * 20
    assert list(run.map(engine_work.slow_square, range(8))) == [number**2 for number in range(8)]


def test_an_exception_comes_with_its_kind_its_hint_and_the_name_of_the_piece(run: Cluster) -> None:
    run.describe = lambda number: f"piece '{number}'"
    with pytest.raises(InputUnusable, match="piece '3': piece three") as caught:
        list(run.map(engine_work.refuse, range(100)))
    assert (caught.value.hint, caught.value.exit_code) == ("leave it out", 65)
    with pytest.raises(TtsTrainError, match="Odd: 1 and 2"):
        list(run.map(engine_work.break_oddly, range(2)))


def test_a_piece_in_the_hands_of_a_lost_node_is_worked_by_another(run: Cluster, two: Nodes, tmp_path: Path) -> None:
    pieces = [str(tmp_path / f"mark-{number}") for number in range(5)]
    begun = tmp_path / "begun"
    killer = meanwhile(lambda: begun.is_file() and len(begun.read_text().splitlines()) >= 4, two.lose_second)
    # A worker sees within a second that its node is gone: it must not be done before.
    places = list(run.map(partial(engine_work.leave_mark_slowly, 2.5), pieces))
    killer.join()

    assert [place for place, _ in places] == pieces
    tries = begun.read_text().splitlines()
    assert set(tries) == set(pieces)
    assert len(tries) == len(pieces) + 1, "the lost node had nothing in hand"


def test_a_worker_that_dies_once_costs_nothing_and_one_that_always_dies_is_named(run: Cluster, tmp_path: Path) -> None:
    assert list(run.map(partial(engine_work.die_once, str(tmp_path)), range(4))) == [0, 1, 2, 3]
    with pytest.raises(TtsTrainError, match="gave piece 3 up after 4 attempts") as caught:
        list(run.map(engine_work.die, range(5)))
    assert "--jobs" in caught.value.hint


def test_what_is_in_hand_when_work_is_left_is_not_cancelled(run: Cluster, tmp_path: Path) -> None:
    """One time in some dozens ray.cancel(force=True) aborts the process that calls it (Ray 2.60.0)."""
    pieces = [str(tmp_path / f"mark-{number}") for number in range(6)]
    results = run.map(partial(engine_work.leave_mark_slowly, 0.5), pieces)
    assert next(results)[0] == pieces[0]
    results.close()
    soon(lambda: Path(pieces[run.jobs]).exists(), 10)
    assert not Path(pieces[run.jobs + 1]).exists()


def test_a_node_that_sees_another_folder_or_has_other_code_does_not_work(run: Cluster) -> None:
    terms = run.terms
    run.terms = replace(terms, holder={**terms.holder, "since": "yesterday"}, patience=0.5)
    with pytest.raises(InputUnusable, match=r"does not see .* as .* does") as caught:
        list(run.map(engine_work.refuse, range(2)))
    assert "shared file system" in caught.value.hint
    run.terms = replace(terms, code="of last week")
    with pytest.raises(EnvironmentMissing, match="another version") as caught_code:
        list(run.map(engine_work.refuse, range(2)))
    assert caught_code.value.exit_code == 3
    run.terms = replace(terms, cwd=Path("/nowhere/to/be/found"))
    with pytest.raises(InputUnusable, match="/nowhere/to/be/found"):
        list(run.map(engine_work.refuse, range(2)))


def test_what_no_node_has_room_for_is_said_and_not_waited_for_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with owned(tmp_path), engine(where="ray", shared=tmp_path, threads=2, gpus=1) as run:
        assert run.jobs == 1
    assert "no node of the Ray cluster has 2 CPUs and 1 GPUs" in capfd.readouterr().err


def test_without_a_cluster_it_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    unknown = pytest.raises(Unavailable, match=r"no Ray cluster at '127\.0\.0\.1:1': .*refused")
    with unknown as caught, owned(tmp_path), engine(where="ray", shared=tmp_path):
        pass
    assert "ray start --head" in caught.value.hint


def test_a_sigterm_while_ray_connects_ends_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as ray.init of 2.60.0 begins
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    ours = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught, owned(tmp_path), engine(where="ray", shared=tmp_path):
        pass
    assert caught.value.args == (signal.SIGTERM,)
    assert signal.getsignal(signal.SIGTERM) is ours


# --- the commands


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, readings: Readings) -> Path:
    folder = tmp_path_factory.mktemp("listed")
    rows = []
    for name, (audio, text) in sorted(readings.items())[:10]:
        write_audio(folder / f"clips/{name}.wav", audio)
        rows.append({"audio_file": f"{name}.wav", "text": text})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    """What a command promises to be the same; reports tell times."""
    kept = ("*.jsonl", "*.flac")
    return {str(path.relative_to(folder)): path.read_bytes() for name in kept for path in folder.rglob(name)}


def dataset(folder: Path, listed: Path, **where: Any) -> Path:
    ingest_transcript(listed / "clips", listed / "list.jsonl", folder, card=DEMO / "dataset.yaml", **where)
    return folder


def test_a_dataset_made_on_two_nodes_of_which_one_is_lost_is_the_pools(
    two: Nodes, listed: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_LINES", 2)
    monkeypatch.setattr(align, "PART_CLIPS", 1)
    pool = dataset(tmp_path / "pool/ann", listed, jobs=2)
    align_manifest(pool, jobs=2)
    convert(pool, tokenizer=str(tiny_base), workers=2)

    ray = dataset(tmp_path / "ray/ann", listed, where="ray")
    killer = meanwhile(lambda: len(list((ray / "parts").glob("align-*.json"))) >= 3, two.lose_second)
    align_manifest(ray, where="ray")
    killer.join()
    two.whole()
    killer = meanwhile(lambda: len(list((ray / "parts/qwen3-codes").glob("*.json"))) >= 2, two.lose_second)
    convert(ray, tokenizer=str(tiny_base), where="ray")
    killer.join()

    made = everything(ray)
    assert {"train_manifest.jsonl", "train_aligned.jsonl", "train_manifest_qwen3.jsonl"} < made.keys()
    assert made == everything(pool)


def test_a_book_made_on_two_nodes_is_the_one_made_here(tmp_path: Path) -> None:
    lines = [
        json.dumps({"start": 4.0 * at, "end": 4.0 * at + 3.5, "text": f"what line {at} of the book says, more or less"})
        for at in range(8)
    ]
    (tmp_path / "segments.jsonl").write_text("\n".join(lines) + "\n")
    for name, where in (("here", "here"), ("ray", "ray")):
        ingest_book(
            DEMO / "book.m4b",
            "demo",
            tmp_path / name,
            card=DEMO / "dataset.yaml",
            segments=tmp_path / "segments.jsonl",
            max_rejected=1.0,
            where=where,
        )
    assert len(everything(tmp_path / "ray")) > 8
    assert everything(tmp_path / "ray") == everything(tmp_path / "here")


def test_sigterm_is_143_and_the_same_command_goes_on(listed: Path, tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data", listed)
    shutil.copytree(folder, tmp_path / "same")
    align_manifest(tmp_path / "same")
    # From a file of its own, so that the parts are small there, too.
    small = "import sys; from tts_train.align import manifest; manifest.PART_CLIPS = 1; sys.argv = sys.argv[1:]; "
    small += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-P", "-c", small, str(ALIGN), str(folder), "--engine", "ray"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        soon(lambda: list((folder / "parts").glob("align-*.json")))
        running.send_signal(signal.SIGTERM)
        answer, _ = running.communicate(timeout=60)
    assert running.returncode == 143
    assert json.loads(answer)["error"]["kind"] == "stopped"
    assert not (folder / "train_aligned.jsonl").exists()

    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout)["ok"]
    assert (folder / "train_aligned.jsonl").read_bytes() == (tmp_path / "same/train_aligned.jsonl").read_bytes()

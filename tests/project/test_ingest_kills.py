"""SIGKILL at I/O calls of an ingest, then the same again: the same dataset, byte by byte, nothing torn or left."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import disk_faults
import kills
from system_calls import unsynced
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.ingest.book import ingest_book
from tts_train.ingest.options import IngestOptions
from tts_train.ingest.screen.options import Filter, ScreenOptions
from tts_train.ingest.speech import RATE, SpeechOptions, speech_probabilities, speech_spans

pytestmark = pytest.mark.faults

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
SECONDS = 12.0


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the demo book, and a text for each stretch of speech."""
    folder = tmp_path_factory.mktemp("shelf")
    whole = read_audio(DEMO / "book.m4b")
    audio = Audio(whole.samples[: round(SECONDS * whole.rate)], whole.rate)
    write_audio(folder / "book.flac", audio)
    probabilities, seconds = speech_probabilities([audio.at(RATE).samples])
    rows = [
        {"start": span.start, "end": span.end, "text": f"Text {index}."}
        for index, span in enumerate(speech_spans(probabilities, seconds, [], SpeechOptions()))
    ]
    (folder / "segments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build(shelf: Path, out: Path, jobs: int = 1) -> None:
    ingest_book(
        shelf / "book.flac",
        "kumo",
        out,
        card=DEMO / "dataset.yaml",
        segments=shelf / "segments.jsonl",
        options=IngestOptions(part_seconds=4.0),
        screening=ScreenOptions((Filter("duration", 0.8, 15.0),)),
        threads=1,
        jobs=jobs,
        max_rejected=1.0,
    )


def test_an_ingest_killed_at_any_io_call_ends_with_the_same_dataset(shelf: Path, tmp_path: Path) -> None:
    kills.sweep("ingest", lambda out: build(shelf, out), kills.everything, tmp_path, at_random=20, coarser=2, warm=True)
    assert len(list((tmp_path / "whole").rglob("*.*"))) > 12


def test_an_ingest_on_a_full_disk_is_told_and_can_be_run_again(shelf: Path, tmp_path: Path) -> None:
    """And nothing gets its final name before it is flushed."""
    seen = disk_faults.sweep(
        "ingest",
        lambda out: build(shelf, out),
        kills.everything,
        tmp_path,
        faults=["full", "short"],
        coarser=5,
        warm=True,
    )
    assert unsynced(seen.calls) == []
    assert {"train_manifest.jsonl", "rejections.jsonl"} <= {call.path for call in seen.calls if call.source}


# --- two processes


MOMENTS = kills.points(2, 17, 1 if kills.EXHAUSTIVE else 16)
"""So many files are there: workers are busy, idle, or not yet asked. A day has one of them."""


def test_a_killed_worker_ends_the_ingest_which_can_be_run_again(
    shelf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def victim(out: Path, pid: int, files: int) -> int | None:
        workers = _workers(pid) if _files(out) >= files else []
        return workers[-1] if workers else None

    def ended(status: int, _workers: set[int]) -> bool:
        told = capfd.readouterr().err
        return os.waitstatus_to_exitcode(status) == 0 or "a worker process died (SIGKILL)" in told

    _sweep_pool("ingest --jobs 2: a worker killed", shelf, tmp_path, victim, ended)


def test_workers_of_a_killed_ingest_end_and_it_can_be_run_again(shelf: Path, tmp_path: Path) -> None:
    def victim(out: Path, pid: int, files: int) -> int | None:
        return pid if _files(out) >= files and _workers(pid) else None

    def ended(status: int, workers: set[int]) -> bool:
        return os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL} and _gone(workers)

    _sweep_pool("ingest --jobs 2: the parent killed", shelf, tmp_path, victim, ended)


def _sweep_pool(
    stage: str,
    shelf: Path,
    folder: Path,
    victim: Callable[[Path, int, int], int | None],
    ended: Callable[[int, set[int]], bool],
) -> None:
    started = time.monotonic()
    build(shelf, folder / "whole/it")
    expected = kills.everything(folder / "whole/it")
    wrong, hit = [], set()
    for files in MOMENTS:
        out = folder / f"killed-{files}/it"
        workers: set[int] = set()

        def pick(pid: int, out: Path = out, files: int = files, workers: set[int] = workers) -> int | None:
            workers.update(_workers(pid))
            doomed = victim(out, pid, files)
            hit.update([files] if doomed else [])
            return doomed

        status = kills.killed_once(lambda out=out: build(shelf, out, jobs=2), pick)  # type: ignore[misc]
        if not ended(status, workers):
            wrong.append(f"{files} files: {status}")
        again, _ = kills.in_child(lambda out=out: build(shelf, out, jobs=2))  # type: ignore[misc]
        if again != 0 or kills.everything(out) != expected:
            wrong.append(f"{files} files: another dataset in {out}")
    kills.record(stage, len(hit), len(wrong), round(time.monotonic() - started, 1))
    assert len(hit) > 0.8 * len(MOMENTS), "it was too quick to be killed"
    assert not wrong


def _files(out: Path) -> int:
    return sum(path.is_file() for path in out.rglob("*"))


def _workers(pid: int) -> list[int]:
    """The engine's processes; multiprocessing has one more, which tracks what they share."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in _command(child)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _gone(pids: set[int]) -> bool:
    """Within ten seconds: they see the end of their parent's pipe."""
    return any(not any(_command(str(pid)) for pid in pids) or time.sleep(0.05) for _ in range(200))

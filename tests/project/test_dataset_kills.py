"""SIGKILL at I/O calls of every step that changes a dataset, then the same again: the same folder, byte by byte.

Nothing lost, doubled, torn or left behind. Each run is a fork of a process that has loaded what takes long.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import disk_faults
import kills
from system_calls import unsynced
from tts_train.align import AlignmentFailed, align_manifest, pocketsphinx
from tts_train.align import manifest as align
from tts_train.audio import Audio, write_audio
from tts_train.backends.qwen3 import convert as conversion
from tts_train.dataset_report import write_page
from tts_train.errors import Busy
from tts_train.files import owned
from tts_train.ingest import batches
from tts_train.ingest.screen import receipts
from tts_train.ingest.screen.again import screen_again
from tts_train.ingest.screen.options import Filter, ScreenOptions
from tts_train.ingest.take_back import list_rejections, take_back
from tts_train.ingest.transcript import ingest_transcript
from tts_train.quality import ge2e

pytestmark = pytest.mark.faults

CARD = Path(__file__).resolve().parents[2] / "datasets/demo/dataset.yaml"
Readings = dict[str, tuple[Audio, str]]
TEXTS = {"bus": "bus", "hat": "hat", "hens": "hens", "park": "hook"}
"""Reading → reading whose text it gets: one is wrong, so that align has something to reject."""


@pytest.fixture(scope="module", autouse=True)
def small_and_quick() -> Any:
    """Several receipts for the few clips there are; what a model says of a sound is asked once: the disk is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_LINES", 2)
        patch.setattr(align, "PART_CLIPS", 2)
        patch.setattr(receipts, "PIECE", 2)
        patch.setattr(ge2e, "_encode", remembered(ge2e._encode, lambda pieces: pieces.tobytes()))
        patch.setattr(
            pocketsphinx, "align", remembered(pocketsphinx.align, lambda audio, text: (audio.samples.tobytes(), text))
        )
        yield


def remembered(work: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
    known: dict[object, Any] = {}

    def answer(*given: Any) -> Any:
        name = key(*given)
        if name not in known:
            try:
                known[name] = work(*given)
            except AlignmentFailed as failed:
                known[name] = failed
        if isinstance(known[name], AlignmentFailed):
            raise known[name]
        return known[name]

    return answer


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, readings: Readings) -> Path:
    """A list of four readings, of which one is there twice, and of two lines that are no clips."""
    folder = tmp_path_factory.mktemp("listed")
    for name in TEXTS:
        write_audio(folder / f"clips/{name}.wav", readings[name][0])
    write_audio(folder / "clips/hat-again.wav", readings["hat"][0])
    rows = [{"audio_file": f"{name}.wav", "text": readings[text][1]} for name, text in TEXTS.items()]
    rows += [{"audio_file": "hat-again.wav", "text": readings["hat"][1]}, {"audio_file": "gone.wav", "text": "Gone."}]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "this is no line\n")
    return folder


def ingest(listed: Path, out: Path) -> None:
    ingest_transcript(
        listed / "clips",
        listed / "list.jsonl",
        out,
        voice="kumo",
        card=CARD,
        screening=ScreenOptions((Filter("duration", 1.0, 20.0), Filter("duplicate", None, 0.94)), station="transcript"),
        max_rejected=1.0,
    )


@pytest.fixture(scope="module")
def dataset(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Makes a copy of the dataset of that list: four clips, three rejections."""
    made = tmp_path_factory.mktemp("made") / "kumo"
    ingest(listed, made)
    return lambda place: shutil.copytree(made, place) and None


@pytest.mark.usefixtures("dataset")  # has loaded everything
def test_ingest_transcript(listed: Path, tmp_path: Path) -> None:
    kills.sweep(
        "ingest-transcript", lambda out: ingest(listed, out), kills.everything, tmp_path, at_random=20, coarser=2
    )


def test_ingest_transcript_on_a_full_disk(listed: Path, tmp_path: Path) -> None:
    seen = disk_faults.sweep(
        "ingest-transcript",
        lambda out: ingest(listed, out),
        kills.everything,
        tmp_path,
        faults=["full", "short"],
        coarser=5,
        warm=True,
    )
    assert unsynced(seen.calls) == []


def test_two_ingests_into_one_folder(listed: Path, tmp_path: Path) -> None:
    """The second is refused and changes nothing; when the first is gone it does the work."""
    out = tmp_path / "kumo"
    with owned(out), pytest.raises(Busy) as caught:
        ingest(listed, out)
    assert caught.value.exit_code == 75
    assert kills.everything(out) == {}
    ingest(listed, out)
    assert (out / "train_manifest.jsonl").is_file()


def test_screen(dataset: Callable[[Path], None], tmp_path: Path) -> None:
    def work(out: Path) -> None:
        screen_again(out, filters=["snr:25:", "duplicate:0.5:"], max_rejected=1.0)

    kills.sweep("screen", work, kills.everything, tmp_path, prepare=dataset, at_random=20, warm=True)


def test_align(dataset: Callable[[Path], None], tmp_path: Path) -> None:
    def work(out: Path) -> None:
        align_manifest(out, max_rejected=1.0)
        write_page(out)

    kills.sweep("align", work, kills.everything, tmp_path, prepare=dataset, at_random=20, warm=True)


def test_taking_rejections_back(dataset: Callable[[Path], None], tmp_path: Path) -> None:
    def prepare(out: Path) -> None:
        dataset(out)
        assert list_rejections(out)["reasons"]["duplicate"] == 1

    def work(out: Path) -> None:
        take_back(out, ["hat-again"])

    kills.sweep("rejections restore", work, kills.everything, tmp_path, prepare=prepare, at_random=20)


def test_convert_qwen3(dataset: Callable[[Path], None], tiny_base: Path, tmp_path: Path) -> None:
    def work(out: Path) -> None:
        conversion.convert(out, tokenizer=str(tiny_base), workers=1)

    kills.sweep("convert-qwen3", work, _without_seconds, tmp_path, prepare=dataset, at_random=20, coarser=2, warm=True)


def _without_seconds(out: Path) -> dict[str, Any]:
    """Receipts of clips tell how long the encoding took, for the estimate of the next conversion."""
    files: dict[str, Any] = dict(kills.everything(out))
    for name in [name for name in files if name.startswith("parts/qwen3-codes/")]:
        files[name] = {**json.loads(files[name]), "encode_seconds": 0}
    return files

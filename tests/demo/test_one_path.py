"""One path for every family: a tiny XTTS, a tiny Qwen3-TTS and piper are trained by one command and probed by another.

What differs is in their records' values, never in the shape: same files, same fields, same things to listen to. The two
tiny bases have random weights and speak noise until they may no more; piper is the real one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import wave
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kills
from humming_server import ask
from run_tiers import in_environment
from tts_train.files import read_json
from tts_train.probe.material import Stimulus, stimuli
from tts_train.training.run import RunFolder

pytestmark = kills.every_other_day(0)

ROOT = Path(__file__).parents[2]
HELDOUT = ROOT / "datasets/demo/heldout"

SEEDS = {"piper": [0], "qwen3": [0, 1], "xtts": [0, 1]}
FAMILIES = list(SEEDS)
CLIPS = {
    "bus": "The school bus got stuck.",
    "hat": "He had a black hat.",
    "pairs-dog": "The old dog stood.",
    "pairs-golf": "Look, he has put it.",
}
CLIP_SECONDS = 2.4
PROBE = """\
name: two
language: en
items: [{id: good, text: Good.}, {id: luck, text: Luck.}]
markers: [{set: FOOT, words: [good]}, {set: STRUT, words: [luck]}]
contrasts: [{name: foot_strut, sets: [FOOT, STRUT], expected: smaller}]
"""
ITEMS = ["good", "luck"]
READ = "luck"
"""The item that the target speaker reads, too."""

PREPARE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
import tiny_xtts
from tts_train.audio import Audio, read_audio, write_audio
tiny_xtts.build(Path("bases/xtts"), max_audio_tokens=60, dvae="true", decoder="true")
for name in sys.argv[1:]:
    audio = read_audio(Path({str(HELDOUT)!r}) / f"{{name}}.flac")
    cut = Audio(audio.samples[: int({CLIP_SECONDS} * audio.rate)], audio.rate)
    write_audio(Path(f"datasets/train/{{name}}.wav"), cut)
"""
PREPARE_QWEN3 = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
import tiny_qwen3
tiny_qwen3.build(Path("bases/qwen3"))
"""


@dataclass(frozen=True)
class Probed:
    """What `probe` said of a family's run, what it says it would do next, and what is on disk."""

    answer: Mapping[str, Any]
    left: Mapping[str, Any]
    run: RunFolder

    @property
    def stimuli(self) -> list[Stimulus]:
        return stimuli(self.run, self.answer["key"])

    def note(self, file: str) -> dict[str, Any]:
        note: dict[str, Any] = read_json(self.run.path / "renders" / self.answer["key"] / file)
        return note


def run_sh(*arguments: str | Path) -> dict[str, Any]:
    finished = subprocess.run([ROOT / "run.sh", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    answer = json.loads(finished.stdout)
    assert finished.returncode == 0, answer
    result: dict[str, Any] = answer["result"]
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a probe and four short clips of real speech."""
    place = tmp_path_factory.mktemp("one-path")
    for folder in ("configs/tts", "configs/probes", "datasets/train", "datasets/target"):
        (place / folder).mkdir(parents=True)
    (place / "configs/probes/two.yaml").write_text(PROBE)
    shutil.copy(HELDOUT.parent / "dataset.yaml", place / "datasets/train")
    _write_manifest(place / "datasets/train", CLIPS, CLIP_SECONDS)
    return place


@pytest.fixture(scope="module")
def probed(place: Path) -> dict[str, Probed]:
    """Every family, two at a time. The packaged voice stands in for the target speaker, who reads one item."""
    subprocess.run(in_environment("skill", "-c", PREPARE, *CLIPS), cwd=place, check=True)
    _train(place, "piper", "packaged")
    run_sh("infer", "piper", place / "datasets/target/luck.wav", "--text", "Luck.", "--workspace", place)
    _write_manifest(place / "datasets/target", {READ: "Luck."}, 1.0)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FAMILIES, pool.map(lambda family: _probed(place, family), FAMILIES), strict=True))


def _probed(place: Path, family: str) -> Probed:
    if family == "qwen3":
        _code(place)
        _train(place, family, "bases/qwen3", "coded.jsonl")
    if family == "xtts":
        _train(place, family, "bases/xtts")
    command = ("probe", family, "--target", place / "datasets/target/train_manifest.jsonl", "--workspace", place)
    answer, left = run_sh(*command), run_sh(*command, "--dry-run")
    return Probed(answer, left, RunFolder(place / "artifacts/tts" / family))


def _code(place: Path) -> None:
    subprocess.run(in_environment("project", "-c", PREPARE_QWEN3), cwd=place, check=True)
    data = place / "datasets/train"
    options = ("--tokenizer", place / "bases/qwen3", "--ref", data / "hat.wav", "--workers", "1")
    run_sh("convert-qwen3", data / "train_manifest.jsonl", data / "coded.jsonl", *options)


def _train(place: Path, family: str, base: str, manifest: str = "train_manifest.jsonl") -> None:
    probe = {"file": "configs/probes/two.yaml", "when": "never"}
    settings = {"epochs": 1, "batch_size": 2, "lr": 1e-5, "threads": 1, "schedule": {"warmup_steps": 0}}
    config = {"voice": "v", "run": family, "backend": family, "base": base, "dataset": f"datasets/train/{manifest}"}
    if family == "xtts":
        config["xtts"] = {"reference": str(HELDOUT / "hat.flac")}  # it wants 4 s
    path = place / f"configs/tts/{family}.yaml"
    path.write_text(json.dumps({**config, **settings, "probe": probe}))
    run_sh("train-local", path, "--workspace", place)


def _write_manifest(folder: Path, texts: Mapping[str, str], seconds: float) -> None:
    rows = [{"id": name, "audio_file": f"{name}.wav", "text": text} for name, text in texts.items()]
    more = {"speaker": "kumo", "language": "en", "audio_seconds": seconds}
    (folder / "train_manifest.jsonl").write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows))


def _fields(objects: Iterable[Mapping[str, Any] | None]) -> set[frozenset[str]]:
    """The fields that these objects have: one set of them when all are alike."""
    return {frozenset(fields or ()) for fields in objects}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_rendered_and_measured_with_the_family_s_seeds(probed: dict[str, Probed], family: str) -> None:
    made = probed[family]
    assert made.answer["seeds"] == SEEDS[family]
    assert [row["epoch"] for row in made.answer["epochs"]] == [0, 1]
    readings = [(item, seed) for item in ITEMS for seed in SEEDS[family]]
    for epoch in ("epoch-000", "epoch-001"):
        for note in ("render.json", "measures.json"):
            assert [(item["id"], item["seed"]) for item in made.note(f"{epoch}/{note}")["items"]] == readings
    hashes = [item["sha256"] for item in made.note("epoch-001/render.json")["items"]]
    assert len(set(hashes)) == len(hashes), "another seed is another reading"


@pytest.mark.parametrize("family", ["qwen3", "xtts"])
@pytest.mark.parametrize(
    "file", ["epoch-001/render.json", "epoch-001/measures.json", "target/measures.json", "anchor/anchor.json"]
)
def test_records_have_the_shape_of_piper_s(probed: dict[str, Probed], family: str, file: str) -> None:
    ours, theirs = (probed[name].note(file) for name in (family, "piper"))
    assert ours.keys() == theirs.keys()
    assert _fields(ours["items"]) == _fields(theirs["items"])
    for part in ("matched", "pictures"):
        assert _fields(item.get(part) for item in ours["items"]) == _fields(item.get(part) for item in theirs["items"])
    if "gates" in theirs:
        assert [gate["name"] for gate in ours["gates"]] == [gate["name"] for gate in theirs["gates"]]
        assert ours["contrasts"].keys() == theirs["contrasts"].keys()
    rows = [probed[name].answer["epochs"] for name in (family, "piper")]
    assert _fields(rows[0]) == _fields(rows[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_can_be_played_equally_loud_in_one_format(probed: dict[str, Probed], family: str) -> None:
    made = probed[family]
    spoken = [(item, seed) for item in ITEMS for seed in SEEDS[family]]
    expected = [("anchor", item, 0) for item in ITEMS]
    expected += [(epoch, *reading) for epoch in ("epoch-000", "epoch-001") for reading in spoken]
    expected += [("target", READ, 0)]
    assert [(it.source, it.item, it.seed) for it in made.stimuli] == expected
    for it in made.stimuli:
        with wave.open(str(it.path)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
            assert it.audio_seconds == pytest.approx(sound.getnframes() / 24000, abs=1e-3)
    for item in made.note("epoch-001/measures.json")["items"]:
        copy = item["matched"]
        assert copy["loudness_lufs"] == pytest.approx(-23.0, abs=0.1) or copy["peak_limited"]
        assert copy["true_peak_dbtp"] <= -0.95
    anchor = {item["id"]: item["made_from"] for item in made.note("anchor/anchor.json")["items"]}
    assert anchor == {"good": "base", READ: "target"}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_to_do_and_nothing_is_stale(probed: dict[str, Probed], family: str) -> None:
    left = probed[family].left
    assert left["key"] == probed[family].answer["key"]
    assert left["render"] == left["stale"] == probed[family].answer["stale"] == []


def test_one_server_says_what_was_rendered_for_every_family(probed: dict[str, Probed], place: Path) -> None:
    """Byte for byte, with two environments behind one address."""
    voices = [f"{family}:1" for family in FAMILIES]
    command = [ROOT / "run.sh", "serve", *voices, "--port", "0", "--workspace", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            told = json.loads(server.stdout.readline())
            assert told["ok"], told
            for family in FAMILIES:
                rendered = probed[family].note("epoch-001/render.json")["items"]
                item = next(item for item in rendered if (item["id"], item["seed"]) == (READ, SEEDS[family][-1]))
                wanted = {"voice": f"{family}:1", "input": "Luck.", "seed": item["seed"], "response_format": "wav"}
                status, _, body = ask(told["result"]["url"], "POST", "/v1/audio/speech", wanted)
                assert status == 200, body
                assert hashlib.sha256(body).hexdigest() == item["sha256"], family
        finally:
            server.terminate()
        assert server.wait(60) == 0

"""Measuring real speech: the target's own readings stand in for an epoch that has arrived, changed ones for others."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.audio import Audio, read_audio, write_audio
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError, InputUnusable
from tts_train.files import read_json, sha256_file, write_json, write_jsonl, write_synced
from tts_train.probe.keys import render_key, write_key
from tts_train.probe.material import stimuli
from tts_train.probe.measure import measure_run
from tts_train.probe.probe import load_probe
from tts_train.probe.readings import Instruments
from tts_train.probe.render import render_folder
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

HELDOUT = Path(__file__).parents[2] / "datasets/demo/heldout"
ITEMS = ("pairs-dog", "bus")
BASE, ARRIVED, GARBLED = 0, 1, 2
_GIVEN = ("matched", "not_matched", "pictures")
HIGHER = 1.25


@dataclass(frozen=True)
class Case:
    workspace: Workspace
    run: RunFolder
    probe: Path
    target: Path
    key: str

    def measure(self, epochs: list[int] | None = None, target: Path | None = None) -> dict[str, Any]:
        chosen = [ARRIVED, GARBLED] if epochs is None else epochs
        aim = str(target or self.target)
        return measure_run(str(self.workspace.root), "r", self.key, chosen, aim, str(self.probe))

    def record(self, epoch: int) -> dict[str, Any]:
        return read_json(render_folder(self.run, self.key, epoch) / "measures.json")


def _other_voice(audio: Audio) -> Audio:
    """The same words a quarter higher and faster: another vocal tract."""
    places = np.arange(0, len(audio.samples) - 1, HIGHER)
    return Audio(np.interp(places, np.arange(len(audio.samples)), audio.samples).astype(np.float32), audio.rate)


def _texts() -> dict[str, str]:
    shipped = load_probe(HELDOUT.parents[2] / "configs/probes/northern-english.yaml")
    return {name: shipped.texts[name] for name in ITEMS}


def _probe(texts: Mapping[str, str], more: str = "") -> str:
    items = "".join(f"  - {{id: {name}, text: {text!r}}}\n" for name, text in texts.items())
    return (
        f"name: small\nlanguage: en\nitems:\n{items}markers:\n"
        "  - {set: FOOT, words: [stood, could]}\n  - {set: STRUT, words: [bus, stuck]}\n"
        "  - {set: TRAP, words: [and], role: control}\n"
        f"contrasts: [{{name: foot_strut, sets: [FOOT, STRUT], expected: smaller}}]\n{more}"
    )


def _write_render(case: Case, epoch: int, speak: Callable[[str], Audio]) -> None:
    folder = render_folder(case.run, case.key, epoch)
    items = []
    for name in ITEMS:
        audio = speak(name)
        write_audio(folder / f"{name}.wav", audio)
        items.append(
            {
                "id": name,
                "seed": 0,
                "file": f"{name}.wav",
                "audio_seconds": audio.seconds,
                "rate": audio.rate,
                "stopped_by": "end",
                "sha256": sha256_file(folder / f"{name}.wav"),
            }
        )
    weights = case.run.epoch(epoch).weights_sha256
    write_json(folder / "render.json", {"epoch": epoch, "weights_sha256": weights, "items": items})


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp("workspace")
    workspace = Workspace(root)
    run = RunFolder(workspace.runs / "r")
    config = {"voice": "v", "run": "r", "backend": "piper", "dataset": "none", "epochs": 2, "lr": 1e-5, "threads": 1}
    run.start(TrainConfig.model_validate(config), {})
    for number in (ARRIVED, GARBLED):
        info = {"epoch": number, "step": number, "sum_lr": 0.0, "drift": 0.0}
        run.publish(number, lambda place: write_synced(place / "weights.safetensors", b"w"), info)
    probe = root / "probe.yaml"
    probe.write_text(_probe(_texts()), encoding="utf-8")
    key = render_key(load_probe(probe), backend("piper"), 1)
    write_key(run.path / "renders" / key.name, key)
    made = Case(workspace, run, probe, HELDOUT / "manifest.jsonl", key.name)
    clips = {name: read_audio(HELDOUT / f"{name}.flac") for name in ITEMS}
    swapped = dict(zip(ITEMS, reversed(ITEMS), strict=True))
    _write_render(made, BASE, lambda name: _other_voice(clips[name]).at(22050))
    _write_render(made, ARRIVED, lambda name: clips[name])
    _write_render(made, GARBLED, lambda name: clips[swapped[name]])
    return made


@pytest.fixture(scope="module")
def result(case: Case) -> dict[str, Any]:
    return case.measure()


def test_the_target_s_own_clips_measure_as_the_target(result: dict[str, Any]) -> None:
    target, arrived = result["target"], result["epochs"][ARRIVED]
    assert arrived["speaker_similarity"] == pytest.approx(target["speaker_similarity"], abs=0.002)
    assert 0.8 < arrived["speaker_similarity"] < 0.98, "its own clip of the same text is left out"
    assert arrived["mel_distance"] == pytest.approx(0, abs=0.02)
    assert arrived["wer"] == target["wer"] == arrived["target_wer"]
    assert arrived["duration_ratio"] == pytest.approx(1, abs=0.001)
    assert arrived["pace"] == pytest.approx(target["pace"], rel=0.01)
    assert all(gate["passed"] for gate in arrived["gates"])


def test_another_voice_is_further_away_in_every_measure(result: dict[str, Any]) -> None:
    base, arrived = result["epochs"][BASE], result["epochs"][ARRIVED]
    assert base["speaker_similarity"] < arrived["speaker_similarity"] - 0.1
    assert base["mel_distance"] > arrived["mel_distance"] + 1
    assert base["pace"] == pytest.approx(HIGHER * arrived["pace"], rel=0.06)
    assert base["duration_ratio"] == pytest.approx(1 / HIGHER, abs=0.01)


def test_formants_follow_the_vocal_tract(case: Case, result: dict[str, Any]) -> None:
    """Played faster, every formant rises by the same factor: a known answer for aligner, intervals and tracker."""
    assert result["epochs"][ARRIVED]["accent"]["engine"].startswith("praat 6.")
    vowels = {}
    for epoch in (BASE, ARRIVED):
        items = case.record(epoch)["items"]
        vowels[epoch] = {(item["id"], vowel["index"]): vowel for item in items for vowel in item["vowels"]}
    shared = sorted(set(vowels[BASE]) & set(vowels[ARRIVED]))
    assert len(shared) >= 3
    for formant in ("f1", "f2"):
        ratios = [vowels[BASE][place][formant][2] / vowels[ARRIVED][place][formant][2] for place in shared]
        assert np.median(ratios) == pytest.approx(HIGHER, abs=0.12), formant
    assert result["epochs"][ARRIVED]["contrasts"]["foot_strut"]["verdict"] == "not shown"


def test_wrong_words_are_named_and_fail_the_gate(result: dict[str, Any]) -> None:
    garbled = result["epochs"][GARBLED]
    assert garbled["wer"] > 0.5
    assert [gate["name"] for gate in garbled["gates"] if not gate["passed"]] == ["wer"]
    lost = {*garbled["words"]["dropped"], *(wanted for wanted, _ in garbled["words"]["mangled"])}
    assert {"dog", "bus"} <= lost


def test_what_is_measured_is_not_measured_again(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result["measured"] == ["target", "0", "1", "2"]
    monkeypatch.setattr(Instruments, "measure", None)
    again = case.measure()
    assert again["measured"] == []
    assert again["epochs"] == result["epochs"]


def test_another_run_s_base_and_target_are_not_measured_again(case: Case, result: dict[str, Any]) -> None:
    """The base speaks the same bytes in every run; its epochs do not."""
    sibling = case.run.path.with_name("r2")
    shutil.copytree(case.run.path, sibling)
    for measures in sibling.rglob("measures.json"):
        measures.unlink()
    try:
        second = replace(case, run=RunFolder(sibling))
        measured = measure_run(str(case.workspace.root), "r2", case.key, [ARRIVED], str(case.target), str(case.probe))
        assert measured["measured"] == ["1"]
        assert measured["epochs"] == result["epochs"][:2]
        assert second.record(BASE) == case.record(BASE)
    finally:
        shutil.rmtree(sibling)


def test_measures_bring_all_that_listeners_are_played(case: Case, result: dict[str, Any]) -> None:
    found = {(it.source, it.item): it for it in stimuli(case.run, case.key)}
    sources = ("anchor", "epoch-000", "epoch-001", "epoch-002", "target")
    assert sorted(found) == [(source, item) for source in sources for item in sorted(ITEMS)]
    for item in ITEMS:
        arrived, own = found["epoch-001", item], found["target", item]
        assert arrived.sha256 != own.sha256 or arrived.audio_seconds == own.audio_seconds
        assert arrived.audio_seconds == pytest.approx(own.audio_seconds, abs=0.02)
        assert found["anchor", item].sha256 != own.sha256
    record = case.record(ARRIVED)
    for item in record["items"]:
        moved = item["matched"]["trimmed_start_seconds"]
        assert 0 <= item["words"][0]["start"] - moved < 0.5, "words are found in the copy where they are spoken"


def test_what_an_older_version_measured_gets_copies_without_being_measured_again(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = case.record(ARRIVED)
    folder = render_folder(case.run, case.key, ARRIVED)
    bare = [{part: value for part, value in item.items() if part not in _GIVEN} for item in whole["items"]]
    write_json(folder / "measures.json", {**whole, "items": bare})
    shutil.rmtree(folder / "matched")
    shutil.rmtree(case.run.path / "renders" / case.key / "anchor")
    monkeypatch.setattr(Instruments, "measure", None)
    monkeypatch.setattr(Instruments, "_hear", None)
    assert case.measure()["measured"] == []
    assert case.record(ARRIVED) == whole
    assert len(stimuli(case.run, case.key)) == 5 * len(ITEMS)


def test_numbers_are_on_disk_before_pictures_are_made(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: Any) -> None:
        raise DiskError("no space", hint="")

    path = render_folder(case.run, case.key, ARRIVED) / "measures.json"
    whole = read_json(path)
    monkeypatch.setattr("tts_train.probe.measure.furnish", full)
    path.unlink()
    with pytest.raises(DiskError):
        case.measure([ARRIVED])
    assert read_json(path)["wer"] == whole["wer"]
    monkeypatch.undo()
    assert case.measure([ARRIVED])["measured"] == []
    assert case.record(ARRIVED) == whole


def test_a_threshold_judges_anew_without_measuring(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instruments, "measure", None)
    case.probe.write_text(_probe(_texts(), "gates: {max_duration_ratio: 0.9}\n"), encoding="utf-8")
    try:
        strict = case.measure()
    finally:
        case.probe.write_text(_probe(_texts()), encoding="utf-8")
    assert [gate["name"] for gate in strict["epochs"][ARRIVED]["gates"] if not gate["passed"]] == ["too-long"]


def test_other_markers_or_another_version_are_measured_anew(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measure(_self: Instruments, reading: Any, _heard: Any, _reference: Any) -> dict[str, Any]:
        asked.append(reading.item)
        return case.record(ARRIVED)["items"][0]

    monkeypatch.setattr(Instruments, "measure", measure)
    monkeypatch.setattr(Instruments, "_hear", lambda _self, _path: "")
    kept = {epoch: case.record(epoch) for epoch in (BASE, ARRIVED)}
    own = case.run.path / "renders" / case.key / "target" / "measures.json"
    kept_target = read_json(own)
    case.probe.write_text(_probe(_texts()).replace("[bus, stuck]", "[bus]"), encoding="utf-8")
    try:
        assert case.measure([ARRIVED])["measured"] == ["target", "0", "1"]
        assert len(asked) == 6
        assert case.measure([ARRIVED])["measured"] == []
        monkeypatch.setattr("tts_train.probe.readings.measuring_code", lambda: "of the next version")
        assert case.measure([ARRIVED])["measured"] == ["target", "0", "1"]
    finally:
        case.probe.write_text(_probe(_texts()), encoding="utf-8")
        write_json(own, kept_target)
        for epoch, record in kept.items():
            write_json(render_folder(case.run, case.key, epoch) / "measures.json", record)


def test_a_stale_render_is_not_measured(case: Case) -> None:
    path = render_folder(case.run, case.key, ARRIVED) / "render.json"
    whole = read_json(path)
    write_json(path, {**whole, "weights_sha256": "of another epoch"})
    try:
        with pytest.raises(InputUnusable, match="stale"):
            case.measure()
    finally:
        write_json(path, whole)


def test_a_target_who_read_something_else_is_refused(case: Case, tmp_path: Path) -> None:
    rows = [
        {"id": name, "audio_file": f"{name}.wav", "text": text, "speaker": "s", "language": "en", "audio_seconds": 1.0}
        for name, text in {**_texts(), "bus": "The bus came late."}.items()
    ]
    for name in ITEMS:
        (tmp_path / f"{name}.wav").write_bytes(b"")
    write_jsonl(tmp_path / "manifest.jsonl", rows)
    with pytest.raises(ConfigError) as caught:
        case.measure(target=tmp_path / "manifest.jsonl")
    assert [problem.message.split("'")[1] for problem in caught.value.problems] == ["bus"]


def test_without_a_formant_engine_only_the_accent_is_missing(
    case: Case, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in ("parselmouth", "praatfan"):
        monkeypatch.setitem(sys.modules, engine, None)
    monkeypatch.setattr(Instruments, "_hear", lambda _self, _path: "the words do not matter here")
    without = case.measure([])
    assert without["measured"] == ["target", "0"]
    base = without["epochs"][BASE]
    assert base["accent"]["available"] is False
    assert "neither is installed" in base["accent"]["reason"]
    assert base["contrasts"] == {}
    assert base["speaker_similarity"] == result["epochs"][BASE]["speaker_similarity"]
    assert base["gates"][0]["name"] == "runaway"

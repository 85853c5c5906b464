"""What follows from records of measures: which readings are held against which, and what is never compared."""

from __future__ import annotations

from typing import Any

import pytest

from tts_train.probe.judgement import Record, judged
from tts_train.probe.probe import Probe

PRAAT = {"available": True, "engine": "praat 6.1.38 burg", "ceiling_hz": 5000}
WORDS = {"FOOT": "look put good book took foot", "STRUT": "luck bus mud sun cup run"}
PLACES = {"FOOT": (400, 1000), "STRUT": (600, 1200), "KIT": (400, 1900), "FACE": (450, 1900)}

PROBE = Probe.model_validate(
    {
        "name": "small",
        "language": "en",
        "items": [{"id": "a", "text": " ".join(WORDS.values())}],
        "markers": [{"set": name, "words": words.split()} for name, words in WORDS.items()]
        + [{"set": "KIT", "words": ["six"], "role": "control"}, {"set": "FACE", "words": ["day"]}],
        "contrasts": [{"name": "foot_strut", "sets": ["FOOT", "STRUT"], "expected": "smaller"}],
        "glides": [{"name": "foot_glide", "set": "FOOT", "expected": "smaller"}],
        "gates": {"max_wer_above_target": 0.05},
    }
)


def _vowels() -> list[dict[str, Any]]:
    words = {**{name: words.split() for name, words in WORDS.items()}, "KIT": ["six"], "FACE": ["day"]}
    return [
        {"set": name, "word": word, "start": 0.0, "end": 0.1,
         "f1": [f1 + 5.0 * index] * 5, "f2": [f2 + 9.0 * index + 30 * step for step in range(5)]}
        for name, (f1, f2) in PLACES.items() for index, word in enumerate(words[name])
    ]  # fmt: skip


def _item(name: str = "a", seed: int = 0, **errors: Any) -> dict[str, Any]:
    return {
        "id": name, "seed": seed, "audio_seconds": 3.0 + seed, "expected_seconds": 3.0, "silence_ratio": 0.1,
        "clipped_ratio": 0.0, "stopped_by": "end", "vowels": _vowels(),
        "errors": {"dropped": [], "repeated": [], "mangled": [], **errors},
    }  # fmt: skip


def _record(epoch: int | None, *items: dict[str, Any], **more: Any) -> Record:
    made = {"epoch": epoch, "wer": 0.0, "pace": 3.0, "speaker_similarity": 0.8, "accent": PRAAT}
    return {**made, "items": list(items) or [_item()], **more}


def _gate(name: str, record: Record, base: Record, target: Record | None) -> dict[str, Any]:
    return next(gate for gate in judged(PROBE, record, base, target)["gates"] if gate["name"] == name)


def test_contrasts_and_glides_are_given_side_by_side_with_the_vowel_space() -> None:
    base = _record(0)
    judgement = judged(PROBE, _record(1), base, _record(None))
    kinds = {name: value["kind"] for name, value in judgement["contrasts"].items()}
    assert kinds == {"foot_strut": "distance", "foot_glide": "glide"}
    assert judgement["contrasts"]["foot_glide"]["f2_gap_hz"] == 120
    assert set(judgement["vowel_space"]["sets"]) == set(PLACES)
    assert set(judged(PROBE, _record(None), base, _record(None))) == {"contrasts", "vowel_space"}


@pytest.mark.parametrize("which", ["base", "target"])
@pytest.mark.parametrize("other", [{"engine": "praatfan 0.1.13 burg"}, {"ceiling_hz": 5500}, {"available": False}])
def test_records_of_different_engines_are_refused_without_a_number(which: str, other: dict[str, Any]) -> None:
    different = _record(None, accent={**PRAAT, **other})
    base, target = (different, _record(None)) if which == "base" else (_record(0), different)
    contrasts = judged(PROBE, _record(1), base, target)["contrasts"]
    for value in contrasts.values():
        assert set(value) == {"kind", "verdict", "why"}
        assert value["verdict"] == "not shown"
        assert f"the {which} by " in value["why"]
    fine = judged(PROBE, _record(1), _record(0), _record(None))["contrasts"]
    assert all("distance" in value for value in fine.values())


def test_without_formants_there_is_no_accent_and_the_gates_are_judged() -> None:
    off = {"available": False, "reason": "no engine"}
    judgement = judged(PROBE, _record(1, accent=off), _record(0, accent=off), None)
    assert (judgement["contrasts"], judgement["vowel_space"]) == ({}, None)
    assert all(gate["passed"] for gate in judgement["gates"])


def test_words_the_target_lacks_too_are_no_fault_and_each_is_forgiven_once() -> None:
    target = _record(None, _item(dropped=["the"], mangled=[["hens", "hands"]]))
    lost = _item(dropped=["the", "the", "old", "dog"], mangled=[["hens", "hen"], ["rose", "rolls"]])
    epoch = _record(1, lost, wer=0.01)
    dropped = _gate("dropped", epoch, _record(0), target)
    assert (dropped["passed"], dropped["value"]) == (False, 3)
    assert dropped["detail"] == "dropped: the old dog in a"
    assert _gate("wer", epoch, _record(0), target)["detail"].endswith("mangled: rose → rolls")


def test_every_seed_is_held_against_the_target_s_one_reading() -> None:
    target = _record(None, _item(repeated=["had"]))
    epoch = _record(1, _item(repeated=["had"]), _item(seed=1, repeated=["had", "so", "so"]))
    repeated = _gate("repeated", epoch, _record(0), target)
    assert (repeated["passed"], repeated["value"]) == (False, 2)
    assert repeated["detail"] == "repeated: so so in a (seed 1)"


def test_without_a_target_each_seed_is_held_against_the_base_s_same_seed() -> None:
    base = _record(0, _item(), _item(seed=1, dropped=["dog"]))
    epoch = _record(1, _item(dropped=["dog"]), _item(seed=1, dropped=["dog"]))
    assert _gate("dropped", epoch, base, None)["detail"] == "dropped: dog in a (seed 0)"
    assert _gate("too-long", epoch, base, None)["value"] == 1, "4 s against the base's 4 s"

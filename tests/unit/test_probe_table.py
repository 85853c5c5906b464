"""The probe's text: contrasts beside the other measures, glides in a table of their own, what went past the target."""

from __future__ import annotations

from typing import Any

from tts_train.probe.table import epochs_table


def _evidence(kind: str, value: float, *, overshot: bool = False) -> dict[str, Any]:
    return {
        "kind": kind, "distance": value, "low": value - 0.2, "high": value + 0.2, "change": -0.5, "change_low": -0.7,
        "change_high": -0.3, "t": 1.5, "t_low": 1.3, "t_high": 1.8, "overshot": overshot, "verdict": "shown",
        "why": "so",
    }  # fmt: skip


def _row(epoch: int, **evidence: dict[str, Any]) -> dict[str, Any]:
    measures = {"epoch": epoch, "wer": 0.01, "speaker_similarity": 0.8, "mel_distance": 5.0, "pace": 3.0}
    return {**measures, "gates": [], "gate_details": [], **evidence}


def test_glides_stand_in_a_table_of_their_own() -> None:
    rows = [
        _row(epoch, foot_strut=_evidence("distance", 1.0), face_glide=_evidence("glide", 0.9 - epoch / 10))
        for epoch in (0, 1)
    ]
    target = _row(0, foot_strut=_evidence("distance", 0.1), face_glide=_evidence("glide", 0.25))
    lines = epochs_table(target, rows, {"available": True}).splitlines()
    assert "foot-strut" in lines[0]
    assert "glide" not in lines[0]
    place = lines.index("epoch   face-glide")
    assert [line.split()[:2] for line in lines[place + 1 : place + 4]] == [
        ["target", "0.25"],
        ["0", "0.90"],
        ["1", "0.80"],
    ]
    assert any(line.startswith("face-glide, epoch 1 against the base: -0.50") for line in lines)


def test_past_the_target_is_said_and_what_was_refused_has_no_number() -> None:
    refused = {"kind": "glide", "verdict": "not shown", "why": "formants were measured in different ways"}
    row = _row(1, foot_strut=_evidence("distance", 0.1, overshot=True), face_glide=refused)
    text = epochs_table(None, [row], {"available": True})
    assert "t = 1.50 [1.30, 1.80], past the target: shown" in text
    assert "face-glide, epoch 1 against the base: not shown (formants were measured in different ways)" in text

"""What measures say of an epoch: contrasts against the base and the target, gates. Cheap, so made anew each time."""

from __future__ import annotations

from typing import Any

from tts_train.probe import accent
from tts_train.probe.bootstrap import Means
from tts_train.probe.formants import VowelTrack
from tts_train.probe.gates import EpochNumbers, ItemNumbers, judge
from tts_train.probe.probe import Probe

Record = dict[str, Any]
"""measures.json of an epoch, or of the target's own clips."""


def judged(probe: Probe, record: Record, base: Record, target: Record | None) -> Record:
    """Parts of measures.json that follow from other parts: contrasts, and for an epoch target_wer and gates."""
    judgement: Record = {"contrasts": _contrasts(probe, record, base, target)}
    if record["epoch"] is not None:
        judgement["target_wer"] = target["wer"] if target else None
        judgement["gates"] = [gate.as_json() for gate in judge(_numbers(record, target or base, target), probe.gates)]
    return judgement


def _contrasts(probe: Probe, record: Record, base: Record, target: Record | None) -> dict[str, Any]:
    if not record["accent"]["available"]:
        return {}
    here, before = _vowels(record), _vowels(base)
    aim = _vowels(target) if target else None
    return {
        item.name: accent.contrast(item.sets, item.expected, probe.controls, here, before, aim)
        for item in probe.contrasts
    }


def _vowels(record: Record) -> Means:
    return accent.word_means(
        VowelTrack(vowel["start"], vowel["end"], tuple(vowel["f1"]), tuple(vowel["f2"])).as_vowel(
            vowel["set"], vowel["word"]
        )
        for item in record["items"]
        for vowel in item["vowels"]
    )


def _numbers(record: Record, reference: Record, target: Record | None) -> EpochNumbers:
    """What the gates read; without a target, epoch 0 is what an epoch is held against."""
    expected = {(item["id"], item["seed"]): item["audio_seconds"] for item in reference["items"]}
    return EpochNumbers(
        wer=record["wer"],
        reference="target" if target else "base",
        reference_wer=reference["wer"],
        pace=record["pace"],
        reference_pace=reference["pace"],
        speaker_similarity=record["speaker_similarity"],
        items=[
            ItemNumbers(
                item["id"],
                item["audio_seconds"],
                item["expected_seconds"] if target else expected.get((item["id"], item["seed"])),
                item["silence_ratio"],
                item["clipped_ratio"],
                item["stopped_by"],
            )
            for item in record["items"]
        ],
    )

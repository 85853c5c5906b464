"""What measures say of an epoch: accent evidence against the base and the target, the vowel space, gates.

Cheap, so made anew each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tts_train.probe import accent
from tts_train.probe.bootstrap import Means, Way
from tts_train.probe.formants import VowelTrack
from tts_train.probe.gates import EpochNumbers, ItemNumbers, judge
from tts_train.probe.probe import Contrast, Glide, Probe
from tts_train.probe.vowel_space import vowel_space

Record = dict[str, Any]
"""measures.json of an epoch, or of the target's own clips."""


def judged(probe: Probe, record: Record, base: Record, target: Record | None) -> Record:
    """Parts of measures.json that follow from other parts: contrasts (glides among them), vowel_space, and for an epoch
    target_wer and gates."""
    judgement: Record = {
        "contrasts": _contrasts(probe, record, base, target),
        "vowel_space": _space(probe, record),
    }
    if record["epoch"] is not None:
        judgement["target_wer"] = target["wer"] if target else None
        judgement["gates"] = [gate.as_json() for gate in judge(_numbers(record, target or base, target), probe.gates)]
    return judgement


def _contrasts(probe: Probe, record: Record, base: Record, target: Record | None) -> dict[str, Any]:
    if not record["accent"]["available"]:
        return {}
    asked: list[Contrast | Glide] = [*probe.contrasts, *probe.glides]
    mixed = _mixed({"this record": record, "the base": base, **({"the target": target} if target else {})})
    if mixed:
        return {item.name: accent.refused(_way(item), mixed) for item in asked}
    here, before = _means(record), _means(base)
    aim = _means(target) if target else None
    return {item.name: accent.contrast(_way(item), item.expected, probe.controls, here, before, aim) for item in asked}


def _way(item: Contrast | Glide) -> Way:
    return item.set if isinstance(item, Glide) else item.sets


def _mixed(records: dict[str, Record]) -> str:
    """Why records are not comparable: the numbers of two formant engines, or of two settings, are never mixed."""
    made = {name: record["accent"] for name, record in records.items()}
    if all(engine == made["this record"] for engine in made.values()):
        return ""
    told = ", ".join(f"{name} by {_told(engine)}" for name, engine in made.items())
    return f"formants were measured in different ways ({told}): measure them all again with one engine"


def _told(engine: Record) -> str:
    if not engine["available"]:
        return "none"
    return f"{engine.get('engine', 'an unknown engine')} at {engine.get('ceiling_hz')} Hz"


def _space(probe: Probe, record: Record) -> Record | None:
    if not record["accent"]["available"]:
        return None
    vowels = (vowel for item in record["items"] for vowel in item["vowels"])
    return vowel_space(vowels, {marker.set: marker.role for marker in probe.markers})


def _means(record: Record) -> Means:
    return accent.word_means(
        VowelTrack(vowel["start"], vowel["end"], tuple(vowel["f1"]), tuple(vowel["f2"])).as_vowel(
            vowel["set"], vowel["word"]
        )
        for item in record["items"]
        for vowel in item["vowels"]
    )


def _numbers(record: Record, reference: Record, target: Record | None) -> EpochNumbers:
    """What the gates read; without a target, epoch 0 is what an epoch is held against."""
    own = {_reading(item, target): item for item in reference["items"]}
    return EpochNumbers(
        wer=record["wer"],
        reference="target" if target else "base",
        reference_wer=reference["wer"],
        pace=record["pace"],
        reference_pace=reference["pace"],
        speaker_similarity=record["speaker_similarity"],
        items=[_item(item, own.get(_reading(item, target)), target) for item in record["items"]],
    )


def _reading(item: Record, target: Record | None) -> tuple[str, int]:
    """What a reading is held against: the base's with the same seed, or the target's one reading of the item."""
    return item["id"], 0 if target else item["seed"]


def _item(item: Record, own: Record | None, target: Record | None) -> ItemNumbers:
    errors, theirs = item["errors"], own["errors"] if own else {}
    missed = {wanted for wanted, _ in theirs.get("mangled", ())}
    return ItemNumbers(
        id=item["id"],
        seconds=item["audio_seconds"],
        expected_seconds=item["expected_seconds"] if target else own["audio_seconds"] if own else None,
        silence_ratio=item["silence_ratio"],
        clipped_ratio=item["clipped_ratio"],
        stopped_by=item["stopped_by"],
        seed=item["seed"],
        dropped=_beyond(errors["dropped"], theirs.get("dropped", ())),
        repeated=_beyond(errors["repeated"], theirs.get("repeated", ())),
        mangled=[(wanted, heard) for wanted, heard in errors["mangled"] if wanted not in missed],
    )


def _beyond(words: Sequence[str], allowed: Iterable[str]) -> list[str]:
    """Those of `words` that `allowed` does not hold as often."""
    left, more = Counter(allowed), []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            more.append(word)
    return more

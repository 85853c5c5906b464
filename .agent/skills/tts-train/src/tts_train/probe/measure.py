"""Measuring, in the project environment: every epoch and the target's own clips through one code path.

measures.json holds what was measured and what it was measured from. It is made again when the render, the markers, the
target or an instrument changed; comparisons (contrasts, gates) are cheap and made anew each time. Nothing here renders.
What listeners are played and shown (copies.py) is made here too, also for what was measured before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tts_train.backends import backend
from tts_train.dataset import audio_path, load_manifest
from tts_train.errors import ConfigError, InputUnusable, Problem
from tts_train.files import read_json, sha256_file, sha256_json, write_json
from tts_train.memory import big_blocks_kept
from tts_train.output import progress
from tts_train.probe.copies import furnish, write_anchor
from tts_train.probe.judgement import Record, judged
from tts_train.probe.keys import seeded
from tts_train.probe.material import ANCHOR, TARGET
from tts_train.probe.probe import Probe, load_probe
from tts_train.probe.readings import Instruments, Reading, Reference
from tts_train.probe.render import MEASURES, RENDER, is_current, render_folder, weights_sha256
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

OTHER_CLIPS_SECONDS = 300.0
"""Of a target that did not read the probe, so much is measured."""

Jobs = dict[int | str, list[Reading]]
"""Readings by epoch number, and those of "target"."""


def measure_run(
    workspace: str,
    run: str,
    key: str,
    epochs: Sequence[int],
    target: str | None,
    probe: str,
    seeds: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Measure what is not measured yet (worker entry, project environment).

    `key` is the render key, `target` a manifest of the target speaker's clips, `seeds` as for rendering. Epoch 0
    is measured with every set of epochs: changes are changes against it. Returns {key, target, epochs, measured,
    timings_seconds}, where target and epochs are the contents of measures.json without single items. Raises
    InputUnusable for a render that is missing or stale, ConfigError for a target whose texts are not the probe's.
    """
    from threadpoolctl import threadpool_limits

    started = time.monotonic()
    folder = RunFolder(Workspace(Path(workspace)).run(run))
    script = seeded(load_probe(Path(probe)), backend(folder.config().backend), seeds)
    numbers = sorted({0, *epochs})
    jobs: Jobs = {"target": _target_readings(Path(target), script)} if target else {}
    for number in numbers:
        jobs[number] = _render(folder, script, key, number)
    # Readings are measured beside those that Whisper hears: a third thread, of BLAS, costs a fifth more CPU.
    with big_blocks_kept(), threadpool_limits(1, user_api="blas"):
        instruments = Instruments(script)
        try:
            records, measured = _measure(folder, key, instruments, jobs)
        finally:
            instruments.close()
    base, own = records[0], records.get("target")
    for name, record in records.items():
        record.update(judged(script, record, base, own))
        _save(_file(folder, key, name), record)
    for name, record in records.items():
        # After the numbers are safe: a full disk costs pictures, not the recognition of an hour of speech.
        furnish(_file(folder, key, name).parent, record["items"], jobs[name], script.texts)
        _save(_file(folder, key, name), record)
    write_anchor(folder.path / "renders" / key / ANCHOR, script, jobs.get(TARGET, []), jobs[0])
    rows = [{part: value for part, value in records[number].items() if part != "items"} for number in numbers]
    return {
        "key": key,
        "target": own and {part: value for part, value in own.items() if part != "items"},
        "epochs": rows,
        "measured": measured,
        "timings_seconds": {"measure": round(time.monotonic() - started, 1)},
    }


def _measure(
    run: RunFolder, key: str, instruments: Instruments, jobs: Jobs
) -> tuple[dict[int | str, Record], list[str]]:
    """Records by epoch number and "target": from disk where they still hold, else measured now."""
    target = jobs.get("target", [])
    common = {"marks_sha256": instruments.probe.marks_sha256, **instruments.versions}
    common["target_sha256"] = _content(target)
    inputs = {name: {**common, "readings_sha256": _content(readings)} for name, readings in jobs.items()}
    known = {
        name: _known(_file(run, key, name), inputs[name]) or _elsewhere(run, key, name, inputs[name]) for name in jobs
    }
    todo = [name for name in jobs if known[name] is None]
    reference = _reference(target) if todo and target else None
    listening = {name: instruments.hear(jobs[name]) for name in todo}
    records: dict[int | str, Record] = {name: record for name, record in known.items() if record is not None}
    for name in todo:
        started = time.monotonic()
        items = [
            instruments.measure(reading, heard, reference)
            for reading, heard in zip(jobs[name], listening[name], strict=True)
        ]
        records[name] = {
            "epoch": name if isinstance(name, int) else None,
            **_summary(items),
            "accent": _accent(instruments),
            "inputs": inputs[name],
            "items": items,
        }
        what = f"epoch {name}" if isinstance(name, int) else "the target's own clips"
        progress(f"measured {what}: WER {records[name]['wer']:.1%} in {time.monotonic() - started:.1f} s")
    return records, [str(name) for name in todo]


def _file(run: RunFolder, key: str, name: int | str) -> Path:
    if isinstance(name, int):
        return render_folder(run, key, name) / MEASURES
    return run.path / "renders" / key / name / MEASURES


def _render(run: RunFolder, probe: Probe, key: str, number: int) -> list[Reading]:
    """The readings of one epoch. Raises InputUnusable when they are not there or not of these weights."""
    folder = render_folder(run, key, number)
    epoch = run.epoch(number)
    wanted = [(item.id, seed) for item in probe.items for seed in probe.seeds]
    if not is_current(folder, weights_sha256(run, epoch), wanted):
        raise InputUnusable(
            f"the render of epoch {number} in {folder} is missing, stale or of another probe",
            hint=f"run.sh probe {run.name}",
        )
    noted = read_json(folder / RENDER)["items"]
    return [
        Reading(item["id"], item["seed"], probe.texts[item["id"]], folder / item["file"], item["stopped_by"])
        for item in noted
    ]


def _target_readings(manifest: Path, probe: Probe) -> list[Reading]:
    """The target's readings of the probe's items; of a target that read none of them, some of its other clips.

    Raises ConfigError naming every clip that has an item's id and another text.
    """
    clips = load_manifest(manifest)
    words = {item.id: [word.lower() for word in item.words] for item in probe.items}
    parallel = [clip for clip in clips if clip.id in words]
    problems = [
        Problem(f"clip '{clip.id}' is not a reading of the probe's item '{clip.id}': {clip.text!r}", str(manifest))
        for clip in parallel
        if [word.lower() for word in probe.spoken(clip.text)] != words[clip.id]
    ]
    if problems:
        hint = "record the item again, or give the clip another id"
        raise ConfigError(f"{manifest}: {len(problems)} text(s) differ from the probe's", hint=hint, problems=problems)
    chosen, seconds = list(parallel), 0.0
    for clip in clips if not parallel else ():
        if seconds < OTHER_CLIPS_SECONDS:
            chosen.append(clip)
            seconds += clip.audio_seconds
    return [Reading(clip.id, 0, clip.text, audio_path(manifest, clip)) for clip in chosen]


def _reference(target: Sequence[Reading]) -> Reference:
    from tts_train.audio import read_audio

    return Reference({reading.item: read_audio(reading.path) for reading in target})


def _content(readings: Sequence[Reading]) -> str:
    return sha256_json([[item.item, item.seed, item.text, sha256_file(item.path)] for item in readings])


def _known(path: Path, inputs: Mapping[str, Any]) -> Record | None:
    if not path.is_file():
        return None
    record: Record = read_json(path)
    return record if record.get("inputs") == inputs else None


def _elsewhere(run: RunFolder, key: str, name: int | str, inputs: Mapping[str, Any]) -> Record | None:
    """The base and the target are the same for every run of a workspace: what another run measured holds here."""
    if name not in (0, "target"):
        return None
    folder = _file(run, key, name).parent.name
    others = sorted(run.path.parent.glob(f"*/renders/{key}/{folder}/{MEASURES}"))
    return next((record for record in (_known(path, inputs) for path in others) if record is not None), None)


def _save(path: Path, record: Record) -> None:
    if not path.is_file() or read_json(path) != record:
        write_json(path, record)


def _summary(items: Sequence[Mapping[str, Any]]) -> Record:
    """One number each for a set of readings; means are weighted by words, which are the same for every epoch."""
    errors = [item["errors"] for item in items]
    words = sum(part["words"] for part in errors)
    aligned = [item for item in items if item["speech_seconds"]]
    spoken = sum(item["speech_seconds"] for item in aligned) or sum(item["audio_seconds"] for item in items)
    expected = [item for item in items if item["expected_seconds"]]
    return {
        "wer": round(sum(part["errors"] for part in errors) / max(words, 1), 4),
        "words": {
            "count": words,
            "dropped": [word for part in errors for word in part["dropped"]],
            "mangled": [pair for part in errors for pair in part["mangled"]],
            "inserted": [word for part in errors for word in part["inserted"]],
            "repeated": [word for part in errors for word in part["repeated"]],
        },
        "speaker_similarity": _mean(items, "speaker_similarity"),
        "mel_distance": _mean(items, "mel_distance"),
        "pace": round(sum(item["spoken_words"] for item in aligned or items) / spoken, 3) if spoken else 0.0,
        "audio_seconds": round(sum(item["audio_seconds"] for item in items), 2),
        "duration_ratio": _ratio(expected),
        "silence_ratio": _mean(items, "silence_ratio"),
        "clipped_ratio": _mean(items, "clipped_ratio"),
        "not_aligned": {item["id"]: item["not_aligned"] for item in items if item["not_aligned"]},
    }


def _mean(items: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = [(item[name], item["spoken_words"]) for item in items if item[name] is not None]
    weight = sum(words for _, words in known)
    return round(sum(value * words for value, words in known) / weight, 6) if weight else None


def _ratio(items: Sequence[Mapping[str, Any]]) -> float | None:
    expected = sum(item["expected_seconds"] for item in items)
    return round(sum(item["audio_seconds"] for item in items) / expected, 3) if expected else None


def _accent(instruments: Instruments) -> dict[str, Any]:
    if instruments.tracker is None:
        return {"available": False, "reason": instruments.no_accent}
    return {"available": True, **instruments.tracker.engine}

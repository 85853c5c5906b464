"""`convert-qwen3`: a dataset's clips become codes of Qwen3-TTS's codec, in the official JSONL.

Each clip is encoded alone, so that its codes depend on nothing but its audio and the codec (`Codec.encode` says what a
batch changes). Speed comes from worker processes with one torch thread each, longest clips first so that they end
together. Seconds of CPU for 64 clips (367 s, tiny codec): upstream's unsorted batches of 32 take 7.6, alone 3.6, sorted
batches of 8 take 2.0 and give other last frames.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tts_train.backends.qwen3 import reference
from tts_train.backends.qwen3.codec import NAME, Codec, codec_sha256, find_codec, load_codec
from tts_train.backends.qwen3.codes import open_coded
from tts_train.backends.qwen3.conversion import Device, Plan, bytes_needed, cores, estimate, make_plan
from tts_train.backends.qwen3.encode import MIN_RATE, Outcome, Work, encode_clip
from tts_train.backends.qwen3.text import normalise
from tts_train.clip import Clip, Rejection
from tts_train.dataset import load_manifest, write_rejections
from tts_train.engine import Where, engine
from tts_train.errors import InputUnusable, Unavailable, UsageError
from tts_train.files import owned, require_space, sha256_file, write_jsonl
from tts_train.output import progress

OUT = "train_manifest_qwen3.jsonl"
REJECTIONS = "rejections_qwen3.jsonl"
STEP = "convert-qwen3"

_PROGRESS_SECONDS = 5.0


def convert(
    source: Path,
    out: Path | None = None,
    *,
    tokenizer: str = NAME,
    ref: Path | None = None,
    speaker: str | None = None,
    workers: int | None = None,
    where: Where = "here",
    device: Device = "cpu",
    max_rejected: float = 0.2,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write `out` (default train_manifest_qwen3.jsonl beside the manifest) and its flat cache; resumable.

    `source` is a manifest or its folder, `ref` a recording to take as the reference of the one speaker, `workers` the
    number of processes (default: the cores this process may use, on Ray all CPUs), `where` they are, as for `engine`.
    The bytes of `out` depend on clips, codec and device only. Returns {clips, frames, audio_seconds, converted_now,
    found_done, rejected {reason: n}, rejected_seconds, references {speaker: {audio, why, …}}, codec, out, rejections,
    warnings, timings_seconds, text}. Raises UsageError, ConfigError (the manifest), Unavailable (the codec), Busy, and
    InputUnusable, with everything written, when no clip or no reference is left or more than `max_rejected` of the
    seconds were rejected.
    """
    if where == "here":
        workers = workers or cores()
    manifest = _manifest(source)
    clips = _clips(manifest, speaker)
    target = out or manifest.with_name(OUT)
    if target.resolve() == manifest.resolve():
        raise UsageError(f"{target} is the manifest itself", hint="name another file for the codes")
    given = None if ref is None else _given_reference(ref, clips)
    if dry_run:
        return estimate(manifest, target, clips, tokenizer, device, workers or 1, given)
    if given is None:
        reference.require_possible(clips)
    started = time.monotonic()
    codec = find_codec(tokenizer)
    with owned(manifest.parent):
        plan = make_plan(manifest, target, clips, codec, codec_sha256(codec), device)
        require_space(target.parent, bytes_needed(clips))
        found = len(clips) - sum(work.key not in plan.done for work in plan.works.values())
        planned = time.monotonic()
        _encode(plan, workers, where, device)
        encoded = time.monotonic()
        result = _finalise(plan, given)
    result |= {"converted_now": len(clips) - found, "found_done": found}
    result |= {"workers": workers, "where": where, "device": device}
    result["codec"] = {"name": tokenizer, "folder": str(codec), "sha256": plan.codec_sha256}
    result["timings_seconds"] = {
        "plan": round(planned - started, 2),
        "encode": round(encoded - planned, 2),
        "total": round(time.monotonic() - started, 2),
    }
    changed = result.pop("changed")
    if found == len(clips) and not changed:
        result["text"] = f"nothing left to do: {result['text']}"
    _refuse_if_poor(result, sum(clip.audio_seconds for clip in clips), max_rejected)
    return result


def _manifest(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in ("train_aligned.jsonl", "train_manifest.jsonl"):
        # The aligned one first: align has put aside the clips whose text is not what is said.
        if (source / name).is_file():
            return source / name
    raise InputUnusable(f"{source} holds no manifest", hint="run.sh ingest or ingest-transcript makes one")


def _clips(manifest: Path, speaker: str | None) -> tuple[Clip, ...]:
    clips = load_manifest(manifest)
    if speaker is None:
        return tuple(clips)
    mine = tuple(clip for clip in clips if clip.speaker == speaker)
    if not mine:
        there = ", ".join(sorted({clip.speaker for clip in clips}))
        raise UsageError(f"{manifest} has no speaker '{speaker}'", hint=f"there are: {there}")
    return mine


def _given_reference(ref: Path, clips: Sequence[Clip]) -> reference.Reference:
    speakers = sorted({clip.speaker for clip in clips})
    if len(speakers) > 1:
        raise UsageError(
            f"--ref is one voice, the manifest holds {len(speakers)} speakers: {', '.join(speakers)}",
            hint="--speaker NAME, or leave --ref out: then a clip of each speaker is chosen",
        )
    return reference.check(ref)


def _encode(plan: Plan, workers: int | None, where: Where, device: Device) -> None:
    """Work through what is left and take it into `plan.done`."""
    works = plan.left
    if not works:
        return
    if len(works) < len(plan.clips):
        progress(f"{STEP}: {len(plan.clips) - len(works)} of {len(plan.clips)} clips are done already")
    if device == "cpu" and where == "here":
        # Forks share one copy of the weights; a process that has used a GPU must not fork, so there each loads its own.
        _codec(plan.codec, plan.codec_sha256, device)
    total, started = sum(work.seconds for work in works), time.monotonic()
    seconds, told = 0.0, started
    task = partial(_encode_one, plan.codec, plan.codec_sha256, device, plan.receipts)
    with engine(
        workers,
        where=where,
        shared=plan.manifest.parent,
        gpus=int(device != "cpu"),
        start="fork" if device == "cpu" else "spawn",
        describe=_name,
    ) as run:
        for finished, (work, outcome) in enumerate(zip(works, run.map(task, works), strict=True), 1):
            plan.done[work.key] = outcome
            seconds += work.seconds
            # A first clip tells of one worker only, and the time is that of all.
            due = finished >= run.jobs and time.monotonic() - told >= _PROGRESS_SECONDS
            if due or finished == len(works):
                told = time.monotonic()
                left = (told - started) / seconds * (total - seconds)
                progress(f"{STEP}: {finished} of {len(works)} clips, about {left:.0f} s left")


def _name(work: Work) -> str:
    return f"clip '{work.id}' ({work.audio})"


def _encode_one(folder: Path, sha256: str, device: Device, receipts: Path, work: Work) -> Outcome:
    return encode_clip(_codec(folder, sha256, device), receipts, work)


@lru_cache(maxsize=1)
def _codec(folder: Path, sha256: str, device: Device) -> Codec:
    """The codec that receipts are named after, once per process."""
    codec = load_codec(folder, device)
    if codec.sha256 != sha256:
        raise Unavailable(f"the codec of {folder} is not the one that was planned with", hint="run the command again")
    return codec


def _finalise(plan: Plan, given: reference.Reference | None) -> dict[str, Any]:
    """Write rejections, references, the JSONL and its cache."""
    kept, rejections = [], []
    for clip in sorted(plan.clips, key=lambda clip: clip.id):
        outcome = plan.done[plan.works[clip.id].key]
        reason, numbers = _verdict(clip, outcome)
        if reason:
            rejections.append(_rejection(plan, clip, reason, numbers))
        else:
            kept.append((clip, outcome))
    folder = plan.out.parent
    before = [sha256_file(path) if path.is_file() else "" for path in (plan.out, folder / REJECTIONS)]
    write_rejections(folder / REJECTIONS, rejections)
    chosen = {name: given or _choose(plan, name, kept) for name in sorted({clip.speaker for clip, _ in kept})}
    files = {name: reference.place(item, name, folder) for name, item in chosen.items()}
    names = {name: _relative(file, folder) for name, file in files.items()}
    write_jsonl(plan.out, (_row(plan, clip, outcome, names[clip.speaker]) for clip, outcome in kept))
    after = [sha256_file(path) for path in (plan.out, folder / REJECTIONS)]
    coded = open_coded(plan.out) if kept else None
    seconds = round(sum(outcome.audio_seconds for _, outcome in kept), 3)
    counts: dict[str, int] = {}
    for item in rejections:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    warnings = [warning for item in chosen.values() for warning in item.warnings]
    listed = "; ".join(f"reference of {name}: {names[name]}" for name in chosen)
    lost = f"; {len(rejections)} rejected" if rejections else ""
    return {
        "clips": len(kept),
        "frames": len(coded.flat) if coded else 0,
        "audio_seconds": seconds,
        "rejected": dict(sorted(counts.items())),
        "rejected_seconds": round(sum(item.audio_seconds for item in rejections), 3),
        "references": {
            name: {"audio": names[name], "clip": item.id, "why": item.why, **item.numbers}
            for name, item in chosen.items()
        },
        "manifest": str(plan.manifest),
        "out": str(plan.out),
        "rejections": str(folder / REJECTIONS),
        "warnings": warnings,
        "changed": before != after,
        "text": "\n".join(
            [f"{len(kept)} of {len(plan.clips)} clips of {plan.manifest.name}, {seconds / 60:.1f} min{lost}; {listed}"]
            + [f"warning: {warning}" for warning in warnings]
        ),
    }


def _verdict(clip: Clip, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Why a clip is left out ("" if it is not): what its audio says, or what its manifest says of its origin."""
    rate = clip.measures.get("source_rate")
    if not outcome.reason and isinstance(rate, int | float) and rate < MIN_RATE:
        return "low-rate", {**outcome.numbers, "source_rate": rate, "least": MIN_RATE}
    return outcome.reason, outcome.numbers


def _rejection(plan: Plan, clip: Clip, reason: str, numbers: Mapping[str, Any]) -> Rejection:
    audio = _relative(plan.works[clip.id].audio, plan.out.parent)
    end = clip.start + clip.audio_seconds
    return Rejection(clip.id, reason, clip.text, clip.source, clip.start, end, audio, {**numbers, "step": STEP})


def _choose(plan: Plan, speaker: str, kept: Sequence[tuple[Clip, Outcome]]) -> reference.Reference:
    candidates = [
        reference.Candidate(
            clip.id,
            plan.works[clip.id].audio,
            plan.works[clip.id].key,
            outcome.audio_seconds,
            outcome.numbers["clipped_ratio"],
            outcome.numbers["silence_ratio"],
            outcome.numbers["bandwidth_hz"],
        )
        for clip, outcome in kept
        if clip.speaker == speaker
    ]
    return reference.choose(speaker, candidates, plan.manifest.parent / "parts")


def _row(plan: Plan, clip: Clip, outcome: Outcome, ref_audio: str) -> dict[str, Any]:
    return {
        "id": clip.id,
        "audio": _relative(plan.works[clip.id].audio, plan.out.parent),
        "text": normalise(clip.text),
        "ref_audio": ref_audio,
        "audio_codes": outcome.codes.tolist(),
        "speaker": clip.speaker,
        "language": clip.language,
        "audio_seconds": outcome.audio_seconds,
        "source": clip.source,
        "chapter": clip.chapter,
        "start": clip.start,
    }


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _refuse_if_poor(result: Mapping[str, Any], seconds: float, max_rejected: float) -> None:
    share = result["rejected_seconds"] / seconds
    if result["clips"] and share <= max_rejected:
        return
    what = f"{share:.0%} of the seconds were rejected" if result["clips"] else "no clip is left"
    counts = ", ".join(f"{reason}: {count}" for reason, count in result["rejected"].items())
    raise InputUnusable(
        f"{what} ({counts}); the limit is {max_rejected:.0%}",
        hint=f"{result['rejections']} names every rejected clip with its reason; --max-rejected sets the limit",
    )

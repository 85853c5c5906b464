"""voices check: what is known of a recording: whether it is marked as spoken by a machine, and what its JSON says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts_train import jobs
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_file
from tts_train.review.commandline import shown
from tts_train.work.environments import ready
from tts_train.work.voices import list_voices
from tts_train.workspace import Workspace

_ABLE = ("project", "skill")
"""Environments with resemble-perth."""
_LARGEST_SIDECAR = 1_000_000
_TOLD = ("voice_package", "run", "epoch", "weights_sha256", "text", "seed", "consent_basis", "created", "tts_train")


def check(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Ask a recording for the watermark, and the JSON that `infer` leaves beside it for its origin.

    `intact`: the JSON is of these very bytes; None without one. `voice_here`: the voice of this workspace with the same
    weights, or None. Raises Unavailable without the watermark's package, InputUnusable for what does not decode.
    """
    if not file.is_file():
        raise InputUnusable(f"{file} does not exist", hint="name a recording")
    able = next((name for name in _ABLE if ready(name)), _ABLE[0])
    heard = jobs.call(able, "tts_train.work.watermark:examine", {"file": str(file.resolve())})
    digest = sha256_file(file)
    sidecar = _sidecar(file)
    known = sidecar or {}
    intact = None if sidecar is None else known.get("audio_sha256") == digest
    weights = known.get("weights_sha256")
    voices = list_voices(workspace)["voices"] if weights else []
    result = {
        "file": str(file),
        "sha256": digest,
        **heard,
        "provenance": None if sidecar is None else {name: known[name] for name in _TOLD if name in known},
        "intact": intact,
        "voice_here": next((row["name"] for row in voices if row["weights_sha256"] == weights), None),
    }
    return {**result, "text": "\n".join(_lines(result))}


def _sidecar(file: Path) -> dict[str, Any] | None:
    path = file.with_suffix(file.suffix + ".json")
    if not path.is_file() or path.stat().st_size > _LARGEST_SIDECAR:
        return None
    try:
        content = read_json(path)
    except InputUnusable:
        return None
    return content if isinstance(content, dict) and "audio_sha256" in content else None


def _lines(result: dict[str, Any]) -> list[str]:
    told = {
        "yes": "marked as spoken by a machine",
        "in part": f"marked in part ({result['share']:.0%}): {result['spans']} s",
        "no": "no mark found: it is not from a machine that marks, or was changed too much",
    }
    lines = [f"{shown(Path(result['file']))}: {told[result['marked']]} (score {result['score']})"]
    facts = result["provenance"]
    if facts is None:
        return [*lines, "  no JSON of its origin beside it"]
    if not result["intact"]:
        return [*lines, "  the JSON beside it is of another recording, or this one was changed since"]
    voice = facts.get("voice_package") or f"epoch {facts.get('epoch')} of {facts.get('run')}"
    here = f", here as {result['voice_here']}" if result["voice_here"] else ""
    return [
        *lines,
        f"  by the JSON beside it: {voice}{here}, seed {facts.get('seed')}, {facts.get('created')}",
        f"  text: {ascii(facts.get('text'))[:200]}",
    ]

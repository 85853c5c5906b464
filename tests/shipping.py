"""What tests of shipping share: renders that a speaker made, and workers that run in this process."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train import jobs
from tts_train.audio import write_audio
from tts_train.backends import Speaker
from tts_train.files import read_json, sha256_file, write_json
from tts_train.probe.keys import Setting
from tts_train.training.run import RunFolder

if TYPE_CHECKING:
    import pytest

GOOD_GATE = {"name": "runaway", "passed": True, "value": 0.0, "limit": 0.0, "detail": "every item came to its own end"}


def workers_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """jobs.call without another environment: arguments and result still pass through JSON."""

    def call(_environment: str, function: str, arguments: dict[str, Any]) -> dict[str, Any]:
        module, _, name = function.partition(":")
        result = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        again: dict[str, Any] = json.loads(json.dumps(result))
        return again

    monkeypatch.setattr(jobs, "call", call)


def render(
    run: RunFolder,
    key: str,
    number: int,
    speaker: Speaker,
    texts: Mapping[str, str],
    setting: Setting,
    *,
    seeds: Sequence[int] = (0,),
    inference_version: int = 1,
) -> Path:
    """What `render_run` leaves behind for one epoch; measures are the caller's."""
    folder = run.path / "renders" / key / f"epoch-{number:03d}"
    content = {"texts": dict(texts), "seeds": list(seeds), "inference_version": inference_version}
    voice = {"voice": dict(setting.voice)} if setting.voice else {}
    plain = {"backend": setting.backend, "threads": setting.threads, "dtype": setting.dtype, "knobs": setting.knobs}
    write_json(folder.parent / "key.json", {**content, "setting": {**plain, **voice}})
    items = []
    for item, text in texts.items():
        for seed in seeds:
            path = folder / f"{item}.seed-{seed}.wav"
            spoken = speaker.say(text, setting.knobs, seed)
            write_audio(path, spoken.audio)
            items.append(
                {
                    "id": item,
                    "seed": seed,
                    "file": path.name,
                    "audio_seconds": round(spoken.audio.seconds, 4),
                    "rate": spoken.audio.rate,
                    "stopped_by": spoken.stopped_by,
                    "sha256": sha256_file(path),
                }
            )
    weights = run.epoch(number).weights_sha256
    write_json(folder / "render.json", {"epoch": number, "weights_sha256": weights, "items": items})
    return folder


def measured(folder: Path, number: int, gates: Sequence[Mapping[str, Any]] = (GOOD_GATE,)) -> None:
    """measures.json with nothing in it but gates."""
    numbers = {"wer": 0.02, "target_wer": 0.02, "speaker_similarity": 0.8, "mel_distance": 1.0, "pace": 3.0}
    content = {"epoch": number, **numbers, "gates": list(gates), "contrasts": {}, "items": [{"id": "one"}]}
    write_json(folder / "measures.json", content)


def hashes(folder: Path) -> dict[str, str]:
    """Of every file below it, by its name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def reseal(folder: Path, **changes: Any) -> None:
    """As somebody would who can count sums."""
    manifest = {**read_json(folder / "voice.json"), **changes}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in manifest["files"]:
        if name in present:
            facts = {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size}
            manifest["files"][name] = facts
    write_json(folder / "voice.json", manifest)
    digests = {name: item["sha256"] for name, item in manifest["files"].items()}
    digests["voice.json"] = sha256_file(folder / "voice.json")
    (folder / "SHA256SUMS").write_text("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))

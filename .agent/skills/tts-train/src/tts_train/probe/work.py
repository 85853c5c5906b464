"""probe: render what is missing in the backend's environment, measure in the project's, one row per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tts_train import jobs
from tts_train.backends import backend
from tts_train.errors import ConfigError
from tts_train.files import locked, sweep
from tts_train.output import progress
from tts_train.probe.keys import render_key, require_one_key, seeded
from tts_train.probe.probe import Probe, load_probe
from tts_train.probe.render import MEASURES, is_current, is_stale, render_folder, weights_sha256
from tts_train.probe.table import epochs_table
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

WORDS_PER_SECOND = 3.0
RENDER_SECONDS = 0.15
MEASURE_SECONDS = 0.13
"""Costs of a second of speech on two idle CPU cores."""


def probe_run(
    workspace: Workspace,
    run: str,
    probe: str | None = None,
    epochs: Sequence[int] | None = None,
    target: str | None = None,
    seeds: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Render and measure `epochs` (None: the base and all that are published); finished work is not done again.

    `probe` and `target` are paths, by default those of the run's config; `seeds` are by default the probe's, else the
    family's. Epoch 0 is always there, as changes are changes against it. Returns {key, probe, seeds, target, epochs,
    stale, text}: each epoch with {epoch, wer, target_wer, speaker_similarity, mel_distance, pace, one object per
    contrast, sum_lr, drift, gates (names of those that failed), words {dropped, mangled}}. `stale` lists epochs not
    asked for whose renders under this key were spoken by other weights than they have now. Raises Busy when another
    process probes the run, ConfigError, and what the workers raise.
    """
    folder = RunFolder(workspace.run(run))
    file, aim, numbers = _choices(workspace, folder, probe, epochs, target)
    family = backend(folder.config().backend)
    spoken = seeded(load_probe(file), family, seeds).seeds
    if len(spoken) > 1 and not family.samples:
        progress(f"{family.name} does not sample: its {len(spoken)} seeds say the same")
    common = {"workspace": str(workspace.root), "run": run, "probe": str(file), "epochs": numbers, "seeds": spoken}
    with locked(folder.path / "renders" / ".lock", run=folder.path):
        sweep(folder.path / "renders")
        rendered = jobs.call(family.environment, "tts_train.probe.render:render_run", common)
        measured = jobs.call(
            "project",
            "tts_train.probe.measure:measure_run",
            {**common, "key": rendered["key"], "target": str(aim) if aim else None},
        )
    rows = [_row(folder, record) for record in measured["epochs"]]
    own = measured["target"]
    target_row = {"wer": own["wer"], "pace": own["pace"], **_measured(own)} if own else None
    stale = _stale(folder, rendered["key"])
    return {
        "run": run,
        "key": require_one_key([rendered["key"], measured["key"]]),
        "probe": workspace.relative(file),
        "seeds": spoken,
        "target": target_row,
        "epochs": rows,
        "stale": stale,
        "accent": measured["epochs"][0]["accent"],
        "timings_seconds": {**rendered["timings_seconds"], **measured["timings_seconds"]},
        "text": "\n".join([epochs_table(target_row, rows, measured["epochs"][0]["accent"]), *_told(stale)]),
    }


def plan(
    workspace: Workspace,
    run: str,
    probe: str | None = None,
    epochs: Sequence[int] | None = None,
    target: str | None = None,
    seeds: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What `probe_run` would do and cost, and which epochs' renders are stale. Needs no model library."""
    folder = RunFolder(workspace.run(run))
    file, aim, numbers = _choices(workspace, folder, probe, epochs, target)
    config = folder.config()
    family = backend(config.backend)
    script = seeded(load_probe(file), family, seeds)
    key = render_key(script, family, config.threads, folder.voice(workspace))
    wanted = [(item.id, seed) for item in script.items for seed in script.seeds]
    folders = {number: render_folder(folder, key.name, number) for number in numbers}
    missing = [
        number
        for number, place in folders.items()
        if not is_current(place, weights_sha256(folder, folder.epoch(number)), wanted)
    ]
    own = render_folder(folder, key.name, 0).parent / "target"
    unmeasured = [place for place in (*folders.values(), *([own] if aim else ())) if not (place / MEASURES).is_file()]
    seconds = _speech_seconds(script)
    cost = seconds * (len(missing) * RENDER_SECONDS + len(unmeasured) * MEASURE_SECONDS)
    return {
        "run": run,
        "key": key.name,
        "probe": workspace.relative(file),
        "target": workspace.relative(aim) if aim else None,
        "seeds": script.seeds,
        "epochs": numbers,
        "render": missing,
        "stale": _stale(folder, key.name),
        "items": len(wanted),
        "estimate": {
            "minutes": round(cost / 60, 1),
            "audio_seconds_per_epoch": round(seconds),
            "basis": "two idle CPU cores; more where a stale render or a changed probe is measured again",
        },
    }


def _choices(
    workspace: Workspace, run: RunFolder, probe: str | None, epochs: Sequence[int] | None, target: str | None
) -> tuple[Path, Path | None, list[int]]:
    chosen = run.config().probe
    file = probe or (chosen.file if chosen else None)
    if file is None:
        raise ConfigError(f"run '{run.name}' has no probe in its config", hint="give --probe FILE")
    aim = target or (chosen.target if chosen else None)
    known = [epoch.number for epoch in run.epochs() if not epoch.pruned]
    numbers = sorted({0, *(known if epochs is None else epochs)})
    for number in numbers:
        run.epoch(number)  # raises for one that is not published
    return workspace.path(file), workspace.path(aim) if aim else None, numbers


def _stale(run: RunFolder, key: str) -> list[int]:
    """Epochs whose render under `key` was spoken by other weights than they have now."""
    return [
        epoch.number
        for epoch in (run.epoch(0), *run.epochs())
        if is_stale(render_folder(run, key, epoch.number), weights_sha256(run, epoch))
    ]


def _told(stale: Sequence[int]) -> list[str]:
    if not stale:
        return []
    return [f"stale, of weights that are no more: epoch {', '.join(map(str, stale))}; probe them again"]


def _row(run: RunFolder, record: dict[str, Any]) -> dict[str, Any]:
    info = run.epoch(record["epoch"]).info
    return {
        "epoch": record["epoch"],
        "wer": record["wer"],
        "target_wer": record["target_wer"],
        **_measured(record),
        "pace": record["pace"],
        "sum_lr": info["sum_lr"],
        "drift": info["drift"],
        "gates": [gate["name"] for gate in record["gates"] if not gate["passed"]],
        "gate_details": [gate["detail"] for gate in record["gates"] if not gate["passed"]],
    }


def _measured(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "speaker_similarity": record["speaker_similarity"],
        "mel_distance": record["mel_distance"],
        "duration_ratio": record["duration_ratio"],
        **record["contrasts"],
        "words": {name: record["words"][name] for name in ("dropped", "mangled", "inserted", "repeated")},
    }


def _speech_seconds(probe: Probe) -> float:
    return len(probe.seeds) * sum(len(item.words) for item in probe.items) / WORDS_PER_SECOND

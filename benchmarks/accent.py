"""Does the accent evidence hold on trained epochs? `python benchmarks/accent.py DEMO` in the project environment
(README, "Benchmarks"), where DEMO is the folder of a finished `run.sh demo`; runs are added to it.

FOOT against STRUT in context-matched pairs, 40 tokens of each (accent.yaml), asked three times:

* trained: `constant` with three training seeds, last epoch against the base. Is the change shown, is it the same?
* null: the base against itself. Words are drawn anew with replacement, half of each word's readings are the "epoch",
  the other half the "base"; how many of 1,000 are called changed?
* voice: the base's renders resampled, so that every formant moves alike, measured as an epoch is. Not an accent.

Minutes of CPU: four to train each seed that is not there yet, about two to render and measure it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tts_train import jobs
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.config import TrainConfig
from tts_train.files import read_json, sha256_file, write_json, write_synced
from tts_train.probe import bootstrap
from tts_train.probe.accent import Vowel, contrast, word_means
from tts_train.probe.formants import VowelTrack
from tts_train.probe.probe import Probe, load_probe
from tts_train.probe.render import MEASURES, RENDER, render_folder
from tts_train.probe.table import aligned
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace
from tts_train.yaml_config import load_yaml

PROBE = Path(__file__).with_name("accent.yaml")
CONTRAST = "foot_strut"
RESAMPLINGS = 1000
REPLICATES = 500
"""Of the bootstrap in each resampling."""
SPEEDS = (0.95, 1.1)
SHOWN = ("distance", "low", "high", "change", "change_low", "change_high", "control_change", "n", "verdict", "why")
Tokens = dict[tuple[str, str], list[Vowel]]


def trained(workspace: Workspace, seed: int, epochs: int) -> str:
    """The run that was trained with `seed`: the demo's own for its seed, else one more, resumed where it is."""
    settings = dict(load_yaml(workspace.configs / "demo_constant.yaml").data)
    own = TrainConfig.model_validate(settings)
    if seed == own.seed:
        return str(own.run)
    changes = {"run": f"accent-seed-{seed}", "seed": seed, "epochs": epochs}
    config = TrainConfig.model_validate({**settings, **changes}).frozen()
    arguments = {"config": config, "workspace": str(workspace.root), "probe": False}
    jobs.call("skill", "tts_train.work.train:train", arguments)
    return str(config["run"])


def evidence(workspace: Workspace, run: str, epoch: int, target: str | None) -> dict[str, Any]:
    """The epoch's contrast as the product judges it, the base's distance, and t where the target read the probe."""
    asked = {"workspace": str(workspace.root), "run": run, "probe": str(PROBE), "epochs": [0, epoch]}
    key = jobs.call("skill", "tts_train.probe.render:render_run", asked)["key"]
    # Without a target that read this probe nothing of the target is measured, whatever the run's config names.
    measured = jobs.call("project", "tts_train.probe.measure:measure_run", {**asked, "key": key, "target": target})
    base, last = (record["contrasts"][CONTRAST] for record in measured["epochs"])
    return {
        "run": run,
        "key": key,
        "engine": measured["epochs"][0]["accent"].get("engine"),
        "base": {name: base[name] for name in SHOWN[:3]},
        **{name: last[name] for name in (*SHOWN, "t", "t_low", "t_high", "overshot")},
    }


def tokens_of(run: RunFolder, key: str, epoch: int) -> Tokens:
    """Every measured vowel of a render, by set and word."""
    found: Tokens = defaultdict(list)
    for item in read_json(render_folder(run, key, epoch) / MEASURES)["items"]:
        for vowel in item["vowels"]:
            track = VowelTrack(vowel["start"], vowel["end"], tuple(vowel["f1"]), tuple(vowel["f2"]))
            found[vowel["set"], vowel["word"]].append(track.as_vowel(vowel["set"], vowel["word"]))
    return found


def null(probe: Probe, tokens: Tokens, resamplings: int) -> dict[str, Any]:
    """How often the base is called changed against itself; words and their halves are drawn anew each time."""
    bootstrap.REPLICATES = REPLICATES
    asked = next(item for item in probe.contrasts if item.name == CONTRAST)
    words: dict[str, list[list[Vowel]]] = defaultdict(list)
    for (name, _), readings in tokens.items():
        if len(readings) > 1:
            words[name].append(readings)
    rng, shown = np.random.default_rng(0), 0
    for _ in range(resamplings):
        halves: tuple[list[Vowel], list[Vowel]] = ([], [])
        for name, several in words.items():
            for place, index in enumerate(rng.integers(0, len(several), len(several))):
                order, half = rng.permutation(len(several[index])), len(several[index]) // 2
                for side, part in zip(halves, (order[:half], order[half : 2 * half]), strict=True):
                    side += [_renamed(several[index][one], f"{name}-{place}") for one in part]
        epoch, base = map(word_means, halves)
        shown += contrast(asked.sets, asked.expected, probe.controls, epoch, base, None)["verdict"] == "shown"
    counts = {name: len(several) for name, several in words.items()}
    return {"resamplings": resamplings, "shown": shown, "share": shown / resamplings, "words": counts}


def _renamed(vowel: Vowel, word: str) -> Vowel:
    return Vowel(vowel.lexical_set, word, vowel.f1, vowel.f2, vowel.onset, vowel.offset)


def voices(run: RunFolder, key: str, speeds: Sequence[float]) -> list[dict[str, Any]]:
    """The base's renders played faster or slower, as epochs of a run of their own, through the product's measuring."""
    with tempfile.TemporaryDirectory() as folder:
        place = Workspace(Path(folder))
        other = RunFolder(place.runs / "resampled")
        other.start(run.config(), {})
        for number in range(1, len(speeds) + 1):
            info = {"epoch": number, "step": number, "sum_lr": 0.0, "drift": 0.0}
            other.publish(number, lambda where: write_synced(where / "weights.safetensors", b"none"), info)
        for number, speed in enumerate((1.0, *speeds)):
            _resampled(render_folder(run, key, 0), other, key, number, speed)
        arguments = {"workspace": folder, "run": "resampled", "key": key, "epochs": list(range(1, len(speeds) + 1))}
        measured = jobs.call(
            "project", "tts_train.probe.measure:measure_run", {**arguments, "target": None, "probe": str(PROBE)}
        )
    rows = [record["contrasts"][CONTRAST] for record in measured["epochs"][1:]]
    return [{"speed": speed, **{name: row[name] for name in SHOWN}} for speed, row in zip(speeds, rows, strict=True)]


def _resampled(source: Path, run: RunFolder, key: str, number: int, speed: float) -> None:
    folder, noted = render_folder(run, key, number), read_json(source / RENDER)
    folder.mkdir(parents=True)
    for item in noted["items"]:
        path = folder / item["file"]
        if speed == 1.0:
            shutil.copyfile(source / item["file"], path)
        else:
            audio = read_audio(source / item["file"])
            places = np.arange(0, len(audio.samples) - 1, speed)
            samples = np.interp(places, np.arange(len(audio.samples)), audio.samples)
            write_audio(path, Audio(samples.astype(np.float32), audio.rate))
        item["sha256"] = sha256_file(path)
    write_json(folder / RENDER, {**noted, "epoch": number, "weights_sha256": run.epoch(number).weights_sha256})


def text(results: dict[str, Any]) -> str:
    rows = [["what", "distance", "change against the base", "controls", "t", "verdict"]]
    for seed in results["trained"]:
        t = "-" if seed["t"] is None else f"{seed['t']:.2f} [{seed['t_low']:.2f}, {seed['t_high']:.2f}]"
        rows.append([seed["run"], *_numbers(seed), t, f"{seed['verdict']}: {seed['why']}"])
    rows += [
        [f"base x {one['speed']}", *_numbers(one), "-", f"{one['verdict']}: {one['why']}"] for one in results["voices"]
    ]
    base, none = results["trained"][0]["base"], results["null"]
    lines = aligned(rows)
    lines.append(f"base: distance {base['distance']:.2f} [{base['low']:.2f}, {base['high']:.2f}]")
    lines.append(f"base against itself: {none['shown']} of {none['resamplings']} called changed ({none['share']:.1%})")
    return "\n".join(lines)


def _numbers(row: dict[str, Any]) -> list[str]:
    change = f"{row['change']:+.2f} [{row['change_low']:+.2f}, {row['change_high']:+.2f}]"
    return [f"{row['distance']:.2f} [{row['low']:.2f}, {row['high']:.2f}]", change, f"{row['control_change']:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder of a finished run.sh demo")
    parser.add_argument("--training-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--target", help="manifest of the target speaker reading accent.yaml; without it there is no t")
    parser.add_argument("--resamplings", type=int, default=RESAMPLINGS)
    chosen = parser.parse_args()
    workspace, probe = Workspace(chosen.demo.resolve()), load_probe(PROBE)
    runs = [trained(workspace, seed, chosen.epochs) for seed in range(chosen.training_seeds)]
    found = [evidence(workspace, run, chosen.epochs, chosen.target) for run in runs]
    first, key = RunFolder(workspace.run(runs[0])), found[0]["key"]
    results = {
        "tokens": {marker.set: len(probe.tokens(marker.set)) for marker in probe.markers},
        "trained": found,
        "voices": voices(first, key, SPEEDS),
        "null": null(probe, tokens_of(first, key, 0), chosen.resamplings),
    }
    print(text(results), file=sys.stderr)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

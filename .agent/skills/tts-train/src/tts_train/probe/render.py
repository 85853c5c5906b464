"""Rendering, in the backend's environment: every epoch speaks the probe through the one Speaker of its family.

render.json is written last and holds the hash of every wav and of the weights that spoke it: without it a folder is
unfinished, and when the weights have changed since, it is stale and made again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from tts_train.audio import read_audio, write_audio
from tts_train.backends import backend, base_of
from tts_train.files import atomic_write_bytes, read_json, require_space, sha256_file, write_json
from tts_train.output import progress
from tts_train.probe.keys import RenderKey, render_key, seeded, write_key
from tts_train.probe.probe import Probe, load_probe
from tts_train.training.gpus import gpu_held
from tts_train.training.run import Epoch, RunFolder
from tts_train.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tts_train.backends import Speaker

RENDER = "render.json"
MEASURES = "measures.json"
"""Written beside it by measuring; removed with it when it is stale."""
RENDERING = "rendering.json"
"""The same content while an epoch is being rendered: what a stopped render has finished is kept."""

BYTES_PER_EPOCH = 20_000_000


@dataclass(frozen=True)
class Rendered:
    """One item as one epoch spoke it."""

    id: str
    seed: int
    file: str
    audio_seconds: float
    rate: int
    stopped_by: str
    sha256: str


def render_folder(run: RunFolder, key: str, epoch: int) -> Path:
    """Where an epoch's render is, whether it exists or not."""
    return run.path / "renders" / key / f"epoch-{epoch:03d}"


def weights_sha256(run: RunFolder, epoch: Epoch) -> str:
    """Hash of the weights an epoch speaks with; the base's is in run.json."""
    if epoch.number:
        return epoch.weights_sha256
    return str(run.info().get("base", {}).get("sha256", epoch.weights_sha256))


def is_stale(folder: Path, weights: str) -> bool:
    """Whether the folder holds a render of other weights than these. Reads one small file; False without a render."""
    path = folder / RENDER
    return path.is_file() and read_json(path)["weights_sha256"] != weights


def is_current(folder: Path, weights: str, wanted: Sequence[tuple[str, int]]) -> bool:
    """Whether the folder holds a whole render of (item, seed) `wanted` by these weights, with every wav as written."""
    return {(item.id, item.seed) for item in _finished(folder, RENDER, weights)} == set(wanted)


def render_run(
    workspace: str,
    run: str,
    probe: str,
    epochs: Sequence[int],
    threads: int | None = None,
    seeds: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Render what is missing of `epochs` (worker entry, backend's environment); 0 is the base.

    `seeds` None takes the probe's, and those of a probe that names none from the family.
    Returns {key, epochs [{epoch, rendered, kept}], timings_seconds}. Raises ConfigError for an unknown epoch or a bad
    probe, Busy when somebody else computes on the GPU, and whatever loading the family's speaker raises.
    """
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config = folder.config()
    family = backend(config.backend)
    script = seeded(load_probe(Path(probe)), family, seeds)
    threads = threads or config.threads
    voice = folder.voice(place)
    key = render_key(script, family, threads, voice)
    chosen = [folder.epoch(number) for number in epochs]
    require_space(folder.path, BYTES_PER_EPOCH * len(chosen) * len(script.seeds))
    write_key(folder.path / "renders" / key.name, key)
    base = base_of(config, place)
    started = time.monotonic()
    with ExitStack() as gpu:

        def load(epoch: Epoch) -> Speaker:
            # From the first epoch that is not there yet: looking at finished ones needs no GPU.
            gpu.enter_context(gpu_held(str(voice.get("device", "cpu")), run=folder.path))
            return family.load_speaker(base, epoch.folder, threads, voice)

        done = [_render_epoch(folder, epoch, script, key, partial(load, epoch)) for epoch in chosen]
    return {
        "key": key.name,
        "epochs": done,
        "timings_seconds": {"render": round(time.monotonic() - started, 1)},
    }


def _render_epoch(
    run: RunFolder, epoch: Epoch, probe: Probe, key: RenderKey, load: Callable[[], Speaker]
) -> dict[str, Any]:
    target = render_folder(run, key.name, epoch.number)
    weights = weights_sha256(run, epoch)
    wanted = [(item, seed) for item in probe.items for seed in probe.seeds]
    if is_current(target, weights, [(item.id, seed) for item, seed in wanted]):
        return {"epoch": epoch.number, "rendered": 0, "kept": len(wanted)}
    kept = {(item.id, item.seed): item for name in (RENDER, RENDERING) for item in _finished(target, name, weights)}
    if target.exists() and not kept:
        rmtree(target)  # spoken by other weights, or nothing in it can be trusted
    if not kept and epoch.number == 0 and weights != epoch.weights_sha256:  # a base without a hash may be any
        kept = {(item.id, item.seed): item for item in _of_another_run(run, key, weights, target)}
    (target / RENDER).unlink(missing_ok=True)
    started = time.monotonic()
    done: list[Rendered] = []
    speaker: Speaker | None = None
    for item, seed in wanted:
        spoken = kept.get((item.id, seed))
        if spoken is None:
            if speaker is None:
                epoch.require_weights()
                speaker = load()
            spoken = _speak(speaker, target, item.id, item.text, seed, probe, key)
        done.append(spoken)
        _note(target / RENDERING, epoch.number, weights, done)
    _show(run.path / "tb" / f"probe-{key.name}", target, epoch.number, done)
    _note(target / RENDER, epoch.number, weights, done)
    (target / RENDERING).unlink()
    seconds = sum(item.audio_seconds for item in done)
    what = "rendered" if speaker else "took over"
    progress(f"{what} epoch {epoch.number}: {seconds:.0f} s of speech in {time.monotonic() - started:.1f} s")
    return {"epoch": epoch.number, "rendered": len(wanted) - len(kept), "kept": len(kept)}


def _of_another_run(run: RunFolder, key: RenderKey, weights: str, target: Path) -> list[Rendered]:
    """The base is the same for every run of a workspace: what it has said under this key is copied, not said again."""
    for other in sorted(run.path.parent.glob(f"*/renders/{key.name}/{target.name}")):
        if items := _finished(other, RENDER, weights):
            for item in items:
                atomic_write_bytes(target / item.file, (other / item.file).read_bytes())
            return items
    return []


def _speak(speaker: Speaker, folder: Path, item: str, text: str, seed: int, probe: Probe, key: RenderKey) -> Rendered:
    spoken = speaker.say(text, key.setting.knobs, seed)
    path = folder / (f"{item}.wav" if len(probe.seeds) == 1 else f"{item}.seed-{seed}.wav")
    write_audio(path, spoken.audio)
    return Rendered(
        item,
        seed,
        path.name,
        round(spoken.audio.seconds, 4),
        spoken.audio.rate,
        spoken.stopped_by,
        sha256_file(path),
    )


def _show(folder: Path, renders: Path, epoch: int, items: Sequence[Rendered]) -> None:
    """Let TensorBoard play the epoch: one player per item and seed, the epoch as its step."""
    import torch
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for item in items:
            audio = read_audio(renders / item.file)
            name = f"{item.id}/seed-{item.seed}"
            writer.add_audio(name, torch.from_numpy(audio.samples)[None], epoch, sample_rate=audio.rate)


def _note(path: Path, epoch: int, weights: str, items: Sequence[Rendered]) -> None:
    write_json(path, {"epoch": epoch, "weights_sha256": weights, "items": [asdict(item) for item in items]})


def _finished(folder: Path, name: str, weights: str) -> list[Rendered]:
    """Items that `name` lists for these weights and whose wav is still the one that was written."""
    path = folder / name
    if not path.is_file():
        return []
    noted = read_json(path)
    if noted["weights_sha256"] != weights:
        return []
    items = [Rendered(**item) for item in noted["items"]]
    return [item for item in items if (folder / item.file).is_file() and sha256_file(folder / item.file) == item.sha256]

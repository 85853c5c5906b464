"""Qwen3-TTS against the usual way, as ratios measured in one run: `python benchmarks/qwen3.py` in the project
environment (README, "Benchmarks"). CPU time of one thread, median of --repeats; nothing here is asserted by a test.

The model is the real one in the proportions of 0.6B (28 + 5 layers), 64 wide, with random weights: ratios carry over to
other sizes roughly, seconds do not.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

import official_style
from timing import cpu, ratio
from tiny_qwen3 import build
from tts_train.audio import Audio, write_audio
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3 import codec as codecs
from tts_train.backends.qwen3 import codes, estimate, layout, parts
from tts_train.backends.qwen3.objective import Objective
from tts_train.backends.qwen3.vectors import speaker_vector
from tts_train.training.batching import bucketed

BATCH = 8
CLIPS = 48
SENTENCES = (
    "The path was muddy in the sunshine.",
    "She put the book on the window sill and looked out at the rain.",
    "Nobody asked.",
    "Half past nine, and the last bus to town had gone without either of them noticing it.",
)


@dataclass
class Stage:
    """Everything measured on: a base, clips of lognormal lengths (mean 5.7 s), a manifest with random codes."""

    folder: Path
    repeats: int
    seconds: np.ndarray
    rng: np.random.Generator

    @property
    def frames(self) -> np.ndarray:
        return np.ceil(self.seconds * 12.5).astype(int)


def conversion(stage: Stage) -> dict[str, Any]:
    """64 clips to codes; ours are compared with the codec's codes for each clip alone."""
    codec = codecs.load_codec(str(stage.folder / "base"))
    waves = [
        (stage.rng.standard_normal(int(24000 * seconds)) * 0.05).astype(np.float32) for seconds in stage.seconds[:64]
    ]
    alone = [codec.tokenizer.encode([wave], sr=24000).audio_codes[0].numpy() for wave in waves]
    ours = [codec.encode(wave) for wave in waves]
    usual = [code.numpy() for code in official_style.encode(codec.tokenizer, waves)]
    times = ratio(
        cpu(lambda: official_style.encode(codec.tokenizer, waves), stage.repeats),
        cpu(lambda: [codec.encode(wave) for wave in waves], stage.repeats),
    )
    return {
        **times,
        "our_clips_exact": sum(np.array_equal(one, two) for one, two in zip(ours, alone, strict=True)),
        "usual_clips_exact": sum(np.array_equal(one, two) for one, two in zip(usual, alone, strict=True)),
        "clips": len(waves),
    }


def steps(stage: Stage) -> dict[str, Any]:
    """Forward and backward over 48 clips in batches of 8."""
    base = bases.describe(stage.folder / "base", "base")
    wrapper = bases.load_model(base)
    model, ids = wrapper.model, layout.SpecialIds.from_config(base.config)
    model.train()
    tokenizer = bases.text_tokenizer(wrapper)
    reference = stage.folder / "reference.wav"
    wave = (stage.rng.standard_normal(4 * 24000) * 0.05).astype(np.float32)
    write_audio(reference, Audio(wave, 24000))
    vector = speaker_vector(wrapper, reference)
    rows = [
        {"text": SENTENCES[number % 4], "audio_codes": stage.rng.integers(0, 2048, (frames, 16)).tolist()}
        for number, frames in enumerate(stage.frames[:CLIPS])
    ]
    prompts = [tokenizer.prompt_ids(row["text"]) for row in rows]
    arrays = [np.array(row["audio_codes"], np.int16) for row in rows]
    objective = Objective(model)
    sampled = Objective(model, subtalker_frames=0.25)
    order = bucketed(range(CLIPS), lambda number: len(arrays[number]), size=BATCH, bucket=50, epoch=1, seed=0)

    def usual() -> None:
        for start in range(0, CLIPS, BATCH):
            items = [official_style.item(prompts[one], rows[one], ids, wave) for one in range(start, start + BATCH)]
            official_style.loss(model, items).backward()
        model.zero_grad()

    def ours(chosen: Objective) -> None:
        for names in order:
            batch = layout.collate(
                [layout.utterance(prompts[one], arrays[one], ids, None) for one in names], [vector] * len(names)
            )
            torch.stack(list(chosen(batch).values())).sum().backward()
        model.zero_grad()

    before = cpu(usual, stage.repeats)
    return {
        "all_frames": ratio(before, cpu(lambda: ours(objective), stage.repeats)),
        "subtalker_frames_0.25": ratio(before, cpu(lambda: ours(sampled), stage.repeats)),
        "mel_and_speaker_encoder_after_start": _encoder_calls(model, lambda: ours(objective)),
    }


def _encoder_calls(model: Any, work: Callable[[], None]) -> int:
    calls = 0

    def count(*_given: object) -> None:
        nonlocal calls
        calls += 1

    hook = model.speaker_encoder.register_forward_hook(count)
    work()
    hook.remove()
    return calls


def data(stage: Stage, clips: int = 4000) -> dict[str, Any]:
    """From the manifest to rows of codes: JSON lists against the memory-mapped cache."""
    manifest = stage.folder / "train_manifest_qwen3.jsonl"
    (stage.folder / "a.wav").write_bytes((stage.folder / "reference.wav").read_bytes())
    with manifest.open("w") as file:
        for number, frames in enumerate(stage.frames[:clips]):
            row = {"id": f"{number:05d}", "audio": "a.wav", "text": SENTENCES[number % 4], "ref_audio": "reference.wav"}
            row |= {"audio_codes": stage.rng.integers(0, 2048, (frames, 16)).tolist(), "speaker": "a", "language": "en"}
            file.write(json.dumps(row) + "\n")
    codes.open_coded(manifest)

    def usual() -> None:
        for row in official_style.read_manifest(manifest):
            torch.tensor(row["audio_codes"], dtype=torch.long)

    def ours() -> None:
        opened = codes.open_coded(manifest)
        for clip in opened.clips:
            torch.from_numpy(opened.codes(clip).astype(np.int64))

    return {
        **ratio(cpu(usual, stage.repeats), cpu(ours, stage.repeats)),
        "clips": clips,
        "manifest_megabytes": round(manifest.stat().st_size / 1e6, 1),
    }


def padding(stage: Stage) -> dict[str, Any]:
    """Share of positions that are padding, 20,000 clips, 18 text tokens each."""
    lengths = [layout.length(26, int(frames), tagged=True) for frames in stage.frames]
    shares = {}
    for size in (2, 8, 32):
        batches = bucketed(range(len(lengths)), lengths.__getitem__, size=size, bucket=50, epoch=1, seed=0)
        shuffled = stage.rng.permutation(len(lengths)).tolist()
        random = [shuffled[start : start + size] for start in range(0, len(lengths), size)]
        shares[f"batch_{size}"] = {"usual": _padding(random, lengths), "ours": _padding(batches, lengths)}
    return shares


def _padding(batches: Any, lengths: list[int]) -> float:
    padded = sum(max(lengths[one] for one in batch) * len(batch) for batch in batches)
    return round(1 - sum(lengths) / padded, 4)


def memory(stage: Stage) -> dict[str, Any]:
    """Bytes of weights, gradients and AdamW's moments: by arithmetic from config.json, and counted after one step."""
    base = bases.describe(stage.folder / "base", "base")
    rows = {}
    for name, freeze, lora in (
        ("full", [], None),
        ("frozen text embedding", ["text_embedding"], None),
        ("LoRA 16", [], SimpleNamespace(rank=16, alpha=32.0, dropout=0.0)),
    ):
        objective = Objective(bases.load_model(base).model)
        parts.prepare(objective, freeze, lora)
        optimizer = torch.optim.AdamW(parts.param_groups(objective, 0.01), lr=1e-5)
        trainable = [weight for weight in objective.parameters() if weight.requires_grad]
        for weight in trainable:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
        moments = sum(
            value.numel() * value.element_size()
            for state in optimizer.state.values()
            for key, value in state.items()
            if key != "step"
        )
        counted = sum(weight.numel() * 4 for weight in objective.parameters())
        counted += sum(weight.numel() * 4 for weight in trainable) + moments
        predicted = estimate.training_bytes(base.config, freeze=freeze, lora_rank=lora.rank if lora else None)
        rows[name] = {"counted_bytes": counted, "arithmetic_bytes": predicted}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    seconds = np.clip(rng.lognormal(np.log(5), 0.5, 20_000), 1.5, 20)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), repeats, seconds, rng)
        build(stage.folder / "base", layers=28, predictor_layers=5)
        results = {}
        for section in (conversion, steps, data, padding, memory):
            print(f"{section.__name__}…", file=sys.stderr, flush=True)
            results[section.__name__] = section(stage)
    results["machine"] = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    print(json.dumps({"repeats": repeats, **results}, indent=2))


if __name__ == "__main__":
    main()

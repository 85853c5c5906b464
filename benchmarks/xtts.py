"""XTTS-v2 against coqui-tts's own trainer and loading, as ratios measured in one run: `python benchmarks/xtts.py` in
the skill environment (README, "Benchmarks"). CPU time of one thread, median of --repeats; nothing here is asserted by a
test.

The GPT is tiny (2 layers, 64 wide), the DVAE has the published size, the vocoder is small. So the epoch's ratio is that
of a machine where the GPT costs next to nothing: on a GPU with the published GPT encoding is about 1 % of a step, and
what remains of it is that nobody waits for files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import platform
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

import tiny_xtts
from timing import cpu, ratio
from tts_train.audio import Audio, write_audio
from tts_train.backends import backend
from tts_train.backends.xtts import generate, speaker
from tts_train.config import TrainConfig
from tts_train.workspace import Workspace

CLIPS = 16
BATCH = 4
EPOCHS = 4
SENTENCES = " ".join(
    f"{start} the path was muddy in the sunshine, and she put the book on the window sill and looked out at the rain, "
    "until the last bus had gone without either of them noticing it."
    for start in ("one day", "then", "and so", "again", "at last", "after that", "before noon", "in the end")
)


@dataclass
class Stage:
    """A base, a dataset in both formats, and where results go."""

    folder: Path
    repeats: int

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder)

    def prepare(self) -> None:
        """16 clips of 2.6 to 4.1 s at 22.05 kHz: stock then does not resample."""
        tiny_xtts.build(self.base, dvae="true")
        rng = np.random.default_rng(0)
        rows = []
        for number in range(CLIPS):
            seconds = 2.6 + 0.1 * number
            tone = np.sin(np.arange(int(22050 * seconds)) * (0.03 + 0.005 * number))
            samples = (0.2 * tone + 0.02 * rng.standard_normal(len(tone))).astype(np.float32)
            write_audio(self.folder / f"clips/{number:02d}.wav", Audio(samples, 22050))
            row = {"id": f"{number:02d}", "audio_file": f"clips/{number:02d}.wav", "text": "the dog jumps"}
            rows.append({**row, "speaker": "a", "language": "en", "audio_seconds": seconds})
        (self.folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def config(self) -> TrainConfig:
        settings = {"voice": "a", "backend": "xtts", "dataset": "manifest.jsonl", "base": str(self.base)}
        more = {"epochs": EPOCHS, "batch_size": BATCH, "lr": 5e-4, "threads": 1}
        # No clip of this small base's limits is long enough to be chosen by itself.
        return TrainConfig.model_validate({**settings, **more, "xtts": {"reference": "clips/15.wav"}})


def epochs(stage: Stage) -> dict[str, Any]:
    """Forward, backward and optimizer over 16 clips, without saving; then the bytes that an epoch leaves on disk."""
    usual, usual_bytes = _stock_epochs(stage)
    task = backend("xtts").load_task(stage.config(), stage.workspace)
    optimizer = torch.optim.AdamW(task.param_groups(), lr=5e-4)
    task.module.train()
    numbers = iter(range(1, 100))

    def epoch() -> None:
        for batch in task.batches(next(numbers), 0):
            torch.stack(list(task.module(batch).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(task.module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    seconds = cpu(epoch, stage.repeats)
    for number in range(1, EPOCHS + 1):
        epoch()
        folder = stage.folder / f"epoch-{number}"
        folder.mkdir()
        task.export(folder)
    written = sum(file.stat().st_size for file in (stage.folder / "epoch-1").iterdir())
    return {
        "epoch": ratio(usual, seconds),
        "bytes_per_epoch": {"usual": usual_bytes, "ours": written, "share": round(written / usual_bytes, 3)},
    }


def _stock_epochs(stage: Stage) -> tuple[float, int]:
    """CPU seconds of coqui's training epochs (median without the first), and bytes it saves for one that improves."""
    from trainer import Trainer, TrainerArgs
    from TTS.config.shared_configs import BaseDatasetConfig
    from TTS.tts.configs.xtts_config import XttsAudioConfig
    from TTS.tts.layers.xtts.trainer.gpt_trainer import GPTArgs, GPTTrainer, GPTTrainerConfig

    known = {field.name for field in fields(GPTArgs)}
    named = json.loads((stage.base / "config.json").read_text())["model_args"]
    sizes = {name: value for name, value in named.items() if name in known and value is not None}
    for text in ("gpt_number_text_tokens", "gpt_start_text_token", "gpt_stop_text_token", "gpt_checkpoint"):
        sizes.pop(text, None)
    files = {"mel_norm_file": "mel_stats.pth", "dvae_checkpoint": "dvae.pth", "xtts_checkpoint": "model.pth"}
    sizes |= {name: str(stage.base / file) for name, file in files.items()}
    sizes["tokenizer_file"] = str(stage.base / "vocab.json")
    config = GPTTrainerConfig(
        epochs=stage.repeats + 1,
        output_path=str(stage.folder / "stock"),
        model_args=GPTArgs(**sizes),
        audio=XttsAudioConfig(),
        datasets=[BaseDatasetConfig(dataset_name="a", path=str(stage.folder), language="en")],
        batch_size=BATCH,
        eval_batch_size=2,
        num_loader_workers=0,
        num_eval_loader_workers=0,
        print_step=1000,
        plot_step=1000,
        save_step=10**9,
        optimizer="AdamW",
        optimizer_wd_only_on_weights=True,
        optimizer_params={"betas": [0.9, 0.96], "eps": 1e-8, "weight_decay": 1e-2},
        lr=5e-4,
        lr_scheduler=None,
        grad_clip=1.0,
    )
    samples = [
        {"text": "the dog jumps", "audio_file": str(file), "speaker_name": "a", "root_path": "", "language": "en"}
        for file in sorted((stage.folder / "clips").glob("*.wav"))
    ]
    samples = [{**sample, "audio_unique_name": sample["audio_file"]} for sample in samples]
    started: list[float] = []
    ended: list[float] = []
    sizes_after: list[int] = []

    def after(trainer: Any) -> None:
        sizes_after.append(sum(file.stat().st_size for file in Path(trainer.output_path).glob("*.pth")))

    trainer = Trainer(
        TrainerArgs(),
        config,
        output_path=config.output_path,
        model=GPTTrainer(config),
        train_samples=samples,
        eval_samples=samples[:2],
        parse_command_line_args=False,
        callbacks={
            "on_train_epoch_start": lambda _trainer: started.append(time.process_time()),
            "on_train_epoch_end": lambda _trainer: ended.append(time.process_time()),
            "on_epoch_end": after,
        },
    )
    trainer.fit()
    seconds = [end - start for start, end in zip(started, ended, strict=True)]
    return median(seconds[1:]), sizes_after[0]


def probes(stage: Stage) -> dict[str, Any]:
    """One short item by every epoch: each checkpoint loaded anew, as stock does it, against swapping the GPT."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    from tts_train.backends.xtts.export import export_voice

    reference = str(stage.folder / "clips/15.wav")
    voice = {"language": "en", "reference": reference}
    folders = [stage.folder / f"epoch-{number}" for number in range(1, EPOCHS + 1)]
    whole = [
        Path(export_voice(str(stage.base), folder, stage.folder / "whole", folder.name, voice)["folder"])
        for folder in folders
    ]

    def stock() -> None:
        for folder in whole:
            config = XttsConfig()
            config.load_json(str(folder / "config.json"))
            model = Xtts(config)
            model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
            model.get_conditioning_latents(audio_path=[reference])

    knobs = backend("xtts").knobs

    def ours() -> None:
        for folder in folders:
            spoken = speaker.load(str(stage.base), folder, 1, voice)
            spoken._conditioning(spoken._carried(), knobs)  # noqa: SLF001  ready to speak, as stock is above

    ours()  # the base is loaded once per process, whatever the number of epochs
    return {"epochs": EPOCHS, "ready_to_speak": ratio(cpu(stock, stage.repeats), cpu(ours, stage.repeats))}


def batches(stage: Stage) -> dict[str, Any]:
    """Eight sentences greedily: one by one, and in one batch."""
    voice = {"language": "en", "reference": str(stage.folder / "clips/15.wav")}
    spoken = speaker.load(str(stage.base), None, 1, voice)
    model = spoken._carried()  # noqa: SLF001
    knobs = {**backend("xtts").knobs, "do_sample": False}
    with torch.inference_mode():
        latents, _ = spoken._conditioning(model, knobs)  # noqa: SLF001
        utterances = spoken._utterances(SENTENCES, "en")  # noqa: SLF001

        def said(*, batched: bool) -> list[torch.Tensor]:
            return generate.codes(model, latents, utterances, {**knobs, "batched": batched}, 0)

        alone, together = said(batched=False), said(batched=True)
        equal = [torch.equal(one, two) for one, two in zip(alone, together, strict=True)]
        times = ratio(cpu(lambda: said(batched=False), stage.repeats), cpu(lambda: said(batched=True), stage.repeats))
    return {**times, "sentences": len(utterances), "identical": sum(equal), "tokens": [len(one) for one in alone]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    warnings.filterwarnings("ignore")
    for name in ("trainer", "TTS", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, tiny_xtts.shrink(dvae=False):
        stage = Stage(Path(folder), repeats)
        results = {}
        with contextlib.redirect_stdout(sys.stderr):
            stage.prepare()
            for section in (epochs, probes, batches):
                print(f"{section.__name__}…", flush=True)
                results[section.__name__] = section(stage)
        results["machine"] = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    print(json.dumps({"repeats": repeats, **results}, indent=2))


if __name__ == "__main__":
    main()

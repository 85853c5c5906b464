"""Training a Piper voice by aligned regression, as a `Task` for the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tts_train.backends.piper import PACKAGED, examples, losses, model, onnx_voice, parity, weights
from tts_train.backends.piper.phonemes import Phonemizer, require_phonemizer
from tts_train.dataset import dataset_sha256
from tts_train.errors import InputUnusable
from tts_train.files import sha256_json
from tts_train.training.batching import bucketed, cut
from tts_train.training.split import Split, split

if TYPE_CHECKING:
    from tts_train.backends.piper.examples import Example
    from tts_train.clip import Clip
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

Batch = tuple[int, ...]
"""Numbers of examples."""

BETAS = (0.8, 0.99)
"""Adam's, as VITS is trained."""

_BUCKET = 8
"""Batches per bucket of clips of like length: padding is work for nothing."""


class Objective(nn.Module):
    """The voice with its losses: batch of example numbers → weighted terms."""

    def __init__(
        self, voice: model.PiperVits, corpus: Sequence[Example], rate: int, noise: float, segment: int
    ) -> None:
        super().__init__()
        self.voice = voice
        self.spectral = losses.SpectralLoss(rate)
        self.trains_duration = True
        self._noise, self._segment, self._hop = noise, segment, voice.sizes.hop
        self._ids = [torch.tensor(example.ids) for example in corpus]
        self._durations = [torch.tensor(example.durations) for example in corpus]
        self._samples = [torch.from_numpy(example.samples) for example in corpus]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """One random window per clip. Draws from torch's global generator: the windows, then the prior's noise."""
        device = next(self.parameters()).device
        ids = pad_sequence([self._ids[index] for index in batch], batch_first=True).to(device)
        durations = pad_sequence([self._durations[index] for index in batch], batch_first=True).to(device)
        lengths = torch.tensor([len(self._ids[index]) for index in batch], device=device)
        first = self._windows(durations.sum(1))
        encoded = self.voice.encode(ids, lengths)
        latent = self.voice.frames(encoded, durations, self._noise, (first, self._segment))
        target = self._target(batch, first).to(device)
        # Samples are made and compared in float32: in bfloat16 their rounding is louder than what clips are quiet of.
        with torch.autocast(device.type, enabled=False):
            terms = self.spectral(self.voice.decode(latent.float()), target)
        if self.trains_duration:
            predicted = self.voice.log_durations(encoded)
            terms["duration"] = losses.duration_loss(predicted, durations, encoded.mask.squeeze(1))
        return dict(terms)

    def _windows(self, totals: Tensor) -> Tensor:
        """A first frame per clip, every place alike."""
        choices = totals - self._segment + 1
        return (torch.rand(len(totals)).to(totals.device) * choices).long().clamp(max=choices - 1)

    def _target(self, batch: Batch, first: Tensor) -> Tensor:
        length = self._segment * self._hop
        starts = (first * self._hop).tolist()
        return torch.stack(
            [self._samples[index][start : start + length] for index, start in zip(batch, starts, strict=True)]
        )


@dataclass
class PiperTask:
    """Implements `training.task.Task`."""

    module: Objective
    corpus: tuple[Example, ...]
    base_sha256: str
    batch_size: int
    parts: tuple[str, ...]
    report: dict[str, Any]
    split: Split = field(default_factory=Split)
    """Which examples are measured and which are trained on."""

    def __post_init__(self) -> None:
        self.module.trains_duration = "duration" in self.parts
        for name, part in self.module.voice.named_children():
            part.requires_grad_(name in self.parts)

    @property
    def trainable_parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters() if weight.requires_grad)

    def batches(self, epoch: int, seed: int) -> list[Batch]:
        """Every clip once; clips of like length share a batch, the order is shuffled anew each epoch."""
        return bucketed(
            [index for index, example in enumerate(self.corpus) if self.split.trains(example.id)],
            self._length,
            size=self.batch_size,
            bucket=_BUCKET,
            epoch=epoch,
            seed=seed,
        )

    def validation_batches(self) -> list[Batch]:
        """The held-out clips, shortest first."""
        held = [index for index, example in enumerate(self.corpus) if example.id in self.split.held_out]
        return cut(sorted(held, key=self._length), self.batch_size)

    def _length(self, index: int) -> int:
        return len(self.corpus[index].ids)

    def param_groups(self) -> list[dict[str, Any]]:
        """One group per trained part, in the order of the model."""
        return [
            {"name": name, "params": list(part.parameters()), "betas": BETAS}
            for name, part in self.module.voice.named_children()
            if name in self.parts
        ]

    def export(self, folder: Path) -> None:
        weights.save(self.module.voice, folder, self.base_sha256)

    def load_weights(self, folder: Path) -> None:
        self.module.voice.load(weights.load(folder, self.base_sha256))

    def state(self) -> dict[str, Any]:
        return {"corpus_sha256": self._fingerprint()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state.get("corpus_sha256") != self._fingerprint():
            raise InputUnusable(
                "the clips or their durations are no longer those this run began with",
                hint="restore the dataset, or train a new run from this one's last epoch",
            )

    def _fingerprint(self) -> str:
        return sha256_json([[example.id, example.key, example.ids, example.durations] for example in self.corpus])


def load(config: TrainConfig, clips: Sequence[Clip], workspace: Workspace) -> PiperTask:
    """Read the base, prove that torch speaks it, align every clip.

    Raises Unavailable (before any work) without the phonemizer, ConfigError for a base that cannot be hosted,
    InputUnusable when no clip can be trained on.
    """
    require_phonemizer()
    torch.set_num_threads(config.threads)
    base = config.base if config.base == PACKAGED else str(workspace.path(config.base))
    voice = onnx_voice.read(base)
    generator = model.build(voice.architecture, voice.weights)
    manifest = workspace.path(config.dataset)
    cache = manifest.parent / "parts" / "piper"
    proven = parity.require(voice, generator, cache)
    aligner = examples.Aligner(generator, Phonemizer(voice.settings), voice, cache, config.piper.segment_frames)
    corpus = aligner.corpus(clips, manifest)
    module = Objective(generator, corpus.examples, voice.rate, config.piper.noise, config.piper.segment_frames)
    usable = {example.id for example in corpus.examples}
    parted = split([clip for clip in clips if clip.id in usable], config.validation_clips, config.seed)
    trained = [example for example in corpus.examples if parted.trains(example.id)]
    report = {
        "dataset_sha256": dataset_sha256(manifest, clips),
        "base": {"file": voice.file.name, "sha256": voice.sha256},
        "parity": proven.as_json(),
        "clips": len(trained),
        "audio_seconds": round(sum(len(example.samples) for example in trained) / voice.rate, 2),
        "gain": corpus.gain,
        "rejected": dict(Counter(rejected.reason for rejected in corpus.rejected)),
        "rejections": [rejected.as_json() for rejected in corpus.rejected],
        **parted.as_json(),
    }
    parts = tuple(config.piper.train)
    return PiperTask(module, corpus.examples, voice.sha256, config.batch_size, parts, report, parted)

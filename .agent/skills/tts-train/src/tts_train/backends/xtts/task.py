"""Training XTTS-v2's GPT, as a `Task` for the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tts_train.backends import base_of
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint, examples, reference, text
from tts_train.backends.xtts.objective import OBJECTIVE, Objective, collate
from tts_train.backends.xtts.voice import load_voice
from tts_train.dataset import dataset_sha256, load_manifest
from tts_train.errors import InputUnusable
from tts_train.files import sha256_file, sha256_json
from tts_train.output import progress
from tts_train.training.batching import bucketed, cut
from tts_train.training.groups import decay_groups
from tts_train.training.split import split

if TYPE_CHECKING:
    from tts_train.backends.xtts.examples import Conditioner, Corpus, Example
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

BETAS = (0.9, 0.96)
"""Adam's, as in coqui's recipe."""
_BUCKET = 50
"""Batches per bucket of clips of like length."""


class Trained(nn.Module):
    """The objective over clip ids: a clip's conditioning is drawn where it is used, anew in every epoch."""

    def __init__(self, objective: Objective, corpus: Mapping[str, Example], conditioner: Conditioner) -> None:
        super().__init__()
        self.objective = objective
        self._corpus, self._conditioner = corpus, conditioner

    def forward(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Draws from torch's global generator in training; validation is conditioned on fixed pieces."""
        chosen = [self._corpus[name] for name in names]
        piece = self._conditioner.draw if self.training else self._conditioner.fixed
        batch = collate(chosen, [piece(example) for example in chosen])
        device = next(self.objective.parameters()).device
        terms: dict[str, Tensor] = self.objective(batch.to(device))
        return terms


@dataclass
class XttsTask:
    """Implements `training.task.Task`."""

    module: Trained
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    base_sha256: str
    config: TrainConfig
    report: dict[str, Any]

    @property
    def trainable_parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters() if weight.requires_grad)

    def batches(self, epoch: int, seed: int) -> list[tuple[str, ...]]:
        """Every clip once; clips of like length share a batch, the order is shuffled anew each epoch."""
        positions = {example.id: example.positions for example in self.train}
        size = self.config.batch_size
        return bucketed(list(positions), positions.__getitem__, size=size, bucket=_BUCKET, epoch=epoch, seed=seed)

    def validation_batches(self) -> list[tuple[str, ...]]:
        """The held-out clips, shortest first."""
        ordered = sorted(self.validation, key=lambda example: (example.positions, example.id))
        return cut([example.id for example in ordered], self.config.batch_size)

    def param_groups(self) -> list[dict[str, Any]]:
        return decay_groups(self.module.objective, self.config.weight_decay, BETAS)

    def export(self, folder: Path) -> dict[str, Any]:
        state = self.module.objective.state_dict()
        return checkpoint.write(folder, state, self.base_sha256, self.config.xtts.save_dtype) | {"objective": OBJECTIVE}

    def load_weights(self, folder: Path) -> None:
        self.module.objective.load_state_dict(checkpoint.read(folder, self.base_sha256))

    def state(self) -> dict[str, Any]:
        return {"corpus_sha256": sha256_json([[item.id, item.key] for item in self.train]), "objective": OBJECTIVE}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state != self.state():
            raise InputUnusable(
                "the clips or the objective are no longer those this run began with",
                hint="restore the dataset, or train a new run from this one's last epoch",
            )


def load(config: TrainConfig, workspace: Workspace) -> XttsTask:
    """Read the base, make examples of the clips, set up the objective.

    Raises ConfigError and InputUnusable for data that cannot be trained on, Unavailable when the base is not there.
    """
    torch.set_num_threads(config.threads)
    base = bases.describe(bases.find(base_of(config, workspace)), config.base)
    voice = load_voice(base)
    torch.set_num_threads(config.threads)  # importing coqui-tts may have changed it
    manifest = workspace.path(config.dataset)
    corpus = examples.build(manifest, voice, config.xtts)
    clips = load_manifest(manifest)
    usable = {example.id for example in corpus.examples}
    parted = split([clip for clip in clips if clip.id in usable], config.validation_clips, config.seed)
    train = tuple(example for example in corpus.examples if parted.trains(example.id))
    validation = tuple(example for example in corpus.examples if example.id in parted.held_out)
    named = config.xtts.reference
    heard = reference.given(workspace.path(named)) if named else reference.choose(train)
    for warning in heard.warnings:
        progress(f"warning: {warning}")
    objective = Objective(
        voice.gpt, text_weight=config.xtts.text_weight, mask_conditioning=config.xtts.mask_conditioning
    )
    sha256 = bases.sha256(base)
    report = {
        "dataset_sha256": dataset_sha256(manifest, clips),
        "objective": OBJECTIVE,
        "base": {"name": config.base, "sha256": sha256},
        "voice": {
            "language": _language(config, train, base.languages),
            "reference": workspace.relative(heard.file),
            "reference_sha256": sha256_file(heard.file),
        },
        "reference": {"why": heard.why, "numbers": heard.numbers},
        "clips": len(train),
        "audio_seconds": round(sum(example.audio_seconds for example in train), 2),
        **_left_out(corpus),
        **parted.as_json(),
    }
    conditioner = examples.Conditioner(voice.mel_stats)
    module = Trained(objective, {example.id: example for example in corpus.examples}, conditioner)
    return XttsTask(module, train, validation, sha256, config, report)


def _language(config: TrainConfig, clips: Sequence[Example], known: Sequence[str]) -> str:
    """What the voice speaks: the config's language, or the one that most clips are in."""
    if config.xtts.language:
        return text.language_tag(config.xtts.language, known)
    there = Counter(example.language for example in clips)
    return max(sorted(there), key=lambda tag: there[tag])


def _left_out(corpus: Corpus) -> dict[str, Any]:
    return {"rejected": corpus.counts, "rejections": [item.as_json() for item in corpus.rejected]}

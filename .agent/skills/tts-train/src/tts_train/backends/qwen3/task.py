"""Training Qwen3-TTS on the aligned target, as a `Task` for the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tts_train.backends import base_of
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3 import checkpoint, codes, layout, parts
from tts_train.backends.qwen3.objective import OBJECTIVE, Objective
from tts_train.backends.qwen3.selection import Selection, select
from tts_train.backends.qwen3.vectors import speaker_vector
from tts_train.errors import InputUnusable
from tts_train.files import sha256_file, sha256_json
from tts_train.output import progress
from tts_train.training.batching import bucketed, cut

if TYPE_CHECKING:
    from tts_train.backends.qwen3.base import Base
    from tts_train.backends.qwen3.codes import CodedClip, CodedDataset
    from tts_train.backends.qwen3.layout import Batch, Row
    from tts_train.backends.qwen3.text import TextTokenizer
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

_BUCKET = 50
"""Batches per bucket of clips of like length: padding is work for nothing (research: 2.6 % at batch 32)."""


@dataclass(frozen=True)
class References:
    """Speaker vectors by reference file, each (hidden,), computed once; the checkpoint speaks with `main`'s."""

    vectors: Mapping[Path, Tensor]
    main: Path


class Corpus:
    """Clips as rows of the training layout. Token ids are made once; codes stay memory-mapped."""

    def __init__(
        self, selection: Selection, data: CodedDataset, base: Base, tokenizer: TextTokenizer, references: References
    ) -> None:
        self._data, self._references = data, references
        self._ids = layout.SpecialIds.from_config(base.config)
        self._language = None if selection.language == "auto" else base.languages[selection.language]
        self.clips = {clip.id: clip for clip in selection.clips}
        self.prompts = {clip.id: tokenizer.prompt_ids(clip.text) for clip in selection.clips}

    def row(self, clip: CodedClip) -> Row:
        return layout.utterance(self.prompts[clip.id], self._data.codes(clip), self._ids, self._language)

    def batch(self, names: Sequence[str]) -> Batch:
        """The clips `names` as one batch, each with its own reference's vector."""
        clips = [self.clips[name] for name in names]
        vectors = [self._references.vectors[self._data.file(clip.ref_audio)] for clip in clips]
        return layout.collate([self.row(clip) for clip in clips], vectors)

    def length(self, name: str) -> int:
        """Positions a clip takes."""
        return layout.length(len(self.prompts[name]), self.clips[name].frames, tagged=self._language is not None)


class Trained(torch.nn.Module):
    """The objective over clip names: batches are built where they are used, so that an epoch never stands in memory."""

    def __init__(self, objective: Objective, corpus: Corpus) -> None:
        super().__init__()
        self.objective = objective
        self._corpus = corpus

    def forward(self, names: Sequence[str]) -> dict[str, Tensor]:
        device = next(self.objective.parameters()).device
        terms: dict[str, Tensor] = self.objective(self._corpus.batch(names).to(device))
        return terms


@dataclass
class Qwen3Task:
    """Implements `training.task.Task`."""

    module: Trained
    corpus: Corpus
    selection: Selection
    base: Base
    references: References
    encoder: Mapping[str, Tensor]
    config: TrainConfig
    report: dict[str, Any]

    @property
    def trainable_parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters() if weight.requires_grad)

    def batches(self, epoch: int, seed: int) -> list[tuple[str, ...]]:
        """Every clip once; clips of like length share a batch, the order is shuffled anew each epoch."""
        names = sorted(clip.id for clip in self.selection.train)
        return bucketed(names, self.corpus.length, size=self.config.batch_size, bucket=_BUCKET, epoch=epoch, seed=seed)

    def validation_batches(self) -> list[tuple[str, ...]]:
        """The held-out clips, shortest first."""
        names = sorted(clip.id for clip in self.selection.validation)
        return cut(sorted(names, key=self.corpus.length), self.config.batch_size)

    def param_groups(self) -> list[dict[str, Any]]:
        return parts.param_groups(self.module.objective, self.config.weight_decay)

    def export(self, folder: Path) -> dict[str, Any]:
        facts = checkpoint.write(
            folder,
            base=self.base,
            weights=parts.merged_state(self.module.objective),
            speaker=self.selection.speaker,
            vector=self.references.vectors[self.references.main],
            voice={**self.report["voice"], "objective": OBJECTIVE},
            encoder=self.encoder,
            dtype=self.config.qwen3.save_dtype,
        )
        return {"weights": checkpoint.WEIGHTS, "objective": OBJECTIVE, **facts}

    def load_weights(self, folder: Path) -> None:
        parts.load_merged(self.module.objective, checkpoint.read_weights(folder))

    def state(self) -> dict[str, Any]:
        return {"corpus_sha256": self._fingerprint(), "objective": OBJECTIVE}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if state != self.state():
            raise InputUnusable(
                "the clips, their codes or the objective are no longer those this run began with",
                hint="restore them, or train a new run from this one's last epoch",
            )

    def _fingerprint(self) -> str:
        order = [clip.id for clip in self.selection.train]
        return sha256_json([self.report["dataset_sha256"], order, self.corpus.prompts])


def load(config: TrainConfig, workspace: Workspace) -> Qwen3Task:
    """Read codes and base, compute each distinct reference's speaker vector once, set up the objective.

    Raises ConfigError and InputUnusable for data that cannot be trained on, Unavailable when the base is not there.
    """
    torch.set_num_threads(config.threads)
    data = codes.open_coded(workspace.path(config.dataset))
    base = bases.describe(bases.find(base_of(config, workspace)), config.base)
    selection = select(config, data, base.languages)
    wrapper = bases.load_model(base, attention=config.qwen3.attention)
    references = _references(wrapper, selection, data)
    tokenizer = bases.text_tokenizer(wrapper)
    encoder = {name: value.clone() for name, value in wrapper.model.speaker_encoder.state_dict().items()}
    objective = Objective(
        wrapper.model,
        predictor_weight=config.qwen3.predictor_weight,
        subtalker_frames=config.qwen3.subtalker_frames,
    )
    torch.manual_seed(config.seed)  # adapters begin with random numbers
    parts.prepare(objective, config.qwen3.freeze, config.qwen3.lora)
    corpus = Corpus(selection, data, base, tokenizer, references)
    report = {
        "dataset_sha256": data.sha256,
        "objective": OBJECTIVE,
        "base": {"name": config.base, "size": base.size, "sha256": bases.sha256(base)},
        "voice": {
            "speaker": selection.speaker,
            "language": selection.language,
            "reference": workspace.relative(references.main),
            "reference_sha256": sha256_file(references.main),
            "attention": config.qwen3.attention,
        },
        "references": len(references.vectors),
        "clips": len(selection.train),
        "clips_of_other_speakers": selection.other_speakers,
        "audio_seconds": round(sum(clip.frames for clip in selection.train) / codes.FRAMES_PER_SECOND, 2),
        **selection.split.as_json(),
    }
    return Qwen3Task(Trained(objective, corpus), corpus, selection, base, references, encoder, config, report)


def _references(wrapper: Any, selection: Selection, data: CodedDataset) -> References:
    """One vector per distinct file. The voice speaks with the one that most clips have: training has seen it so."""
    count: dict[Path, int] = {}
    for clip in selection.clips:
        file = data.file(clip.ref_audio)
        count[file] = count.get(file, 0) + 1
    progress(f"speaker vectors of {len(count)} reference(s)")
    vectors = {file: speaker_vector(wrapper, file) for file in sorted(count)}
    return References(vectors, max(sorted(count), key=lambda file: count[file]))

"""One training as planned: what a config, a base, the chosen clips and this machine make of the estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends import hub
from tts_train.backends.machine import REFERENCE_GPU
from tts_train.backends.qwen3 import estimate
from tts_train.backends.qwen3.advice import Outlook
from tts_train.backends.qwen3.codes import FRAMES_PER_SECOND
from tts_train.backends.qwen3.estimate import Load, Variant
from tts_train.backends.qwen3.shape import PUBLISHED, Shape, size_in
from tts_train.backends.qwen3.text import AUTO, language_name
from tts_train.errors import ConfigError

if TYPE_CHECKING:
    from tts_train.backends.machine import Machine
    from tts_train.backends.qwen3.base import Base
    from tts_train.backends.qwen3.codes import CodedClip
    from tts_train.backends.qwen3.selection import Selection
    from tts_train.config import TrainConfig
    from tts_train.training.compute import Compute

LANGUAGES = (
    *("chinese", "english", "french", "german", "italian"),
    *("japanese", "korean", "portuguese", "russian", "spanish"),
)
"""What the published bases know, for planning before one is here."""
_REAL = 1e8
"""A model with more weights than this is no toy."""


@dataclass(frozen=True)
class Plan:
    """A training that can begin."""

    config: TrainConfig
    base: Base | None
    """None: a model on the hub that is not here yet."""
    selection: Selection
    machine: Machine
    compute: Compute
    runs: Path
    """Folder of all runs."""

    @property
    def size(self) -> str:
        return self.base.size if self.base else size_in(self.config.base)

    @property
    def shape(self) -> Shape:
        return Shape.from_config(self.base.config) if self.base else PUBLISHED[self.size]

    @property
    def variant(self) -> Variant:
        lora = self.config.qwen3.lora
        return Variant("text_embedding" in self.config.qwen3.freeze, lora.rank if lora else 0)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions of each training clip."""
        tagged = self.selection.language != AUTO
        return tuple(clip_positions(clip, tagged=tagged) for clip in self.selection.train)

    @property
    def steps_per_epoch(self) -> int:
        batches = -(-len(self.selection.train) // self.config.batch_size)
        return -(-batches // self.config.accumulation)

    @property
    def heaviest_batch(self) -> Load:
        """That of the longest clips."""
        longest = sorted(self.lengths)[-self.config.batch_size :]
        frames = sorted(clip.frames for clip in self.selection.train)[-self.config.batch_size :]
        return Load(len(longest) * longest[-1], sum(frames), self.config.qwen3.subtalker_frames)

    def costs(self) -> dict[str, Any]:
        """Minutes, memory, disk, with their basis, as the dry run prints them."""
        config, shape, variant, compute = self.config, self.shape, self.variant, self.compute
        gpu, threads = self.machine.reckoned_gpu(self.compute), min(config.threads, self.machine.cores)
        frames = sum(clip.frames for clip in self.selection.train)
        epoch = Load(estimate.padded(self.lengths, config.batch_size), frames, config.qwen3.subtalker_frames)
        flops = config.epochs * estimate.training_flops(shape, variant, epoch)
        workers = config.processes if gpu else threads
        memory = estimate.memory(
            shape,
            variant,
            batch=self.heaviest_batch,
            bfloat16=compute.precision == "bfloat16",
            processes=config.processes,
            gpu=gpu is not None,
        )
        disk = estimate.disk(
            shape,
            variant,
            epochs=config.epochs,
            save_bytes=4 if config.qwen3.save_dtype == "float32" else 2,
            codec_is_linked=_same_disk(self.base.folder if self.base else hub.cache(), self.runs),
        )
        elsewhere = (REFERENCE_GPU, "A100")
        return {
            "minutes": float(f"{estimate.minutes(flops, gpu=gpu, workers=workers):.3g}"),
            "basis": estimate.basis(gpu, threads),
            "minutes_elsewhere": {name: float(f"{estimate.minutes(flops, gpu=name):.2g}") for name in elsewhere},
            "disk_gigabytes": disk["total"],
            "disk": disk,
            "memory_gib": memory["total"],
            "memory": memory,
            "trainable_millions": round(estimate.trainable(shape, variant) / 1e6, 1),
            "padding": round(estimate.padding(self.lengths, config.batch_size), 3),
            "variants": estimate.table(batch=self.heaviest_batch),
        }

    def outlook(self) -> Outlook:
        """What advice needs to know."""
        chosen = self.selection
        known = self.base.languages if self.base else LANGUAGES
        return Outlook(
            size=self.size,
            clips=len(chosen.train),
            steps_per_epoch=self.steps_per_epoch,
            padding=estimate.padding(self.lengths, self.config.batch_size),
            longest_seconds=max(clip.frames for clip in chosen.train) / FRAMES_PER_SECOND,
            language=chosen.language,
            clip_languages=Counter(_tag(clip.language, known) for clip in chosen.clips),
            on_cpu=self.compute.device == "cpu",
            is_real=self.shape.total > _REAL,
        )

    def warnings(self, costs: dict[str, Any]) -> Iterator[str]:
        """What the base and this machine's memory may not be up to."""
        if self.base is None:
            yield (
                f"{self.config.base} is not on this machine, as a folder or in the hub's cache: training will first "
                f"download about {estimate.download_gigabytes(self.shape):.1f} GB, and what only the base can tell was "
                f"not checked. To have it now: hf download {self.config.base}"
            )
        short = self.machine.short_of_memory(costs["memory_gib"], self.compute, self.config.processes)
        if short:
            yield (
                f"{short}. Try a smaller batch_size with more accumulation, shorter clips, "
                "qwen3.freeze: [text_embedding], or qwen3.lora"
            )


def clip_positions(clip: CodedClip, *, tagged: bool) -> int:
    """Positions of a clip, with its text's tokens estimated."""
    return estimate.positions(estimate.text_tokens(clip.text), clip.frames, tagged=tagged)


def _tag(language: str, known: Collection[str]) -> str:
    """As the base calls it, or as written when the base does not know it."""
    try:
        return language_name(language, known) if language else ""
    except ConfigError:
        return language


def _same_disk(one: Path, other: Path) -> bool:
    def device(path: Path) -> int:
        whole = path.resolve()
        return next(place for place in (whole, *whole.parents) if place.exists()).stat().st_dev

    return device(one) == device(other)

"""One training as planned: what a config, a base, the clips and this machine make of the estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tts_train.backends.machine import REFERENCE_GPU
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import estimate
from tts_train.backends.xtts.advice import LICENCE, Outlook
from tts_train.backends.xtts.estimate import PUBLISHED, Load, Shape
from tts_train.backends.xtts.text import language_tag

if TYPE_CHECKING:
    from tts_train.backends.machine import Machine
    from tts_train.backends.xtts.base import Base
    from tts_train.clip import Clip
    from tts_train.config import TrainConfig, XttsSettings
    from tts_train.training.compute import Compute

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
"""What the published base knows, for planning before one is here."""
MIN_SECONDS = 0.5
_MOST_CODES = 601
"""Of the published base: 27.9 s."""
_REAL = 1e8
"""A model with more weights than this is no toy."""


@dataclass(frozen=True)
class Plan:
    """A training that can begin."""

    config: TrainConfig
    base: Base | None
    """None: a model on the hub that is not here yet."""
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    left_out: tuple[tuple[int, str], ...]
    """(line, reason) of clips whose length alone keeps them out."""
    machine: Machine
    compute: Compute

    @property
    def shape(self) -> Shape:
        return Shape.of(self.base) if self.base else PUBLISHED

    @property
    def clips(self) -> tuple[Clip, ...]:
        return self.train + self.validation

    @property
    def languages(self) -> Counter[str]:
        """The base's tag → clips, the most frequent first."""
        known, wanted = languages_of(self.base), self.config.xtts.language
        counted = Counter(language_tag(wanted or clip.language, known) for clip in self.clips)
        return Counter(dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))))

    @property
    def language(self) -> str:
        """That the voice speaks."""
        return next(iter(self.languages))

    @property
    def lengths(self) -> list[int]:
        """Positions of each training clip, its tokens estimated."""
        most = self.config.xtts.max_text_tokens
        return [
            estimate.positions(min(estimate.text_tokens(clip.text), most), clip.audio_seconds) for clip in self.train
        ]

    @property
    def steps_per_epoch(self) -> int:
        batches = -(-len(self.train) // self.config.batch_size)
        return -(-batches // self.config.accumulation)

    @property
    def heaviest_batch(self) -> Load:
        """That of the longest clips."""
        longest = sorted(self.lengths)[-self.config.batch_size :]
        return Load(len(longest), len(longest) * longest[-1])

    def costs(self) -> dict[str, Any]:
        """Minutes, memory, disk, with their basis, as the dry run prints them."""
        config, shape, compute = self.config, self.shape, self.compute
        gpu, threads = self.machine.reckoned_gpu(self.compute), min(config.threads, self.machine.cores)
        epoch = Load(len(self.train), estimate.padded(self.lengths, config.batch_size))
        flops = config.epochs * estimate.training_flops(shape, epoch)
        workers = config.processes if gpu else threads
        memory = estimate.memory(
            shape,
            batch=self.heaviest_batch,
            bfloat16=compute.precision == "bfloat16",
            processes=config.processes,
            gpu=gpu is not None,
        )
        disk = estimate.disk(
            shape,
            epochs=config.epochs,
            save_bytes=4 if config.xtts.save_dtype == "float32" else 2,
            audio_seconds=sum(clip.audio_seconds for clip in self.clips),
        )
        return {
            "minutes": float(f"{estimate.minutes(flops, gpu=gpu, workers=workers):.3g}"),
            "basis": estimate.basis(gpu, threads),
            "minutes_elsewhere": {
                name: float(f"{estimate.minutes(flops, gpu=name):.2g}") for name in (REFERENCE_GPU, "A100")
            },
            "disk_gigabytes": disk["total"],
            "disk": disk,
            "memory_gib": memory["total"],
            "memory": memory,
            "trainable_millions": round(shape.total / 1e6, 1),
            "padding": round(estimate.padding(self.lengths, config.batch_size), 3),
            "variants": estimate.table(),
        }

    def outlook(self) -> Outlook:
        """What advice needs to know."""
        return Outlook(
            clips=len(self.train),
            steps_per_epoch=self.steps_per_epoch,
            padding=estimate.padding(self.lengths, self.config.batch_size),
            language=self.language,
            languages=self.languages,
            speakers=Counter(clip.speaker for clip in self.clips),
            on_cpu=self.compute.device == "cpu",
            is_real=self.shape.total > _REAL,
        )

    def warnings(self, costs: dict[str, Any]) -> Iterator[str]:
        """What the base, the clips and this machine's memory may not be up to."""
        if self.base is None:
            terms = "" if bases.agreed() else f" {LICENCE}"
            yield (
                f"{self.config.base} is not on this machine, as a folder or in the hub's cache: training will first "
                f"download about {estimate.download_gigabytes(self.shape):.1f} GB, and what only the base can tell was "
                f"not checked. To have it now: {download_command(self.config.base)}.{terms}"
            )
        if self.left_out:
            counts = Counter(reason for _, reason in self.left_out)
            counted = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            lines = ", ".join(str(line) for line, _ in self.left_out[:5])
            yield (
                f"{len(self.left_out)} clips will be left out for their length alone: {counted} (first lines: {lines}; "
                f"from {MIN_SECONDS} to {longest(self.config.xtts, self.base):.1f} s are trained on)"
            )
        allowed = self.config.xtts.max_wav_seconds
        if allowed > longest(self.config.xtts, self.base):
            yield (
                f"max_wav_seconds {allowed:g} is more than the base can say in one go: "
                f"{longest(self.config.xtts, self.base):.1f} s are trained on"
            )
        short = self.machine.short_of_memory(costs["memory_gib"], self.compute, self.config.processes)
        if short:
            yield (
                f"{short}. Try a smaller batch_size (1 is fine) with more accumulation, "
                "or a smaller xtts.max_wav_seconds"
            )


def languages_of(base: Base | None) -> tuple[str, ...]:
    """What a base knows."""
    return base.languages if base else LANGUAGES


def longest(settings: XttsSettings, base: Base | None) -> float:
    """Seconds of the longest clip that is trained on: what the config allows and the base can say again."""
    most = base.sizes.max_codes if base else _MOST_CODES
    return min(settings.max_wav_seconds, most * bases.CODE_STRIDE / bases.SAMPLE_RATE)


def download_command(name: str) -> str:
    """What brings a base into the hub's cache, file by file."""
    return f"hf download {name} {' '.join(bases.FILES)}"

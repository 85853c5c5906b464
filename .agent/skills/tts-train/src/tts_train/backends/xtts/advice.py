"""What is worth saying of a config before it costs a night. Advice only: nothing here refuses.

Nothing was measured here on real weights, so each sentence says where its number comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tts_train.backends import remarks

if TYPE_CHECKING:
    from tts_train.config import TrainConfig

RECIPE_LR = 5e-6
"""Of coqui's recipe; the web UIs have it fixed, or as their default."""
RECIPE_SECONDS = 11.6
FEW_STEPS = 20
"""Optimizer steps an epoch, below which neighbouring epochs hardly differ."""
FOLKLORE = 252
"""batch size x accumulation, said to be the least by a comment in coqui's recipe."""
LICENCE = (
    "The weights are under the Coqui Public Model License (non-commercial use only; https://coqui.ai/cpml); when you "
    "agree to it: export COQUI_TOS_AGREED=1"
)


@dataclass(frozen=True)
class Outlook:
    """What examination knows of a training besides its config."""

    clips: int
    steps_per_epoch: int
    padding: float
    """Share of positions."""
    language: str
    """That the voice will speak."""
    languages: Mapping[str, int]
    """The base's tag → clips."""
    speakers: Mapping[str, int]
    on_cpu: bool
    is_real: bool
    """The published size, not a toy."""


def advise(config: TrainConfig, outlook: Outlook) -> tuple[str, ...]:
    """Every remark on this config, the most costly mistake first."""
    return (
        *_rate(config),
        *_steps(config, outlook),
        *_voice(outlook),
        *_parts(config),
        *(remarks.on_cpu(config, is_real=outlook.is_real) if outlook.on_cpu else ()),
        *_clips(config, outlook),
    )


def _rate(config: TrainConfig) -> Iterator[str]:
    lr = config.lr
    if lr >= 5 * RECIPE_LR:
        yield (
            f"lr {lr:.1e} is {lr / RECIPE_LR:.0f} times the recipe's {RECIPE_LR:.0e}; people report that voices "
            "overfit soon even below it (coqui-ai/TTS#3086). No rate was measured here on real weights. Accepted; "
            "listen to epoch 1 early"
        )
    elif lr <= RECIPE_LR / 10:
        yield f"lr {lr:.1e} is a tenth of the recipe's {RECIPE_LR:.0e} or less: expect no audible change"


def _steps(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    total = outlook.steps_per_epoch * config.epochs
    together = config.batch_size * config.accumulation
    if outlook.steps_per_epoch < FEW_STEPS:
        yield (
            f"only {outlook.steps_per_epoch} optimizer steps an epoch ({outlook.clips} clips, {together} a step), so "
            "neighbouring epochs will hardly differ: lower batch_size or accumulation, or bring more clips"
        )
    if together >= FOLKLORE:
        yield (
            f"batch_size x accumulation is {together}. That it must be {FOLKLORE} or more is folklore: a comment in "
            "coqui's recipe says so, its reviewers used 8 x 1 (coqui-ai/TTS#3086). For this dataset it means "
            f"{total} updates in {config.epochs} epochs; at small rates that sounds like the base"
        )
    if total < 100:
        yield f"{total} optimizer steps in all; a few hundred are usual before a voice moves"
    if config.schedule.warmup_steps > total / 3:
        yield f"the warm-up takes {config.schedule.warmup_steps} of {total} steps: most of the run stays below lr"
    horizon = config.schedule.horizon_steps
    if config.schedule.shape != "constant" and horizon is not None and horizon < total:
        yield f"lr is 0 from step {horizon} of {total} on: horizon_steps counts optimizer steps, not epochs"


def _voice(outlook: Outlook) -> Iterator[str]:
    if len(outlook.languages) > 1:
        yield (
            f"the clips are in {_counted(outlook.languages)}: each trains with its own tag, and the voice speaks "
            f"{outlook.language}, the most frequent; xtts.language trains and speaks all as one"
        )
    if len(outlook.speakers) > 1:
        yield (
            f"the clips have several speakers: {_counted(outlook.speakers)}. All are trained, each clip on a piece of "
            "itself; who speaks is decided by the reference alone, so set xtts.reference"
        )


def _parts(config: TrainConfig) -> Iterator[str]:
    settings = config.xtts
    if not settings.mask_conditioning:
        yield (
            "mask_conditioning is off: each clip is conditioned on a piece of itself and learns to say that piece as "
            "well, which it can copy"
        )
    if settings.save_dtype == "float16":
        yield (
            "epochs are saved in float16: half the disk, and updates below 0.05 % of their weight are rounded away. "
            "epoch.json says `rounding` beside `drift`: what was lost beside what was learnt"
        )
    if settings.max_wav_seconds > RECIPE_SECONDS:
        yield (
            f"max_wav_seconds {settings.max_wav_seconds:g} is beyond the recipe's {RECIPE_SECONDS}: the longest clip "
            "decides the memory of its batch (erew123/alltalk_tts#241: 20 s need batches of one on 12 GB)"
        )


def _clips(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    yield from remarks.padding(config, outlook.padding, outlook.clips)
    if config.validation_clips > outlook.clips / 4:
        yield f"{config.validation_clips} clips are held out, {outlook.clips} train: that is a large share"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or '(none)'} ({count})" for name, count in counts.items())

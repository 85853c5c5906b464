"""What is worth saying of a config before it costs a night. Advice only: nothing here refuses.

Learning rates in the field fall into two camps. 1e-8 to 2e-6 belongs to the official target, which is shifted: there,
less training is less harm. About 1e-5 is what the one project reports whose talker target is right. Nothing was
measured here on real weights, so each sentence says where its number comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tts_train.backends import remarks

if TYPE_CHECKING:
    from tts_train.config import TrainConfig

UPSTREAM_LR = 2e-6
FIELD_LR = 1e-5


@dataclass(frozen=True)
class Defaults:
    """Where to begin with a size."""

    lr: float
    batch_size: int
    epochs: int
    warmup_steps: int
    why: str


FULL = {
    "0.6B": Defaults(1e-5, 8, 6, 20, "1e-5 is what the one project with the right talker target reports"),
    "1.7B": Defaults(
        5e-6, 4, 6, 20, "half the rate reported for the right target, as is usual for a wider model; a guess"
    ),
}
LORA = Defaults(1e-4, 8, 6, 20, "adapters start at zero and take about ten times the rate of whole weights")


def defaults(size: str, *, lora: bool) -> Defaults:
    """Where to begin; a size that is not published begins like the small one."""
    whole = FULL.get(size, FULL["0.6B"])
    return Defaults(LORA.lr, whole.batch_size, LORA.epochs, LORA.warmup_steps, LORA.why) if lora else whole


@dataclass(frozen=True)
class Outlook:
    """What examination knows of a training besides its config."""

    size: str
    clips: int
    steps_per_epoch: int
    padding: float
    """Share of positions."""
    longest_seconds: float
    language: str
    clip_languages: Mapping[str, int]
    """Tag in the manifest, as the base calls it → clips."""
    on_cpu: bool
    is_real: bool
    """A published size, not a toy."""

    @property
    def only_language(self) -> str | None:
        return next(iter(self.clip_languages)) if len(self.clip_languages) == 1 else None


def advise(config: TrainConfig, outlook: Outlook) -> tuple[str, ...]:
    """Every remark on this config, the most costly mistake first."""
    return (
        *_rate(config, outlook),
        *_steps(config, outlook),
        *_language(outlook),
        *_parts(config, outlook),
        *(remarks.on_cpu(config, is_real=outlook.is_real) if outlook.on_cpu else ()),
        *_clips(config, outlook),
    )


def _rate(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    lr = config.lr
    if config.qwen3.lora:
        if lr > 1e-3:
            yield f"lr {lr:.1e} is high even for LoRA, where about 1e-4 is usual"
        elif lr < 1e-5:
            yield f"lr {lr:.1e} is low for LoRA, where about 1e-4 is usual: the voice may not move at all"
        return
    start = defaults(outlook.size, lora=False).lr
    if lr >= 5 * FIELD_LR:
        yield (
            f"lr {lr:.1e} is {lr / UPSTREAM_LR:.0f} times upstream's README ({UPSTREAM_LR:.0e}) and "
            f"{lr / FIELD_LR:.0f} times what the one project with the right talker target reports ({FIELD_LR:.0e}). "
            "Rates of 1e-8 to 2e-6, as people advise, belong to upstream's shifted target and say little about this "
            "one; no rate was measured here on real weights. Accepted; listen to epoch 1 early, or begin with "
            f"{start:.0e}. With LoRA 1e-4 is normal"
        )
    elif lr < 1e-6:
        yield (
            f"lr {lr:.1e} is below 1e-6: such rates come from upstream's shifted target, and from bfloat16 weights "
            "that round small steps away. Weights here are float32 and the target is right; expect no audible change. "
            f"Begin with {start:.0e}"
        )


def _steps(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    total = outlook.steps_per_epoch * config.epochs
    if outlook.steps_per_epoch < 10:
        yield (
            f"only {outlook.steps_per_epoch} optimizer steps an epoch, so neighbouring epochs will hardly differ: "
            "lower batch_size or accumulation, or bring more clips"
        )
    if total < 100:
        yield f"{total} optimizer steps in all; a few hundred are usual before a voice moves"
    if config.schedule.warmup_steps > total / 3:
        yield f"the warm-up takes {config.schedule.warmup_steps} of {total} steps: most of the run stays below lr"
    horizon = config.schedule.horizon_steps
    if config.schedule.shape != "constant" and horizon is not None and horizon < total:
        yield f"lr is 0 from step {horizon} of {total} on: horizon_steps counts optimizer steps, not epochs"


def _language(outlook: Outlook) -> Iterator[str]:
    tag = outlook.only_language
    if outlook.language == "auto" and tag not in (None, "", "auto"):
        yield (
            f"language is auto, the clips are all tagged {tag}: this voice will speak with auto as well. "
            f"qwen3.language: {tag} trains the tag that names it"
        )
    elif outlook.language == "auto" and "" in outlook.clip_languages:
        yield "the clips name no language, so this voice trains and speaks with auto; set qwen3.language to name one"
    elif outlook.language != "auto" and any(other not in ("", outlook.language) for other in outlook.clip_languages):
        listed = ", ".join(f"{other or '(none)'} ({count})" for other, count in outlook.clip_languages.items())
        yield f"qwen3.language is {outlook.language}, the clips say {listed}: all are trained as {outlook.language}"


def _parts(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    settings = config.qwen3
    total_lr = config.lr * outlook.steps_per_epoch * config.epochs
    if settings.save_dtype == "bfloat16":
        yield (
            "epochs are saved in bfloat16: the base lies on that grid, so an update smaller than 0.2 to 0.4 % of its "
            f"weight rounds back to the base's value, and in this run a weight moves by some {total_lr:.0e} at most. "
            "epoch.json's drift_kept says what stayed; float32 keeps all"
        )
    if settings.subtalker_frames < 1:
        yield (
            f"the code predictor trains on {settings.subtalker_frames:.0%} of the frames: faster, unbiased, noisier. "
            "No listener has judged it yet: compare an epoch with one of a full run"
        )
    if settings.lora and settings.freeze:
        yield f"freeze: {', '.join(settings.freeze)} changes nothing: under LoRA all weights of the base are frozen"


def _clips(config: TrainConfig, outlook: Outlook) -> Iterator[str]:
    yield from remarks.padding(config, outlook.padding, outlook.clips)
    if outlook.longest_seconds > 30:
        yield (
            f"the longest clip lasts {outlook.longest_seconds:.0f} s: its batch decides the memory, and people report "
            "that long texts speed up. Cut at pauses, at 15 s or so"
        )
    if config.validation_clips > outlook.clips / 4:
        yield f"{config.validation_clips} clips are held out, {outlook.clips} train: that is a large share"

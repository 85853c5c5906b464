"""Which clips of a coded dataset a run trains on, as whom and in which language: one rule for planning and training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tts_train.backends.qwen3.text import language_name
from tts_train.errors import ConfigError, InputUnusable, Problem
from tts_train.training.split import Split, split

if TYPE_CHECKING:
    from tts_train.backends.qwen3.codes import CodedClip, CodedDataset
    from tts_train.config import TrainConfig


@dataclass(frozen=True)
class Selection:
    """What `config` takes of a dataset."""

    train: tuple[CodedClip, ...]
    validation: tuple[CodedClip, ...]
    speaker: str
    """As the checkpoint lists it: lower case, because stock qwen_tts looks names up so."""
    language: str
    """A name the base knows, or "auto"."""
    other_speakers: int
    """Clips that are left out because somebody else speaks in them."""
    split: Split

    @property
    def clips(self) -> tuple[CodedClip, ...]:
        return self.train + self.validation


def select(config: TrainConfig, data: CodedDataset, known_languages: Collection[str]) -> Selection:
    """Raises ConfigError naming what to set when speaker or language is unknown or not the only one."""
    speaker = _speaker(config, data)
    mine = tuple(clip for clip in data.clips if clip.speaker == speaker)
    language = _language(config, mine, data, known_languages)
    parted = split(mine, config.validation_clips, config.seed)
    train = tuple(clip for clip in mine if parted.trains(clip.id))
    if not train:
        raise InputUnusable(f"{data.manifest} leaves no clip to train on", hint="lower validation_clips")
    validation = tuple(clip for clip in mine if clip.id in parted.held_out)
    others = len(data.clips) - len(mine)
    return Selection(train, validation, (speaker or config.voice).lower(), language, others, parted)


def _speaker(config: TrainConfig, data: CodedDataset) -> str:
    there = Counter(clip.speaker for clip in data.clips)
    wanted = config.qwen3.speaker
    listed = ", ".join(f"{name or '(none)'} ({count})" for name, count in sorted(there.items()))
    if wanted is None:
        if len(there) == 1:
            return next(iter(there))
        raise ConfigError(f"{data.manifest} holds several speakers: {listed}", hint="set qwen3.speaker to one of them")
    if wanted in there:
        return wanted
    raise ConfigError(f"{data.manifest} has no speaker '{wanted}'", hint=f"there are: {listed}")


def _language(
    config: TrainConfig, clips: Collection[CodedClip], data: CodedDataset, known_languages: Collection[str]
) -> str:
    if config.qwen3.language is not None:
        return language_name(config.qwen3.language, known_languages)
    there = Counter(clip.language for clip in clips)
    if len(there) > 1:
        rarest = there.most_common()[-1][0]
        line = next(clip.line for clip in clips if clip.language == rarest)
        listed = ", ".join(f"{tag or '(none)'} ({count})" for tag, count in there.most_common())
        raise ConfigError(
            f"{data.manifest} mixes languages: {listed}",
            hint="set qwen3.language to one of them, or to auto (training and speaking then leave the language open)",
            problems=[Problem(f"the first clip in '{rarest}'", str(data.manifest), line)],
        )
    tag = next(iter(there))
    return language_name(tag, known_languages) if tag else "auto"

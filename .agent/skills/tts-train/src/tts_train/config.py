"""The training config: one YAML per voice and backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tts_train.errors import ConfigError, Problem
from tts_train.workspace import BESIDE_RUNS, NAME, Workspace
from tts_train.yaml_config import load_yaml, validate

Name = Annotated[str, Field(pattern=NAME.pattern)]


Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Settings):
    """Learning-rate shape after a linear warm-up. The horizon is stated in optimizer steps, never in epochs."""

    shape: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: NonNegative = 5
    horizon_steps: Positive | None = None
    """Step at which linear and cosine reach 0; null: the run's last optimizer step."""


class Parent(Settings):
    """Where a child run comes from, and the move that made it."""

    run: Name
    epoch: NonNegative
    move: str
    from_weights: bool = False
    """Start from the parent epoch's weights instead of the base."""


class ProbeChoice(Settings):
    """What each epoch renders, and the target speaker's own readings it is measured against."""

    file: str
    when: Literal["end", "each-epoch", "never"] = "end"
    target: str | None = None
    """Manifest of the target speaker reading the probe's items (ids match), never trained on."""


class PiperSettings(Settings):
    """Knobs of the piper backend's aligned-regression recipe."""

    noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Scale of the prior's noise while training."""
    segment_frames: Annotated[int, Field(ge=8, le=256)] = 64
    """Frames (256 samples each) the decoder sees per clip and step."""
    train: list[Literal["text_encoder", "duration", "flow", "decoder"]] = [
        "text_encoder",
        "duration",
        "flow",
        "decoder",
    ]

    @field_validator("train")
    @classmethod
    def _some_part(cls, parts: list[str]) -> list[str]:
        if not parts:
            raise ValueError("name at least one part to train")
        return parts


class LoraSettings(Settings):
    """Low-rank adapters on the attention and MLP projections; published epochs are merged."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Qwen3Settings(Settings):
    """Knobs of the qwen3 backend."""

    speaker: str | None = None
    """Speaker of the manifest to train; null: the only one there is."""
    language: str | None = None
    """Language tag that training and speaking share: a name the base knows, or auto; null: the manifest's."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    subtalker_frames: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of frames, drawn anew each step, on which the code predictor is trained."""
    predictor_weight: Annotated[float, Field(gt=0, le=10)] = 0.3
    """Weight of the code predictor's loss beside the talker's."""
    freeze: list[Literal["text_embedding"]] = []
    lora: LoraSettings | None = None
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of published epochs. Small updates vanish in bfloat16: epoch.json says how much of them stayed."""


class XttsSettings(Settings):
    """Knobs of the xtts backend."""

    language: str | None = None
    """Language to train and speak in; null: the manifest's."""
    reference: str | None = None
    """Recording that the voice is conditioned on; null: a clip of the dataset, chosen by quality."""
    text_weight: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Weight of the text's loss beside the audio codes'."""
    mask_conditioning: bool = True
    """Leave out of the loss what the model was shown as conditioning; never the end of a clip."""
    max_wav_seconds: Annotated[float, Field(gt=0.5, le=28)] = 11.6
    """Longer clips are left out, and listed."""
    max_text_tokens: Annotated[int, Field(ge=1, le=400)] = 200
    """Clips with a longer text are left out, and listed."""
    save_dtype: Literal["float32", "float16"] = "float32"
    """Number type of published epochs."""


FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "piper": {"base": "packaged", "clip_grad": 5.0},
    "qwen3": {"base": "Qwen/Qwen3-TTS-12Hz-0.6B-Base", "clip_grad": 1.0},
    "xtts": {"base": "coqui/XTTS-v2", "clip_grad": 1.0},
}
"""Defaults that differ between families; settings named like a family are that family's own."""


def _not_beside_runs(name: str) -> str:
    if name in BESIDE_RUNS:
        raise ValueError(f"no run may be called '{name}': that folder holds other things")
    return name


class TrainConfig(Settings):
    """A whole training run. Paths are relative to the workspace."""

    voice: Name
    run: Annotated[Name, AfterValidator(_not_beside_runs)]
    backend: Literal["piper", "qwen3", "xtts"]
    dataset: str
    base: str
    """What training starts from: "packaged", a path, or the name of a model on the hub, as the family takes it."""
    epochs: Positive
    batch_size: Positive = 4
    accumulation: Positive = 1
    lr: Annotated[float, Field(gt=0, lt=1)]
    schedule: Schedule = Schedule()
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    clip_grad: Annotated[float, Field(gt=0)]
    validation_clips: NonNegative = 0
    """Clips held out of training; their loss is measured after every epoch."""
    seed: NonNegative = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU when there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type of the arithmetic; weights and optimizer are always float32. auto: bfloat16 on a GPU."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Data-parallel processes; `accumulation` batches make one step and are shared out among them."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    save_every_steps: NonNegative = 0
    """Full state for an exact resume every n optimizer steps; 0: at epoch ends."""
    probe: ProbeChoice | None = None
    parent: Parent | None = None
    piper: PiperSettings = PiperSettings()
    qwen3: Qwen3Settings = Qwen3Settings()
    xtts: XttsSettings = XttsSettings()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        family = data.get("backend")
        named = {"run": f"{data['voice']}-{family}"} if {"voice", "backend"} <= data.keys() else {}
        return {**named, **FAMILY_DEFAULTS.get(str(family), {}), **data}

    @field_validator("precision", mode="before")
    @classmethod
    def _no_float16(cls, precision: Any) -> Any:
        if precision in ("float16", "fp16", "half"):
            raise ValueError(
                f"{precision} overflows in training and gives NaN (coqui-ai/TTS#3988): use bfloat16, or float32"
            )
        return precision

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.accumulation % self.processes:
            raise ValueError(
                f"accumulation {self.accumulation} cannot be shared out among {self.processes} processes: "
                "make it a multiple of processes"
            )
        return self

    def frozen(self) -> dict[str, Any]:
        """What run.json keeps: everything but other families' settings."""
        others = FAMILY_DEFAULTS.keys() - {self.backend}
        return self.model_dump(mode="json", exclude_none=True, exclude=set(others))


def load_train_config(path: Path, workspace: Workspace, *, dataset_to_come: bool = False) -> TrainConfig:
    """Read, check, and check the files it names. Raises ConfigError with every problem at once.

    With `dataset_to_come` the dataset may be missing: it is made before the training starts.
    """
    document = load_yaml(path)
    config = validate(TrainConfig, document, path)
    named: dict[tuple[str, ...], str | None] = {} if dataset_to_come else {("dataset",): config.dataset}
    if config.probe:
        named["probe", "file"] = config.probe.file
        named["probe", "target"] = config.probe.target
    problems = [
        Problem(f"'{'.'.join(place)}': {workspace.path(name)} is not a file", str(path), document.line(place))
        for place, name in named.items()
        if name is not None and not workspace.path(name).is_file()
    ]
    if problems:
        hint = f"paths are relative to the workspace {workspace.root}"
        raise ConfigError(f"{path}: {len(problems)} problem(s)", hint=hint, problems=problems)
    return config

"""The training config: one YAML per voice and backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tts_train.errors import ConfigError, Problem
from tts_train.workspace import NAME, Workspace
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


class TrainConfig(Settings):
    """A whole training run. Paths are relative to the workspace."""

    voice: Name
    run: Name
    backend: Literal["piper"]
    dataset: str
    base: str = "packaged"
    epochs: Positive
    batch_size: Positive = 4
    accumulation: Positive = 1
    lr: Annotated[float, Field(gt=0, lt=1)]
    schedule: Schedule = Schedule()
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    clip_grad: Annotated[float, Field(gt=0)] = 5.0
    seed: NonNegative = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    save_every_steps: NonNegative = 0
    """Full state for an exact resume every n optimizer steps; 0: at epoch ends."""
    probe: ProbeChoice | None = None
    parent: Parent | None = None
    piper: PiperSettings = PiperSettings()

    @model_validator(mode="before")
    @classmethod
    def _default_run(cls, data: Any) -> Any:
        if isinstance(data, dict) and "run" not in data and {"voice", "backend"} <= data.keys():
            return {**data, "run": f"{data['voice']}-{data['backend']}"}
        return data

    def frozen(self) -> dict[str, Any]:
        """What run.json keeps."""
        return self.model_dump(mode="json", exclude_none=True)


def load_train_config(path: Path, workspace: Workspace) -> TrainConfig:
    """Read, check, and check the files it names. Raises ConfigError with every problem at once."""
    document = load_yaml(path)
    config = validate(TrainConfig, document, path)
    named: dict[tuple[str, ...], str | None] = {("dataset",): config.dataset}
    if config.base != "packaged":
        named["base",] = config.base
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

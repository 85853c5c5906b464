"""How a dataset is made: configs/datasets/<name>.yaml, with the options of the commands under their own names.

`--min-sec 1` of `ingest` is `min_sec: 1` here, as in every config; a list is an option given several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tts_train.config import Name, NonNegative, Settings
from tts_train.dataset import Card
from tts_train.engine import Where
from tts_train.errors import ConfigError, Problem
from tts_train.workspace import Workspace
from tts_train.yaml_config import load_yaml, validate

MANIFEST = "train_manifest.jsonl"
ALIGNED = "train_aligned.jsonl"
CODES = "train_manifest_qwen3.jsonl"
MAKES = {"ingest": MANIFEST, "align": ALIGNED, "convert": CODES}
"""Step → the manifest that it makes; their order is that of the steps."""

Share = Annotated[float, Field(ge=0, le=1)]
Jobs = Annotated[int, Field(ge=1, le=1024)]
_FILES = {"segments_jsonl", "check_model", "model", "tokenizer", "ref"}
"""Options that may name a file or folder of the workspace."""
_MUST_EXIST = {"segments_jsonl", "ref"}


class BookOptions(Settings):
    """Options of `ingest`."""

    chapters: str | None = None
    skip_first: Annotated[float, Field(ge=0)] | None = None
    skip_last: Annotated[float, Field(ge=0)] | None = None
    segments_jsonl: str | None = None
    model: str | None = None
    language: str | None = None
    compute_type: str | None = None
    beam: Annotated[int, Field(ge=1, le=10)] | None = None
    window: Annotated[float, Field(ge=15, le=30)] | None = None
    loudness: Annotated[float, Field(ge=-60, le=-5)] | None = None
    max_gap: float | None = None
    target_min: float | None = None
    target_max: float | None = None
    min_sec: float | None = None
    max_sec: float | None = None
    vad_threshold: Annotated[float, Field(ge=0.05, le=0.95)] | None = None
    filter: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    check_model: str | None = None
    jobs: Jobs | None = None
    engine: Where | None = None
    threads: NonNegative | None = None
    max_rejected: Share | None = None


class ClipsOptions(Settings):
    """Options of `ingest-transcript`."""

    speaker: str | None = None
    language: str | None = None
    min_sec: float | None = None
    max_sec: float | None = None
    filter: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    check_model: str | None = None
    jobs: Jobs | None = None
    engine: Where | None = None
    max_rejected: Share | None = None


class AlignOptions(Settings):
    """Options of `align`."""

    aligner: Literal["auto", "pocketsphinx", "whisperx"] | None = None
    model: str | None = None
    jobs: Jobs | None = None
    engine: Where | None = None
    max_rejected: Share | None = None


class ConvertOptions(Settings):
    """Options of `convert-qwen3`."""

    tokenizer: str | None = None
    ref: str | None = None
    speaker: str | None = None
    workers: Jobs | None = None
    engine: Where | None = None
    device: Literal["cpu", "cuda"] | None = None
    max_rejected: Share | None = None


class BookSource(Settings):
    """A dataset cut from recordings with `ingest`."""

    audio: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files, or folders of them, relative to the workspace."""
    card: str
    voice: Name | None = None
    """Speaker in the manifest; null: the dataset's name."""
    ingest: BookOptions = BookOptions()
    align: AlignOptions | Literal[False] = AlignOptions()
    """false: convert without word times, where there is no aligner for the language."""
    convert: ConvertOptions = ConvertOptions()

    @field_validator("audio", mode="before")
    @classmethod
    def _one_or_several(cls, audio: Any) -> Any:
        return [audio] if isinstance(audio, str) else audio


class ClipsSource(Settings):
    """A dataset of finished clips and their texts, taken in with `ingest-transcript`."""

    clips: str
    transcripts: str
    card: str
    voice: Name | None = None
    ingest: ClipsOptions = ClipsOptions()
    align: AlignOptions | Literal[False] = AlignOptions()
    convert: ConvertOptions = ConvertOptions()


Source = BookSource | ClipsSource


class _Kind(Settings):
    """Which of the two a file is, told before it is checked: the errors of a union name every key twice."""

    model_config = Settings.model_config | {"extra": "allow"}

    audio: Any = None
    clips: Any = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.audio is None) == (self.clips is None):
            raise ValueError("give either audio (recordings to cut) or clips with transcripts, and not both")
        return self


def recipe_path(workspace: Workspace, dataset: str) -> Path:
    return workspace.root / "configs" / "datasets" / f"{dataset}.yaml"


def load_recipe(path: Path, workspace: Workspace, *, files: bool = True) -> Source:
    """Read and check a recipe, with `files` also whether what it names is there, and the card.

    Raises ConfigError with every problem at once.
    """
    document = load_yaml(path)
    kind = validate(_Kind, document, path)
    recipe: Source = (
        validate(ClipsSource, document, path) if kind.audio is None else validate(BookSource, document, path)
    )
    problems = [
        Problem(f"'{'.'.join(place)}': {workspace.path(name)} is not there", str(path), document.line(place))
        for place, name in _named_files(recipe)
        if files and not workspace.path(name).exists()
    ]
    if problems:
        hint = f"paths are relative to the workspace {workspace.root}"
        raise ConfigError(f"{path}: {len(problems)} problem(s)", hint=hint, problems=problems)
    if files:
        card = workspace.path(recipe.card)
        validate(Card, load_yaml(card), card)
    return recipe


def argv_of(step: str, recipe: Source, folder: Path, workspace: Workspace) -> list[str]:
    """The command line, after run.sh, that does `step` for the dataset in `folder`."""

    def told(name: str) -> str:
        return workspace.relative(workspace.path(name))

    out = workspace.relative(folder)
    if step == "align":
        return ["align", f"{out}/{MANIFEST}", f"{out}/{ALIGNED}", *_options(recipe.align or AlignOptions(), workspace)]
    if step == "convert":
        source = MANIFEST if recipe.align is False else ALIGNED
        return ["convert-qwen3", f"{out}/{source}", f"{out}/{CODES}", *_options(recipe.convert, workspace)]
    voice, card = recipe.voice or folder.name, ["--card", told(recipe.card)]
    options = [*card, *_options(recipe.ingest, workspace)]
    if isinstance(recipe, BookSource):
        return ["ingest", *map(told, recipe.audio), voice, out, *options]
    return ["ingest-transcript", told(recipe.clips), told(recipe.transcripts), out, "--voice", voice, *options]


def _named_files(recipe: Source) -> list[tuple[tuple[str, ...], str]]:
    named: list[tuple[tuple[str, ...], str]] = [(("card",), recipe.card)]
    if isinstance(recipe, BookSource):
        named += [(("audio",), name) for name in recipe.audio]
    else:
        named += [(("clips",), recipe.clips), (("transcripts",), recipe.transcripts)]
    for part in ("ingest", "align", "convert"):
        given = _given(getattr(recipe, part) or AlignOptions())
        named += [((part, name), given[name]) for name in sorted(_MUST_EXIST & given.keys())]
    return named


def _given(options: Settings) -> Mapping[str, Any]:
    """What was said, and not what is left to the command's own defaults."""
    return {name: value for name, value in options.model_dump().items() if value not in (None, ())}


def _options(options: Settings, workspace: Workspace) -> list[str]:
    words = []
    for name, value in _given(options).items():
        for each in value if isinstance(value, tuple) else [value]:
            # A model may be a folder of the workspace or a name on the hub; only the first is a path.
            path = name in _FILES and workspace.path(str(each)).exists()
            words += [f"--{name.replace('_', '-')}", workspace.relative(workspace.path(each)) if path else str(each)]
    return words

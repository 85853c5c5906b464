"""Everything that can be wrong with a training, found before it starts and before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.audio import header_seconds
from tts_train.backends import Examined, base_of, hub, machine
from tts_train.backends.faults import Faults
from tts_train.backends.machine import GB
from tts_train.backends.xtts import advice, base, reference
from tts_train.backends.xtts.estimate import Shape
from tts_train.backends.xtts.planning import MIN_SECONDS, Plan, languages_of, longest
from tts_train.backends.xtts.text import PACKAGES, language_tag
from tts_train.dataset import load_manifest
from tts_train.errors import ConfigError, InputUnusable, Problem, Unavailable
from tts_train.files import read_jsonl, require_space
from tts_train.training.run import RunFolder
from tts_train.training.split import split

if TYPE_CHECKING:
    from tts_train.backends.xtts.base import Base
    from tts_train.clip import Clip
    from tts_train.config import TrainConfig
    from tts_train.workspace import Workspace

SHORTEST_REFERENCE = 1.0


def examine(config: TrainConfig, workspace: Workspace) -> Examined:
    """Check base, clips, languages, reference, settings, machine and disk, and say what training will cost.

    Texts and samples are checked by training itself: that needs the base's tokenizer and decoding.

    Raises every problem at once: ConfigError (78); Unavailable (69) for a base, GPU or package; InputUnusable (65) for
    a foreign base or nothing to train on; DiskError (74).
    """
    faults, here = Faults(), machine.look()
    found = faults.guard(lambda: local_base(config, workspace))
    compute = faults.guard(lambda: here.compute(config))
    manifest = workspace.path(config.dataset)
    clips = faults.guard(lambda: load_manifest(manifest))
    if clips is not None:
        faults.guard(lambda: _check_languages(config, clips, manifest, found))
    faults.guard(lambda: _check_reference(config, workspace, clips or ()))
    faults.end()
    assert compute is not None
    assert clips is not None
    left_out = _left_out(config, clips, manifest, found)
    fit = [clip for clip in clips if clip.id not in left_out]
    if not fit:
        raise InputUnusable(
            f"none of the {len(clips)} clips of {manifest} lasts {MIN_SECONDS} to {longest(config.xtts, found):.1f} s",
            hint="cut the recordings at pauses: run.sh ingest --help",
        )
    parted = split(fit, config.validation_clips, config.seed)
    plan = Plan(
        config,
        found,
        train=tuple(clip for clip in fit if parted.trains(clip.id)),
        validation=tuple(clip for clip in fit if clip.id in parted.held_out),
        left_out=tuple(left_out.values()),
        machine=here,
        compute=compute,
    )
    costs = plan.costs()
    _check_disk(plan, costs["disk"], workspace)
    return Examined(
        clips=len(plan.clips),
        audio_seconds=sum(clip.audio_seconds for clip in plan.clips),
        estimate=costs,
        warnings=(*plan.warnings(costs), *advice.advise(config, plan.outlook())),
        facts={
            "base": {"name": config.base, "folder": str(found.folder) if found else None},
            "language": plan.language,
            "languages": dict(plan.languages),
            "left_out": len(left_out),
            "kept_apart": len(parted.left_out),
            "reference": config.xtts.reference or "the cleanest clip of 4 to 12 s",
            "device": compute.device,
            "precision": compute.precision,
        },
    )


def local_base(config: TrainConfig, workspace: Workspace) -> Base | None:
    """The base on this machine, whole; None for a hub name that training will download.

    Raises InputUnusable for a folder that is no XTTS-v2, Unavailable, with the command that downloads it, for what is
    not whole, neither folder nor hub name, or not here while downloads are forbidden.
    """
    name = base_of(config, workspace)
    folder = base.locate(name)
    if folder is None:
        if hub.is_id(name) and not Path(name).is_dir() and not hub.is_offline():
            return None
        folder = base.find(name)  # a folder, or nothing that can be had: it says what is wrong
    found = base.describe(folder, config.base)
    try:
        Shape.of(found)
    except (KeyError, TypeError, ValueError) as error:
        raise InputUnusable(
            f"{folder / base.CONFIG} lacks or garbles {error}", hint="take the config.json of the base itself"
        ) from error
    return found


def _check_languages(config: TrainConfig, clips: list[Clip], manifest: Path, found: Base | None) -> None:
    """Every language is one of the base's, and its package is there."""
    known = languages_of(found)
    if config.xtts.language is not None:
        tags = {language_tag(config.xtts.language, known)}
    else:
        tags, problems, lines = set(), [], _lines(manifest)
        for clip in clips:
            try:
                tags.add(language_tag(clip.language, known))
            except ConfigError as error:
                problems.append(Problem(f"'language': {error.message}", str(manifest), lines[clip.id]))
        if problems:
            raise ConfigError(
                f"{manifest}: {len(problems)} clips are in languages that the base does not know",
                hint=f"it knows {', '.join(known)}; xtts.language trains all clips as one of them",
                problems=problems,
            )
    wanted = sorted(PACKAGES[tag] for tag in tags if tag in PACKAGES)
    missing = [package for package in wanted if not machine.has_package(package, "skill")]
    if missing:
        raise Unavailable(
            f"{', '.join(missing)} is not in the skill environment, and coqui-tts reads these texts with it",
            hint="Chinese needs pypinyin, Japanese cutlet: install them there, or train in another language",
        )


def _check_reference(config: TrainConfig, workspace: Workspace, clips: list[Clip] | tuple[()]) -> None:
    """One that is given is there; else a clip can be one."""
    given = config.xtts.reference
    if given is None:
        low, high = reference.MIN_SECONDS, reference.MAX_SECONDS
        if clips and not any(low <= clip.audio_seconds <= high for clip in clips):
            raise ConfigError(
                f"none of the {len(clips)} clips lasts {low:g} to {high:g} s, so none can be the reference",
                hint="set xtts.reference to a recording of the speaker",
            )
        return
    file = workspace.path(given)
    if not file.is_file():
        raise ConfigError(
            f"'xtts.reference': {file} is not a file", hint=f"paths are relative to the workspace {workspace.root}"
        )
    seconds = header_seconds(file)
    if seconds is not None and seconds < SHORTEST_REFERENCE:
        raise ConfigError(
            f"'xtts.reference': {file} has {seconds:.2f} s, at least {SHORTEST_REFERENCE:.0f} s are needed",
            hint="3 to 12 s of clear speech are good",
        )


def _left_out(config: TrainConfig, clips: list[Clip], manifest: Path, found: Base | None) -> dict[str, tuple[int, str]]:
    """Id → (line, reason), by the manifest's lengths."""
    most, lines = longest(config.xtts, found), _lines(manifest)
    reasons = {
        clip.id: "too-short" if clip.audio_seconds < MIN_SECONDS else "too-long" if clip.audio_seconds > most else ""
        for clip in clips
    }
    return {name: (lines[name], reason) for name, reason in reasons.items() if reason}


def _lines(manifest: Path) -> dict[str, int]:
    return {str(row.get("id")): number for number, row in read_jsonl(manifest)}


def _check_disk(plan: Plan, disk: dict[str, float], workspace: Workspace) -> None:
    """Room for what is not written yet."""
    folder = workspace.runs / plan.config.run
    left = max(plan.config.epochs - len(RunFolder(folder).epochs()), 0) / plan.config.epochs
    if left:
        require_space(folder, int((disk["epochs"] * left + disk["state"]) * GB))

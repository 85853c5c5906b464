"""Everything that can be wrong with a training, found before it starts and before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.audio import header_seconds
from tts_train.backends import Examined, base_of, hub, machine
from tts_train.backends.faults import Faults
from tts_train.backends.machine import GB
from tts_train.backends.qwen3 import advice, base, codes
from tts_train.backends.qwen3.planning import LANGUAGES, Plan, clip_positions
from tts_train.backends.qwen3.selection import Selection, select
from tts_train.backends.qwen3.shape import Shape
from tts_train.backends.qwen3.text import AUTO, language_name
from tts_train.backends.qwen3.vectors import SHORTEST_SECONDS
from tts_train.errors import ConfigError, InputUnusable, Problem, Unavailable
from tts_train.files import require_space
from tts_train.training.run import RunFolder

if TYPE_CHECKING:
    from tts_train.backends.qwen3.base import Base
    from tts_train.backends.qwen3.codes import CodedDataset
    from tts_train.config import TrainConfig
    from tts_train.training.compute import Compute
    from tts_train.workspace import Workspace


def examine(config: TrainConfig, workspace: Workspace) -> Examined:
    """Check base, codes, references, settings, machine and disk, and say what training will cost.

    Raises every problem at once: ConfigError (78); Unavailable (69) for a base, GPU or package; InputUnusable (65) for
    a torn base or nothing to train on; DiskError (74).
    """
    faults, here = Faults(), machine.look()
    found = faults.guard(lambda: local_base(config, workspace))
    compute = faults.guard(lambda: here.compute(config))
    if compute:
        faults.guard(lambda: _check_attention(config, compute))
    data = faults.guard(lambda: codes.open_coded(workspace.path(config.dataset)))
    languages = found.languages if found else LANGUAGES
    wanted = config.qwen3.language
    choosing = config
    if wanted is not None and faults.guard(lambda: language_name(wanted, languages)) is None:
        choosing = _with_language(config, AUTO)  # the rest of the choice is still worth checking
    chosen = faults.guard(lambda: select(choosing, data, languages)) if data else None
    if data and chosen:
        faults.guard(lambda: _check_clips(chosen, data, found))
    faults.end()
    assert compute is not None
    assert data is not None
    assert chosen is not None
    plan = Plan(config, found, chosen, here, compute, workspace.runs)
    costs = plan.costs()
    _check_disk(plan, costs["disk"])
    return Examined(
        clips=len(chosen.clips),
        audio_seconds=sum(clip.frames for clip in chosen.clips) / codes.FRAMES_PER_SECOND,
        estimate=costs,
        warnings=(*plan.warnings(costs), *advice.advise(config, plan.outlook())),
        facts={
            "base": {"name": config.base, "size": plan.size, "folder": str(found.folder) if found else None},
            "speaker": chosen.speaker,
            "language": chosen.language,
            "references": len({data.file(clip.ref_audio) for clip in chosen.clips}),
            "clips_of_other_speakers": chosen.other_speakers,
            "kept_apart": len(chosen.split.left_out),
            "device": compute.device,
            "precision": compute.precision,
        },
    )


def local_base(config: TrainConfig, workspace: Workspace) -> Base | None:
    """The base on this machine, whole and with its speaker encoder; None for a hub name that training will download.

    Raises InputUnusable for a folder that cannot be trained from, Unavailable for what is neither folder nor hub name,
    or is not here while downloads are forbidden.
    """
    name = base_of(config, workspace)
    folder = base.locate(name)
    if folder is None:
        if hub.is_id(name) and not Path(name).is_dir() and not hub.is_offline():
            return None
        folder = base.find(name)  # a folder, or nothing that can be had: it says what is wrong
    found = base.describe(folder, config.base)
    base.require_encoder(found)
    try:
        Shape.from_config(found.config)
    except (KeyError, TypeError) as error:
        raise InputUnusable(
            f"{folder / 'config.json'} lacks or garbles {error}", hint="download or copy the model again"
        ) from error
    return found


def _with_language(config: TrainConfig, language: str) -> TrainConfig:
    return config.model_copy(update={"qwen3": config.qwen3.model_copy(update={"language": language})})


def _check_attention(config: TrainConfig, compute: Compute) -> None:
    if config.qwen3.attention != "flash_attention_2":
        return
    hint = "set qwen3.attention to sdpa, which is part of torch and computes the same"
    if compute.device == "cpu":
        raise Unavailable("flash_attention_2 needs a GPU, and this will train on the CPU", hint=hint)
    if not machine.has_package("flash_attn"):
        raise Unavailable("flash_attention_2 needs flash-attn, which is not in the project environment", hint=hint)
    if compute.precision != "bfloat16":
        raise ConfigError("flash_attention_2 computes in bfloat16, and precision is float32 here", hint=hint)


def _check_clips(chosen: Selection, data: CodedDataset, found: Base | None) -> None:
    """References long enough for a speaker vector, clips short enough for the model."""
    file, problems, seen = str(data.manifest), [], set()
    most = found.config["talker_config"].get("max_position_embeddings") if found else None
    for clip in chosen.clips:
        reference = data.file(clip.ref_audio)
        seconds = None if reference in seen else header_seconds(reference)
        seen.add(reference)
        if seconds is not None and seconds < SHORTEST_SECONDS:
            short = f"'ref_audio': {clip.ref_audio} has {seconds:.2f} s, at least {SHORTEST_SECONDS:.0f} s are needed"
            problems.append(Problem(short, file, clip.line))
        if most is not None and clip_positions(clip, tagged=True) > most:
            problems.append(Problem(f"the clip takes more than the model's {most} positions", file, clip.line))
    if problems:
        hint = "choose a reference of 3 to 15 s; cut clips at pauses"
        raise ConfigError(f"{file}: {len(problems)} problem(s)", hint=hint, problems=problems)


def _check_disk(plan: Plan, disk: dict[str, float]) -> None:
    """Room for what is not written yet."""
    folder = plan.runs / plan.config.run
    left = max(plan.config.epochs - len(RunFolder(folder).epochs()), 0) / plan.config.epochs
    if left:
        require_space(folder, int((disk["epochs"] * left + disk["state"]) * GB))

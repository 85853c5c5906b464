"""What makes two renders comparable: the same texts, seeds, setting and way of speaking.

All of it goes into one hash, the render key, which names the folder. Two epochs are compared under one key or not at
all: otherwise a listener would judge a setting and take it for the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tts_train.backends import Backend
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import read_json, sha256_json, write_json
from tts_train.probe.probe import Probe

NOT_HEARD = ("reference", "speaker")
"""Parts of a run's voice that do not change its sound: a path, whose content's hash stands beside it, and a name."""


@dataclass(frozen=True)
class Setting:
    """Everything but the weights and the text that decides what comes out."""

    backend: str
    threads: int
    dtype: str = "float32"
    knobs: Mapping[str, Any] = field(default_factory=dict)
    voice: Mapping[str, Any] = field(default_factory=dict)
    """What else the run's voice is made of: language, hash of the reference."""


@dataclass(frozen=True)
class RenderKey:
    """What a render folder was made of."""

    texts: Mapping[str, str]
    seeds: tuple[int, ...]
    setting: Setting
    inference_version: int

    def content(self) -> dict[str, Any]:
        """The object in key.json, and what is hashed."""
        setting = asdict(self.setting)
        if not self.setting.voice:
            del setting["voice"]
        return {
            "texts": dict(self.texts),
            "seeds": list(self.seeds),
            "setting": setting,
            "inference_version": self.inference_version,
        }

    @property
    def name(self) -> str:
        """The folder's name: 16 hexadecimal digits."""
        return sha256_json(self.content())[:16]


def seeded(probe: Probe, family: Backend, chosen: Sequence[int] | None = None) -> Probe:
    """The probe with the seeds a run of `family` speaks it with: `chosen`, else its own, else the family's default."""
    return probe.model_copy(update={"seeds": list(chosen or probe.seeds or family.default_seeds)})


def render_key(probe: Probe, family: Backend, threads: int, voice: Mapping[str, Any] | None = None) -> RenderKey:
    """The key under which a run of `family` with this `voice` (run.json's) speaks `probe`, seeded or not yet."""
    heard = {name: value for name, value in (voice or {}).items() if name not in NOT_HEARD}
    setting = Setting(family.name, threads, knobs=family.knobs, voice=heard)
    return RenderKey(probe.texts, tuple(seeded(probe, family).seeds), setting, family.inference_version)


def write_key(folder: Path, key: RenderKey) -> None:
    """Note in the render folder what it is made of. Raises InputUnusable when something else is noted there."""
    path = folder / "key.json"
    if not path.is_file():
        write_json(path, key.content())
    elif read_json(path) != key.content():
        raise InputUnusable(f"{path} does not describe its folder's name", hint="remove the folder and probe again")


def require_one_key(keys: Iterable[str]) -> str:
    """The one key of all renders to be compared. Raises ConfigError when there are several, or none."""
    different = sorted(set(keys))
    if len(different) == 1:
        return different[0]
    named = ", ".join(different) or "none"
    raise ConfigError(
        f"these renders are not comparable: they were made under {len(different)} keys ({named})",
        hint="probe all epochs with the same probe file, threads and version: run.sh probe RUN",
    )

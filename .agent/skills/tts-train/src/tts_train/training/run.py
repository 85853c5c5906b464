"""The run folder: frozen config, published epochs, state. Files are the truth for what machines make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train import __version__
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, InputUnusable, Problem
from tts_train.files import publish_folder, read_json, sha256_file, write_json
from tts_train.output import progress
from tts_train.training.status import now
from tts_train.workspace import Workspace

WEIGHTS = "weights.safetensors"
MAY_CHANGE = ("epochs", "lr", "probe", "save_every_steps", "processes")
"""Settings a resumed run may change: they leave every finished step as it was. A change of `lr` is noted."""


@dataclass(frozen=True)
class Epoch:
    """One published checkpoint. `number` 0 is the untouched base, which is never written."""

    run: str
    number: int
    folder: Path | None
    info: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str:
        return str(self.info.get("weights_sha256", "base"))

    @property
    def pruned(self) -> bool:
        """Whether its weights were deleted; its renders and measures are still there."""
        return "pruned_at" in self.info

    def require_weights(self) -> None:
        """Raises InputUnusable when the weights were deleted."""
        if self.pruned:
            raise InputUnusable(
                f"the weights of epoch {self.number} of '{self.run}' were pruned at {self.info['pruned_at']}",
                hint="choose another epoch; what it said is still in its renders",
            )


@dataclass(frozen=True)
class RunFolder:
    """artifacts/tts/<run>/."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def state(self) -> Path:
        return self.path / "state" / "state.pt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def info(self) -> dict[str, Any]:
        """run.json."""
        info: dict[str, Any] = read_json(self.path / "run.json")
        return info

    def config(self) -> TrainConfig:
        """The frozen config."""
        return TrainConfig.model_validate(self.info()["config"])

    def start(self, config: TrainConfig, facts: Mapping[str, Any], notes: Mapping[str, Any] | None = None) -> None:
        """Create run.json, or check that this run is the one that is there.

        `facts` are hashes and numbers that must not change under a run (dataset, base, objective); `notes` may (what it
        computes on). Raises ConfigError naming every setting that differs: a run that changed under way would prove
        nothing.
        """
        fresh = {"run": self.name, "tts_train": __version__, "config": config.frozen(), **facts, **(notes or {})}
        path = self.path / "run.json"
        if not path.is_file():
            write_json(path, fresh)
            return
        known = self.info()
        old, new = self.config().frozen(), config.frozen()
        problems = [
            Problem(f"'{key}' was {old.get(key)!r}, is {new.get(key)!r}", str(path))
            for key in sorted({*old, *new} - set(MAY_CHANGE))
            if old.get(key) != new.get(key)
        ]
        problems += [
            Problem(f"'{key}' changed since the run began", str(path)) for key in facts if known.get(key) != fresh[key]
        ]
        if problems:
            hint = "give the new run its own name (run: …), or restore what changed"
            raise ConfigError(f"run '{self.name}' exists with other settings", hint=hint, problems=problems)
        if old["lr"] != new["lr"]:
            after = max((epoch.number for epoch in self.epochs()), default=0)
            change = {"after_epoch": after, "from": old["lr"], "to": new["lr"], "at": now()}
            fresh["lr_changes"] = [*known.get("lr_changes", []), change]
            progress(f"lr changes from {old['lr']:.1e} to {new['lr']:.1e} after epoch {after}, as the config says")
        if known != fresh:
            write_json(path, {**known, **fresh})

    def epoch(self, number: int) -> Epoch:
        """Epoch `number`; 0 is the base. Raises ConfigError when it is not published."""
        if number == 0:
            return Epoch(self.name, 0, None, {"epoch": 0, "step": 0, "sum_lr": 0.0, "drift": 0.0})
        folder = self._epoch_folder(number)
        if not (folder / "epoch.json").is_file():
            published = ", ".join(str(epoch.number) for epoch in self.epochs()) or "none"
            raise ConfigError(f"run '{self.name}' has no epoch {number}", hint=f"published: {published}")
        return Epoch(self.name, number, folder, read_json(folder / "epoch.json"))

    def epochs(self) -> list[Epoch]:
        """All published epochs in order, without the base."""
        folders = sorted((self.path / "epochs").glob("epoch-[0-9]*"))
        return [self.epoch(int(folder.name.removeprefix("epoch-"))) for folder in folders]

    def voice(self, workspace: Workspace) -> dict[str, Any]:
        """What the run's voice needs to speak besides weights (run.json's `voice`), `reference` as an absolute path."""
        info = self.info()
        voice: dict[str, Any] = dict(info.get("voice", {}))
        device = info.get("compute", {}).get("device", "cpu")
        if device != "cpu":
            voice["device"] = device  # another device is another sound: it is part of what makes renders comparable
        if "reference" in voice:
            voice["reference"] = str(workspace.path(voice["reference"]))
        return voice

    def publish(self, number: int, export: Callable[[Path], Mapping[str, Any] | None], info: Mapping[str, Any]) -> None:
        """Publish an epoch: `export(folder)` writes the weights. The folder appears whole or not at all.

        What `export` returns goes into epoch.json; its `weights` names the file of the weights [weights.safetensors].
        Publishing again after a crash, with the same weights, replaces the folder by an equal one.
        """
        final = self._epoch_folder(number)

        def fill(folder: Path) -> None:
            facts = {"weights": WEIGHTS, **(export(folder) or {})}
            digest = sha256_file(folder / facts["weights"])
            write_json(folder / "epoch.json", {**info, **facts, "weights_sha256": digest})

        publish_folder(final, fill)

    def _epoch_folder(self, number: int) -> Path:
        return self.path / "epochs" / f"epoch-{number:03d}"

"""config new: a training config that is complete, commented and valid."""

from __future__ import annotations

from pathlib import Path
from string import Template

from tts_train.backends import backend
from tts_train.config import load_train_config
from tts_train.errors import ConfigError
from tts_train.files import remove_leftovers, write_text
from tts_train.workspace import Workspace, asset, check_name


def new_config(
    workspace: Workspace,
    voice: str,
    *,
    backend_name: str,
    dataset: str,
    run: str | None = None,
    probe: str | None = None,
    target: str | None = None,
    out: Path | None = None,
) -> Path:
    """Write configs/tts/<voice>_<backend>.yaml (or `out`) from the backend's template and check it.

    Raises ConfigError when the file exists already or what it names does not.
    """
    check_name(voice, "voice")
    family = backend(backend_name)
    path = out or workspace.configs / f"{voice}_{family.name}.yaml"
    if path.exists():
        raise ConfigError(f"{path} exists", hint="edit it, or name another file with --out")
    probe_lines = (
        ["probe:", f"  file: {probe}", "  when: end"]
        if probe
        else ["# probe: {file: configs/probes/….yaml, when: end}"]
    )
    if probe and target:
        probe_lines.append(f"  target: {target}")
    template = Template(asset(f"config-{family.name}.yaml").read_text(encoding="utf-8"))
    text = template.substitute(
        command=f"run.sh train-local {workspace.relative(path)}",
        voice=voice,
        run=check_name(run or f"{voice}-{family.name}", "run"),
        dataset=dataset,
        epochs=family.recipe.epochs,
        batch_size=family.recipe.batch_size,
        lr=f"{family.recipe.lr:.1e}",
        warmup_steps=family.recipe.warmup_steps,
        probe="\n".join(probe_lines),
    )
    remove_leftovers(path)
    write_text(path, text)
    try:
        load_train_config(path, workspace)
    except ConfigError:
        path.unlink()
        raise
    return path

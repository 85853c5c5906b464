"""doctor: what this machine can and cannot do."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work.doctor import examine, require_health
from tts_train.workspace import Workspace


@click.command("doctor")
@workspace_option
@click.option("--check", is_flag=True, help="Fail when a row is a problem: for jobs that start by themselves.")
def main(workspace: str | None, check: bool) -> dict[str, Any]:
    """Say what this machine has, what is missing, and the fix for each. Reads only; installs nothing.

    \b
    Example: run.sh doctor --human
             run.sh doctor --check && run.sh train-local configs/tts/ann_piper.yaml
    Exit codes: 0 whatever it found: read `findings`; 2 usage
    With --check: 0 no problem (warnings do not count), else by the first problem:
    3 environment; 69 CPU, memory, GPU, model, skill; 74 disk, permissions, database
    """
    facts = examine(Workspace.find(workspace))
    if check:
        require_health(facts)
    return facts


if __name__ == "__main__":
    run_command(main)

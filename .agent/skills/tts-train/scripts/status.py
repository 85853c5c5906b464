"""status: what runs are doing."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from tts_train.output import Serving, run_command, workspace_option
from tts_train.review.status import run_status, statuses, watch
from tts_train.workspace import Workspace


@click.command("status")
@click.argument("run", required=False)
@click.option("--watch", "watching", is_flag=True, help="With --human: draw it anew every 5 s until nothing is alive.")
@workspace_option
def main(run: str | None, watching: bool, workspace: str | None) -> dict[str, Any] | Serving:
    """Say whether RUN is alive, how far it is and how long it still takes.

    Without RUN: every run that is alive or was in the last 24 hours.

    state: new, starting, training, done, stopped (by a signal, saved), failed, interrupted (its process is gone).
    stale: it should be alive but has no heartbeat; stalled: it has one, but no step for a quarter of an hour.

    \b
    Example: run.sh status demo-constant --human
             run.sh status --human --watch
    Exit codes: 0 done, whatever the state · 2 usage · 65 no such run
    """
    place = Workspace.find(workspace)
    read = partial(run_status, place, run) if run else partial(statuses, place)
    return watch(read) if watching else read()


if __name__ == "__main__":
    run_command(main)

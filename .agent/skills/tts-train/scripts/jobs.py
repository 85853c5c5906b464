"""Start commands that outlive the terminal; see, stop and await them. Each writes its own log: no `| tee`.

\b
Example: run.sh jobs submit --name night -- train-local configs/tts/demo-constant.yaml
         run.sh jobs wait night --timeout 600
Exit codes: 0 done · 2 usage · 65 no such job · 74 disk · 75 still running, or that name is · wait: the command's own
"""

import functools
from collections.abc import Callable
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work.background import control, rendering, submitting
from tts_train.workspace import Workspace

main = click.Group("jobs", help=__doc__)
JOB = click.argument("identifier", metavar="ID|NAME")
LINES = click.option("--lines", type=click.IntRange(min=1), default=50, show_default=True, help="How many, at the end.")
FOLLOW = click.option("--follow", is_flag=True, help="Go on until the job ends; only with --human.")
SECONDS = functools.partial(click.option, "--timeout", metavar="SECONDS", type=click.FloatRange(min=0))
PATIENCE = SECONDS(default=300, show_default=True, help="How long it may take to save.")
KILL = click.option("--kill", is_flag=True, help="Kill it after that: what it has not saved is lost.")
EVERY = click.option("--all", "every", is_flag=True, help="Also those that ended more than 24 hours ago.")
NAME = click.option("--name", help="One running job at a time has it: a second one gets exit code 75.")
ON_END = click.option("--on-end", metavar="ARG", multiple=True, help="Program to start then; again for each argument.")
TARGET = click.option("--target", type=click.Choice(rendering.TARGETS), required=True, help="The scheduler.")
SCHEDULE = click.option("--schedule", help="OnCalendar=, five crontab fields, or what the skill calls its interval.")


def add(name: str, work: Callable[..., Any], text: str, *parameters: Callable[..., Any], words: bool = False) -> None:
    def callback(workspace: str | None, **given: Any) -> Any:
        return work(Workspace.find(workspace), **given)

    if words:  # what follows the first of them is the command's, with or without --
        parameters += (click.argument("words", nargs=-1, required=True, metavar="-- COMMAND…"),)
    for parameter in (workspace_option, *reversed(parameters)):
        callback = parameter(callback)
    main.command(name, help=text, context_settings={"allow_interspersed_args": not words})(callback)


add(
    "submit", submitting.submit, "Start `run.sh COMMAND…` in the background. --on-end sees TTS_TRAIN_JOB_ID, _STATE, …",
    NAME, ON_END, words=True,
)  # fmt: skip
add("list", control.list_jobs, "Jobs: running, ended, failed, stopped (by a signal), lost (no record).", EVERY)
add("logs", control.logs, "The end of a job's log.", JOB, LINES, FOLLOW)
add("stop", control.stop, "SIGTERM: the job saves at its next safe point and ends with 143.", JOB, PATIENCE, KILL)
add("wait", control.wait, "Until a job has ended; then with its exit code.", JOB, SECONDS(help="75 after that."))
add(
    "render", rendering.render, "A COMMAND, or a job by its ID, as a systemd unit, a crontab line, a skill's job.",
    TARGET, NAME, SCHEDULE, words=True,
)  # fmt: skip

if __name__ == "__main__":
    run_command(main)

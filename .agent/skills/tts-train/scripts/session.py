"""Plan a blind listening session, see what is left of it, close it. Answers: run.sh verdict RUN --session ID.

\b
Example: run.sh session new demo-constant --kind ab --listener ann --epochs 4-6
Exit codes: 0 done · 2 usage, trials left · 65 no such run or session, nothing to play · 74 disk · 75 store held
"""

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.record import trials
from tts_train.review.sessions import sessions
from tts_train.work.targets import numbers
from tts_train.workspace import Workspace

main = click.Group("session", help=__doc__)


@main.command("new")
@click.argument("run")
@click.option("--kind", type=click.Choice(trials.KINDS), default="ab", show_default=True, help="The question.")
@click.option("--listener", required=True, help="Whose ears: one name per person, who gets a session alone.")
@click.option("--epochs", help="Such as 3,5-6 [default: all, for abx the last one]; the base is always hidden in.")
@click.option("--trials", type=int, metavar="N", help="All in all, controls too; fixed from here on.")
@click.option("--seed", type=click.IntRange(0, 2**53), help="Of pairs, sides and order [default: drawn].")
@click.option("--sighted", is_flag=True, help="Label the clips, to look around: such answers are never counted.")
@workspace_option
def new(workspace: str | None, run: str, epochs: str | None, **more: object) -> dict[str, object]:
    """On RUN: abx (which is X?), ab (which is better?), xab (whose accent is closer?) or sheet (a verdict per clip)."""
    return sessions.new_session(Workspace.find(workspace), run, epochs=numbers(epochs, "--epochs"), **more)


@main.command("show")
@click.argument("identifier", metavar="ID")
@workspace_option
def show(workspace: str | None, identifier: str) -> dict[str, object]:
    """What is left of session ID and what to play next; once it is closed, what was what."""
    return sessions.show_session(Workspace.find(workspace), identifier)


@main.command("close")
@click.argument("identifier", metavar="ID")
@click.option("--early", is_flag=True, help="Even if trials are left: what was answered is kept.")
@workspace_option
def close(workspace: str | None, **given: object) -> dict[str, object]:
    """Close session ID for good, then tell what was what; sheets become verdicts on their epochs."""
    return sessions.close_session(Workspace.find(workspace), **given)


@main.command("list")
@click.argument("run", required=False)
@workspace_option
def list_(workspace: str | None, run: str | None) -> dict[str, object]:
    """Sessions on RUN, or on all runs."""
    return sessions.list_sessions(Workspace.find(workspace), run)


if __name__ == "__main__":
    run_command(main)

"""Plan a blind listening session, see what is left of it, close it. Answers: run.sh verdict RUN --session ID.

\b
Example: run.sh session new demo-constant --kind ab --listener ann --epochs 4-6
         run.sh session export 3f9c1e07d2 ann.zip; run.sh session import answers-ann.json
Exit codes: 0 done · 2 usage, trials left · 65 no such run or session, nothing to play, bad file · 74 disk · 75 held
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.record import trials
from tts_train.review.sessions import sessions, travel
from tts_train.work.targets import numbers
from tts_train.workspace import Workspace

main = click.Group("session", help=__doc__)
ID = click.argument("identifier", metavar="ID")
OUT = click.argument("output", metavar="OUT.zip|OUT.html", type=click.Path(path_type=Path, dir_okay=False))
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
EARLY = click.option("--early", is_flag=True, help="Even if trials are left: what was answered is kept.")


def add(name: str, work: Callable[..., dict[str, Any]], text: str, *parameters: Callable[..., Any]) -> None:
    def callback(workspace: str | None, **given: Any) -> dict[str, Any]:
        return work(Workspace.find(workspace), **given)

    for parameter in (workspace_option, *reversed(parameters)):
        callback = parameter(callback)
    main.command(name, help=text)(callback)


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


add("show", sessions.show_session, "What is left of session ID, what to play next; once closed, what was what.", ID)
add("close", sessions.close_session, "Close session ID for good and tell; sheets become verdicts.", ID, EARLY)
add("export", travel.export_session, "Session ID as a page to send: opens anywhere, tells nothing.", ID, OUT)
add("import", travel.import_answers, "Add the answers that came back; twice does no harm.", FILE)
add("list", sessions.list_sessions, "Sessions on RUN, or on all runs.", click.argument("run", required=False))

if __name__ == "__main__":
    run_command(main)

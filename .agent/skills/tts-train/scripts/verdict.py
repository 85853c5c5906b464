"""verdict: what a listener heard in an epoch, or their answer to a trial."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.record.verdicts import CATEGORIES, MARKS, WORD_FAULTS
from tts_train.review.recording import Said, record
from tts_train.workspace import Workspace


@click.command("verdict")
@click.argument("run")
@click.option("--epoch", type=click.IntRange(min=0), help="Which epoch was heard; 0 is the base.")
@click.option("--session", metavar="ID", help="Instead of --epoch: a session, whose epochs nobody knows.")
@click.option("--trial", type=click.IntRange(min=1), help="Which of its trials; nothing is final until it is closed.")
@click.option("--answer", type=click.Choice(("first", "second", "same")), help="To ABX (no same), AB or XAB.")
@click.option("--heard", type=click.Choice(CATEGORIES), multiple=True, help="Repeat: several may hold.")
@click.option("--marker", multiple=True, metavar="SET=MARK", help=f"MARK: {', '.join(MARKS)}. Repeat.")
@click.option("--word", multiple=True, metavar="WORD=FAULT", help=f"FAULT: {', '.join(WORD_FAULTS)}. Repeat.")
@click.option("--listener", required=True, help="Whose ears: one name per person.")
@click.option("--region", help="Where they grew up, like 'Bolton, Lancashire'; kept for later verdicts.")
@click.option("--headphones/--speakers", default=None, help="What they listen with; kept for later verdicts.")
@click.option("--note", default="", help="Anything else, in the listener's words.")
@click.option("--confidence", type=click.IntRange(1, 5), help="1 a guess … 5 certain.")
@click.option("--listened", multiple=True, metavar="POSITION=SECONDS", help="Of first, second, x in a trial. Repeat.")
@click.option("--replays", type=click.IntRange(min=0), help="How often a clip of the trial was started again.")
@click.option("--nonce", help="Any text: an answer sent again with it is not recorded twice.")
@workspace_option
def main(workspace: str | None, **said: Any) -> dict[str, Any]:
    """Record what a listener heard in an epoch of RUN. Nothing is overwritten; a listener's last word counts.

    no-difference: sounds like the base · mangled: words dropped, cut or garbled · wrong-direction: another accent
    than the target's · feature-missing: one feature is not there yet · overshot: past the target · good: as wanted

    \b
    Example: run.sh verdict demo-constant --epoch 6 --heard good --heard feature-missing \\
               --marker STRUT=target --marker FACE=baseline --listener ann --confidence 4
             run.sh verdict demo-constant --session 3f9c1e07d2 --trial 7 --answer first --listener ann
    Exit codes: 0 recorded · 2 usage, unknown marker or word, closed session, another listener's · 65 no such run or
                session · 74 disk, network file system · 75 another writer holds the store · 78 no such epoch
    """
    return record(Workspace.find(workspace), Said(**said))


if __name__ == "__main__":
    run_command(main)

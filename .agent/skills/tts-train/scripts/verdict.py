"""verdict: what a listener heard in an epoch."""

from __future__ import annotations

from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.review.recording import record_verdict
from tts_train.review.verdicts import CATEGORIES, MARKS, WORD_FAULTS, Verdict, parse_marks
from tts_train.workspace import Workspace


@click.command("verdict")
@click.argument("run")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Which epoch was heard; 0 is the base.")
@click.option("--heard", type=click.Choice(CATEGORIES), multiple=True, required=True, help="Repeat: several may hold.")
@click.option("--marker", multiple=True, metavar="SET=MARK", help=f"MARK: {', '.join(MARKS)}. Repeat.")
@click.option("--word", multiple=True, metavar="WORD=FAULT", help=f"FAULT: {', '.join(WORD_FAULTS)}. Repeat.")
@click.option("--listener", required=True, help="Whose ears: one name per person.")
@click.option("--note", default="", help="Anything else, in the listener's words.")
@click.option("--confidence", type=click.IntRange(1, 5), help="1 a guess … 5 certain.")
@workspace_option
def main(
    run: str,
    epoch: int,
    heard: tuple[str, ...],
    marker: tuple[str, ...],
    word: tuple[str, ...],
    workspace: str | None,
    **said: Any,
) -> dict[str, Any]:
    """Record what a listener heard in an epoch of RUN. Nothing is overwritten; a listener's last word counts.

    no-difference: sounds like the base · mangled: words dropped, cut or garbled · wrong-direction: another accent
    than the target's · feature-missing: one feature is not there yet · overshot: past the target · good: as wanted

    \b
    Example: run.sh verdict demo-constant --epoch 6 --heard good --heard feature-missing \\
               --marker STRUT=target --marker FACE=baseline --listener ann --confidence 4
    Exit codes: 0 recorded · 2 usage, unknown marker or word · 65 no such run · 74 disk, network file system
                75 another writer holds the store · 78 no such epoch
    """
    markers = parse_marks(marker, "--marker", MARKS)
    words = parse_marks(word, "--word", WORD_FAULTS)
    verdict = Verdict(run=run, epoch=epoch, heard=heard, markers=markers, words=words, **said)
    return record_verdict(Workspace.find(workspace), verdict)


if __name__ == "__main__":
    run_command(main)

"""List shipped voices, pack one for others, bring theirs in, or ask a recording where it is from.

\b
Example: run.sh voices pack demo-constant-epoch-004 voice.zip
         run.sh voices import voice.zip --name from-ann
         run.sh voices check hello.wav --human
Exit codes: 0 done · 2 usage, or the name is taken · 65 damaged or unsafe · 69 package missing
            74 disk · 75 another import or removal · 78 no name for a voice
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tts_train.output import run_command, workspace_option
from tts_train.work import voices
from tts_train.work.voices_check import check
from tts_train.work.voices_import import import_voice
from tts_train.workspace import Workspace

main = click.Group("voices", help=__doc__)
VOICE = click.argument("target", metavar="VOICE")
NAME = click.argument("name", metavar="VOICE")
OUT = click.argument("out", metavar="FILE.zip", type=click.Path(path_type=Path, dir_okay=False))
PACKAGE = click.argument("given", metavar="FILE.zip|FOLDER", type=click.Path(path_type=Path))
RECORDING = click.argument("file", metavar="RECORDING", type=click.Path(path_type=Path, dir_okay=False))
CALLED = click.option("--name", help="Call it so [default: its own name].")
VERIFY = click.option("--verify", is_flag=True, help="Hash every file of every voice.")
DELETE = click.option("--delete", is_flag=True, help="Do it. Without this nothing is deleted.")


def add(name: str, work: Callable[..., Any], text: str, *parameters: Callable[..., Any]) -> None:
    def callback(workspace: str | None, **given: Any) -> Any:
        return work(Workspace.find(workspace), **given)

    for parameter in (workspace_option, *reversed(parameters)):
        callback = parameter(callback)
    main.command(name, help=text)(callback)


add("list", voices.list_voices, "Voices shipped here or imported: licence, consent, what is wrong with them.", VERIFY)
add("pack", voices.pack, "VOICE (its name or folder) as one file; the same voice gives the same bytes.", VOICE, OUT)
add(
    "import", import_voice, "Bring a packed voice in; all of it is checked before anything is read.", PACKAGE, CALLED
)  # fmt: skip
add("remove", voices.remove, "Say what removing VOICE gives back; with --delete, delete it.", NAME, DELETE)
add("check", check, "Whether RECORDING has the watermark of infer, and what the JSON beside it tells.", RECORDING)

if __name__ == "__main__":
    run_command(main)

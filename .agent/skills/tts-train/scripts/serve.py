"""serve: speech over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tts_train.output import Serving, run_command, workspace_option
from tts_train.training.gpus import share_gpu_option

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("serve")
@click.argument("voices", nargs=-1, required=True, metavar="VOICE...")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other address needs a token.")
@click.option("--token-file", type=FILE, help="The token clients must bring [default: TTS_TRAIN_SERVE_TOKEN, or none].")
@click.option("--keep", type=click.IntRange(1), default=4, show_default=True, help="Voices in memory at the same time.")
@click.option(
    "--queue", type=click.IntRange(1), default=32, show_default=True, help="Requests at a time; more get 429."
)
@click.option("--timeout", type=click.FloatRange(1), default=120, show_default=True, help="Seconds of a request (504).")
@click.option("--max-text", type=click.IntRange(1), default=4096, show_default=True, help="Characters of a text (413).")
@click.option("--cpu", is_flag=True, help="Speak on the CPU what was trained on a GPU; it rounds otherwise.")
@click.option("--watermark", is_flag=True, help="Mark all that is said as spoken by a machine.")
@share_gpu_option
@workspace_option
def main(voices: tuple[str, ...], host: str, port: int, workspace: str | None, **given: Any) -> Serving:
    """Speak as each VOICE (a shipped voice's folder or name, or RUN:EPOCH) until stopped: POST /v1/audio/speech.

    OpenAI's clients work with base_url http://127.0.0.1:8080/v1; a browser finds a page to type and listen there. The
    address is printed once the voices are loaded. A signal lets requests in flight finish; a second one does not.

    \b
    Example: run.sh serve demo-constant-epoch-004 --port 8080
             run.sh serve demo-constant:4 ann:2 --host 0.0.0.0 --token-file serve.token
    Exit codes: 0 stopped by a signal · 2 no such voice, no token for that address · 3 environment missing
                65 no such run, damaged voice · 69 package or GPU missing · 75 port taken, GPU in use
                78 no such epoch
    """
    from tts_train.serve.command import serve, token_of
    from tts_train.serve.front import Limits
    from tts_train.serve.voices import open_voices
    from tts_train.workspace import Workspace

    token = token_of(os.environ, given["token_file"])
    opened = open_voices(Workspace.find(workspace), voices, cpu=given["cpu"])
    limits = Limits(text=given["max_text"], queue=given["queue"], seconds=given["timeout"], keep=given["keep"])
    return serve(opened, host, port, token=token, limits=limits, watermark=given["watermark"])


if __name__ == "__main__":
    run_command(main)

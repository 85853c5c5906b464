"""tensorboard: the curves of all runs, on this machine only."""

from __future__ import annotations

import signal
import threading

import click

from tts_train.errors import Unavailable
from tts_train.output import Serving, run_command, workspace_option
from tts_train.workspace import Workspace


@click.command("tensorboard")
@click.argument("port", type=click.IntRange(0, 65535), default=6006)
@workspace_option
def main(port: int, workspace: str | None) -> Serving:
    """Serve TensorBoard over all runs on 127.0.0.1:PORT (0: any free port) until it is stopped.

    \b
    Example: run.sh tensorboard 6006
    Exit codes: 0 stopped by a signal · 69 the port is taken
    """
    from tensorboard import default, program
    from tensorboard.program import TensorBoardServerException

    runs = Workspace.find(workspace).runs
    server = program.TensorBoard(default.get_plugins())
    server.configure(argv=["tensorboard", "--logdir", str(runs), "--host", "127.0.0.1", "--port", str(port)])
    try:
        url = server.launch()
    except TensorBoardServerException as error:
        raise Unavailable(f"TensorBoard could not start: {error}", hint="name another port") from error
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return Serving({"url": url, "runs": str(runs), "stop": "Ctrl-C or SIGTERM"}, stop.wait)


if __name__ == "__main__":
    run_command(main)

"""dashboard: listen, judge and see runs in the browser."""

from __future__ import annotations

import click

from tts_train.output import Serving, run_command, workspace_option


@click.command("dashboard")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any free port.")
@click.option("--runs", metavar="DIR", help="The folder of runs to show: WORKSPACE/artifacts/tts.")
@click.option("--share", is_flag=True, help="Ask visitors for a token, and print how to reach this machine by ssh.")
@workspace_option
def main(port: int, runs: str | None, share: bool, workspace: str | None) -> Serving:
    """Serve the dashboard on 127.0.0.1 until it is stopped; its address is printed once pages open quickly.

    Without a run in the workspace it shows those of `run.sh demo`, if there are any. --share takes its token from
    TTS_TRAIN_SHARE_TOKEN, or makes one and shows it on stderr.

    \b
    Example: run.sh dashboard --port 8765
    Exit codes: 0 stopped by a signal · 2 the token is too short · 69 not in this copy of the skill · 75 the port is
    taken · 78 no such workspace
    """
    from tts_train.work.dashboard import dashboard_workspace, serve

    if runs and workspace:
        raise click.UsageError("--runs and --workspace name the same thing: give one")
    return serve(dashboard_workspace(workspace, runs), port, share=share)


if __name__ == "__main__":
    run_command(main)

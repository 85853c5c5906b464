"""One training or rendering a GPU: a lock per card, so that a second start says who computes there (exit 75).

Two programs on one card mostly end with both out of memory in the middle of the night. The lock is the kernel's: it is
free when its holder is gone, by kill -9 too. CPUs and Apple's GPUs take none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from tts_train import holders
from tts_train.errors import Busy, Unavailable
from tts_train.files import locked
from tts_train.output import progress

FOLDER = "TTS_TRAIN_RUNTIME"
"""Names the folder of the locks: for containers that see the same GPUs, one that they all mount."""
SHARE = "TTS_TRAIN_SHARE_GPU"
"""As a variable, because ranks and the probes of a training are processes of their own."""


def share_gpu_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--share-gpu`, for every command that may compute on one; it reaches all processes that the command starts."""

    def share(_context: click.Context, _option: click.Parameter, given: bool) -> None:
        if given:
            os.environ[SHARE] = "1"

    text = "Compute on a GPU that another training or rendering holds: both must fit into its memory."
    return click.option("--share-gpu", is_flag=True, expose_value=False, callback=share, help=text)(function)


@contextmanager
def gpu_held(device: str, index: int = 0, *, run: Path | None = None) -> Iterator[None]:
    """Hold GPU `index`, as torch counts them, of a `device` "cuda"; any other device needs nothing.

    Raises Busy, naming the holder, its run and its heartbeat, when somebody else computes there: neither this process
    nor one that waits for it, as a training does for its probe. With --share-gpu the block runs all the same.
    """
    name = gpu_name(index) if device == "cuda" else None
    if name is None:
        yield
        return
    sharing = bool(os.environ.get(SHARE))
    path = lock_folder() / f"{name}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, shared=sharing, run=run, what=f"GPU {name}"))
        except Busy as busy:
            if sharing:
                progress(f"{busy.message}: sharing it")
            elif not holders.is_ours(holders.holder(path)):
                raise Busy(busy.message, hint=f"{busy.hint}; or --share-gpu, when both fit into its memory") from busy
        yield


def gpu_name(index: int) -> str | None:
    """The card's UUID, which is the same for every process whatever CUDA_VISIBLE_DEVICES says; else its index.

    None when there is no such card, or no torch: whatever is loaded next says what is missing.
    """
    try:
        import torch
    except ImportError:
        return None
    if index >= torch.cuda.device_count():
        return None
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is not None:
        return f"GPU-{uuid}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return f"index-{visible[index].strip() if index < len(visible) and visible[index] else index}"


def lock_folder() -> Path:
    """The user's folder of GPU locks on this machine. Raises Unavailable when somebody else could write there.

    In /tmp and not in XDG_RUNTIME_DIR: that is not set under cron, and gone when the user logs out. What cleans /tmp
    (systemd-tmpfiles) leaves locked files alone.
    """
    given = os.environ.get(FOLDER)
    folder = Path(given) if given else Path("/tmp") / f"tts-train-{os.getuid()}"  # noqa: S108  checked below
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not given and (found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022):
        raise Unavailable(
            f"{folder} is not a folder that you alone can write to",
            hint=f"have it removed, or set {FOLDER} to a folder of yours",
        )
    return folder

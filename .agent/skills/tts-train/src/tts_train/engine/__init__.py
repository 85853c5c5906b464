"""Where pieces of work run: in this process, or on several others. The seam for whatever comes after.

Results come in the order of the pieces and do not depend on the number of jobs. `pieces` may be a generator that holds
audio: at most jobs + 1 pieces are unfinished at a time. Results are small: one that comes early waits for its turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from tts_train.engine.pieces import Describe
from tts_train.engine.pool import Inline, Pool, Start

P = TypeVar("P")
R = TypeVar("R")

Where = Literal["here", "ray"]


class Engine(Protocol):
    """Something that works on pieces, `jobs` of them at a time."""

    @property
    def jobs(self) -> int: ...

    def map(self, work: Callable[[P], R], pieces: Iterable[P]) -> Iterator[R]:
        """`work` of every piece, in order. The first exception stops everything and is raised."""

    def peak_rss_mib(self) -> int:
        """The most memory this process and its workers have held so far, added up."""


@contextlib.contextmanager
def engine(
    jobs: int | None = None,
    *,
    where: Where = "here",
    shared: Path | None = None,
    threads: int = 1,
    gpus: int = 0,
    start: Start = "spawn",
    describe: Describe | None = None,
) -> Iterator[Engine]:
    """`jobs` pieces at a time: here by default one, inline, and more on processes that start when there is a piece.

    With more than one job `work` is a function of a module (not of a script, no lambda, no closure; functools.partial
    of one is fine) and pieces and results are pickled. What is expensive to load is cached per process with
    functools.cache; with `start` "fork" workers share what this process has loaded before, but one that has used a GPU
    must "spawn". `describe` names a piece in errors. However the block is left, by a signal too, no worker outlives it:
    each may finish its piece within `GRACE_SECONDS`; a second signal does not wait.

    On `ray` (see `cluster`) pieces are worked by the nodes of a Ray cluster, by default as many at a time as it has
    CPUs and GPUs for; a piece takes `threads` CPUs and `gpus` GPUs. The caller holds the lock of the folder `shared`,
    in which pieces leave their results. Raises Unavailable without a cluster. Pieces in hand are dropped when the
    block is left early.
    """
    if where == "ray":
        from tts_train.engine.cluster import Cluster  # only here: it brings ray

        assert shared is not None
        with contextlib.closing(Cluster(shared, jobs, threads, gpus, describe)) as cluster:
            yield cluster
    elif jobs in (None, 1):
        yield Inline(describe)
    else:
        assert jobs is not None
        with contextlib.closing(Pool(jobs, start, describe)) as pool:
            yield pool

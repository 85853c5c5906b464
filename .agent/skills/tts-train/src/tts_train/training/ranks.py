"""The processes of a data-parallel training, as the loop sees them.

Alone (the usual case) nothing here touches torch.distributed. Several processes meet on this machine: control messages
travel over gloo on the loopback interface, gradients over gloo (CPU) or NCCL (GPU).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from tts_train.config import TrainConfig
from tts_train.errors import TtsTrainError, UsageError

if TYPE_CHECKING:
    import torch

TIMEOUT = timedelta(days=7)
"""A rank may wait while rank 0 probes an epoch. Ranks that died are noticed by the launcher, not by a timeout."""
BUCKET_BYTES = 64 * 2**20
"""Gradients are summed in pieces of about this size: few messages, little memory beside the gradients."""

FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")
"""Variables that torchrun, accelerate, deepspeed and their like set. `accelerate launch --cpu --num_processes 2` starts
ONE process, says nothing and sets ACCELERATE_… only (accelerate 1.12); MIXED_PRECISION is always among them."""


class RankLost(TtsTrainError):
    """Another process of this training ended while this one waited for it: a consequence, never the cause."""

    kind: ClassVar[str] = "rank-lost"


@dataclass(frozen=True)
class Seat:
    """What the launcher tells a process: who it is and where the others meet."""

    rank: int
    count: int
    rendezvous: str


_seat: list[Seat] = []


def take_seat(seat: Seat) -> None:
    """For the launcher: this process is one of several."""
    _seat[:] = [seat]


def refuse_foreign_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """Raise UsageError under torchrun or accelerate: our copies would train beside each other, not together."""
    found = [name for name in FOREIGN if name in environment]
    if found:
        raise UsageError(
            f"this was started by torchrun, accelerate launch or the like ({', '.join(found)} set)",
            hint="run.sh starts its own processes: --processes N (if nothing launched this, unset those variables)",
        )


@dataclass(frozen=True)
class Ranks:
    """This process among `count`. With count 1 everything is a no-op."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder, status, metrics, state and epochs, and talks."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Every rank's `value` (small, picklable), by rank; the same list everywhere."""
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        with _peers():
            distributed.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.gather(None)

    def any(self, values: Sequence[int]) -> int | None:
        """The first of all ranks' `values`, or None when no rank has one."""
        return next((value for given in self.gather(list(values)) for value in given), None)

    def assert_equal(self, what: str, value: str) -> None:
        """Raise TtsTrainError, on every rank, naming the ranks whose `value` is not rank 0's."""
        values = self.gather(value)
        others = [str(rank) for rank, given in enumerate(values) if given != values[0]]
        if others:
            raise TtsTrainError(
                f"{what}: rank {' and '.join(others)} of {self.count} is not equal to rank 0",
                hint="nothing was written; what is published before is whole. Run the same command again",
            )

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Add up every parameter's gradient over all ranks, in place; the same bits everywhere.

        Not DistributedDataParallel: a last, short group gives ranks different numbers of batches, and it would hang
        or divide wrongly. A parameter without a gradient on any rank keeps none, as it would in one process.
        """
        if self.count == 1:
            return
        import torch

        absent = [index for index, parameter in enumerate(parameters) if parameter.grad is None]
        nowhere = set.intersection(*map(set, self.gather(absent)))
        gradients: list[torch.Tensor] = []
        for index, parameter in enumerate(parameters):
            if index in nowhere:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            self._sum(bucket)

    def _sum(self, tensors: Sequence[torch.Tensor]) -> None:
        import torch
        from torch import distributed

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _peers():
            distributed.all_reduce(flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Rank 0 does the block before the others: what it leaves in a cache they need not make."""
        if not self.first:
            self.barrier()
        yield
        if self.first:
            self.barrier()


ALONE = Ranks()


@contextmanager
def joined(config: TrainConfig) -> Iterator[Ranks]:
    """Meet the other processes of this training, `config.processes` in all.

    Raises UsageError under somebody else's launcher, TtsTrainError when there are not that many of us.
    """
    if not _seat:
        refuse_foreign_launcher()
        if config.processes > 1:
            raise TtsTrainError(f"processes is {config.processes}, but this one was started alone")
        yield ALONE
        return
    seat = _seat[0]
    if seat.count != config.processes:
        raise TtsTrainError(f"processes is {config.processes}, but {seat.count} were started")
    if seat.count == 1:
        yield ALONE
        return
    _meet(seat, config)
    from torch import distributed

    ranks = Ranks(seat.rank, seat.count)
    there = distributed.get_world_size()
    if there != config.processes or sorted(ranks.gather(seat.rank)) != list(range(seat.count)):
        raise TtsTrainError(f"processes is {config.processes}, but {there} met")
    yield ranks
    # Only after success: with a rank missing this would wait for it; the sockets close with the process.
    ranks.barrier()
    distributed.destroy_process_group()


def _meet(seat: Seat, config: TrainConfig) -> None:
    import torch
    from torch import distributed

    from tts_train.training.compute import resolve

    compute = resolve(config)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback())
    if compute.device == "cuda":
        torch.cuda.set_device(compute.place(seat.rank))
    store = distributed.FileStore(seat.rendezvous, seat.count)
    store.set_timeout(TIMEOUT)
    # The CPU part carries control messages, so that a lost rank is noticed there and not inside a GPU kernel.
    backends = "cpu:gloo,cuda:nccl" if compute.device == "cuda" else "gloo"
    with _peers():
        distributed.init_process_group(backends, store=store, rank=seat.rank, world_size=seat.count, timeout=TIMEOUT)


def _loopback() -> str:
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


@contextmanager
def _peers() -> Iterator[None]:
    """torch reports a vanished peer as RuntimeError, in words that differ by backend."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(
            f"another process of this training ended: {error}", hint="its own message says why; look above"
        ) from error


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one number type and device, BUCKET_BYTES together; a larger tensor stands alone."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        fits = size + tensor.nbytes <= BUCKET_BYTES
        if bucket and not (fits and tensor.dtype == bucket[0].dtype and tensor.device == bucket[0].device):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket

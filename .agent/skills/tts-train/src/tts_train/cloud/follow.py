"""A training on rented pods, from the first pod to the last: rent, send, start, watch, fetch, rent again, end.

Nothing leaves this module by any way but through `_leave`, which ends every pod. A signal raises once; those after it
only shorten what is saved. Killed for good, the record tells `cloud reap`, and the same command, what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from tts_train.cloud.api import KEY, Api, NoAnswer
from tts_train.cloud.choose import Offer
from tts_train.cloud.job import Job
from tts_train.cloud.plan import Planned, Wish, request
from tts_train.cloud.pods import ALIVE, end_all, end_others, rent
from tts_train.cloud.record import Rental
from tts_train.cloud.ssh import ProgramFailed, Unreachable, machine_of, make_key
from tts_train.errors import TtsTrainError, Unavailable
from tts_train.files import locked
from tts_train.output import progress
from tts_train.signals import handled
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.workspace import Workspace

POLL_SECONDS = 15.0
FETCH_SECONDS = 300.0
"""Between looks for new epochs and state."""
START_SECONDS = 1200.0
"""In which a pod has to be reachable: its image may be large."""
SILENT_SECONDS = 300.0
"""Without an answer for this long a pod that should run is taken for lost."""
FAILURES = 3
"""Looks in a row that end with a failed program: then it is not the machine that is going."""
STOP_SECONDS = 120.0
LEAVE_SECONDS = 900.0
"""In which what is not here yet may still be fetched, hours or no hours."""


class _OutOfHours(Exception):
    """The cap on hours is reached."""


class _Lost(Exception):
    """The pod is gone, or as good as gone; or it is well and lost its job alone."""

    def __init__(self, what: str, *, pod_is_well: bool = False) -> None:
        super().__init__(what)
        self.pod_is_well = pod_is_well


@dataclass
class Follower:
    """One rental with its caps. `offers()`: what can be had now, the cheapest first."""

    api: Api
    rental: Rental
    planned: Planned
    wish: Wish
    workspace: Workspace
    offers: Callable[[], list[Offer]]
    deadline: float
    """By time.time(): of the rental's first start, whoever follows it now."""
    data_center: str | None = None
    job: Job | None = None
    pod: dict[str, Any] | None = None
    fresh: bool = False
    """Whether the pod was rented just now, and does not yet know when to end itself."""
    reached: bool = False
    """Whether any pod ever answered: an image without sshd would cost five times the wait."""

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.workspace.runs / self.planned.config.run)

    @property
    def name(self) -> str:
        """Of the job on the pod that was rented last."""
        return f"cloud-{self.rental.tag}-{len(self.rental.read()['pods'])}-{self.rental.read().get('starts', 0)}"

    def follow(self) -> dict[str, Any]:
        """Until the training has ended, hours are over, or pods are lost too often. Returns {ended, …}.

        Raises what the training itself raised, Unavailable, Busy, or KeyboardInterrupt; the pods are ended first.
        """
        with self.rental.held(), locked(self.run.path / ".lock", run=self.run.path), _one_signal() as received:
            ended = "failed"
            try:
                try:
                    ended = self._until_end()
                except _OutOfHours:
                    ended = "hours"
                except KeyboardInterrupt:
                    ended = "stopped"
                    raise
                finally:
                    received.quiet = True
                    self._leave(ended, received)
            except KeyboardInterrupt:
                received.quiet = True
                self._leave("stopped", received)  # again, should the signal have come between the two lines above
                raise
        published = [epoch.number for epoch in self.run.epochs()]
        return {"run": self.run.name, "ended": ended, "published": published, "job": self.rental.tag}

    def _until_end(self) -> str:
        for number in range(self.wish.tries):
            try:
                self._rent_or_take_up()
                self._reach()
                self._train()
                return "done"
            except _Lost as lost:
                if number and not self.reached:
                    raise Unavailable(f"{lost}, as the one before", hint="does the --image start sshd?") from lost
                progress(f"{lost}; going on with {'the same' if lost.pod_is_well else 'another'} pod")
                self.job = None
                if not lost.pod_is_well:
                    end_others(self.api, self.rental, None)
        raise Unavailable(f"{self.wish.tries} times a pod was lost", hint="run the same command again to go on")

    def _rent_or_take_up(self) -> None:
        """The pod of before, if it still lives, else a new one."""
        self._in_time()
        rows = self.rental.read()["pods"]
        known = rows[-1]["id"] if rows else None
        found = end_others(self.api, self.rental, known)
        if found is not None and found.get("status") in ALIVE:
            self.pod = found
            return
        if found is not None:
            self.api.terminate(str(found["id"]))
        key = make_key(self.rental)
        self.pod = rent(
            self.api,
            self.rental,
            self.offers(),
            lambda name, offer: request(name, offer, self.planned, self.wish, key, self.data_center),
        )
        self.fresh = True

    def _reach(self) -> None:
        """Wait until the pod runs and answers."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            pod = self._look()
            machine = machine_of(pod, self.rental, self.wish.root(self.run.name), self._hidden)
            if pod["status"] == "RUNNING" and machine is not None:
                keeps = self.wish.mount is not None
                environment, bundle = self.wish.environment, self.planned.bundle
                self.job = Job(machine, self.run, self.workspace, bundle, environment, keeps, self._left)
                try:
                    machine.files([])
                    self.reached = True
                    return
                except Unreachable as error:
                    progress(error.message)
            self._sleep()
        raise _Lost(f"the pod was not reachable within {START_SECONDS / 60:.0f} minutes")

    def _train(self) -> None:
        """Send, start, watch. Raises _Lost, and what the training raised."""
        assert self.job is not None
        assert self.pod is not None
        heard = fetched = time.monotonic()
        started, shown, failures = False, "", 0
        while True:
            try:
                if not started:
                    if self.fresh:
                        self.job.end_itself(str(self.pod["id"]), self._left() + 2 * LEAVE_SECONDS)
                        self.fresh = False
                    progress(f"{self.job.send()} files sent")
                    self.job.submit(self.name, probe=self.wish.probe)
                    started = True
                job = self.job.look(self.name)
                state = "lost" if job is None else job["state"]
                if state != "running" or time.monotonic() - fetched > FETCH_SECONDS:
                    self.job.fetch(state=not self.job.keeps)
                    fetched = time.monotonic()
                heard, failures = time.monotonic(), 0
                shown = self._show(shown)
                if state == "ended":
                    return
                if state == "failed":
                    raise self.job.failure(self.name)
                if state != "running":  # a signal, or a kill: what a machine does that is about to go
                    self.rental.update(starts=self.rental.read().get("starts", 0) + 1)
                    raise _Lost(f"the job was {state}", pod_is_well=True)
            except ProgramFailed as error:
                # On a machine that goes away programs fail before ssh does, and before RunPod says that it is gone.
                failures += 1
                if failures == FAILURES:
                    raise
                progress(error.message)
            except Unreachable as error:
                if time.monotonic() - heard > SILENT_SECONDS:
                    raise _Lost(error.message) from error
                progress(error.message)
            self._sleep()
            self._look()

    def _look(self) -> dict[str, Any]:
        """The pod as RunPod sees it, and an end to any other of ours. Raises _Lost when it is gone."""
        assert self.pod is not None
        try:
            found = end_others(self.api, self.rental, str(self.pod["id"])) or self.api.pod(str(self.pod["id"]))
        except NoAnswer as error:
            progress(f"{error.message}; the pod may be well")
            return self.pod
        if found is None or found.get("status") not in ALIVE:
            raise _Lost(f"the pod {self.pod['name']} is {found.get('status') if found else 'gone'}")
        if float(found.get("cost") or 0.0) > self.wish.max_price + 0.005:
            raise Unavailable(
                f"the pod costs ${found['cost']:g} an hour, more than ${self.wish.max_price:g}",
                hint="it was ended; raise --max-price, or name another --gpu",
            )
        self.pod = found
        return found

    def _leave(self, ended: str, received: _Received) -> None:
        """Save what can be saved, unless that was done, and end every pod."""
        if self.rental.read()["state"] == "closed":
            return
        try:
            if self.job is not None and ended != "done" and len(received.numbers) < 2:
                until = time.monotonic() + LEAVE_SECONDS
                self.job = replace(self.job, left=lambda: max(0.0, until - time.monotonic()))
                progress("the job is asked to save and end; another signal skips that")
                self.job.stop(self.name, STOP_SECONDS)
                if len(received.numbers) < 2:
                    self.job.fetch(state=not self.job.keeps)
        except TtsTrainError as error:
            progress(f"not everything was saved: {error.message}")
        finally:
            count = end_all(self.api, self.rental)
            progress(f"{count} pod(s) ended; none is left")
            self.rental.close(ended)

    def _show(self, shown: str) -> str:
        """Say how far it is, when that is news."""
        status = read_status(self.run.path)
        text = f"epoch {status.get('epoch')}, step {status.get('step')}, loss {status.get('loss')}"
        if status["state"] != "new" and text != shown:
            progress(text)
        return text

    @property
    def _hidden(self) -> tuple[str, ...]:
        return KEY, *self.wish.variables

    def _sleep(self) -> None:
        self._in_time()
        time.sleep(min(POLL_SECONDS, self._left()))
        self._in_time()

    def _in_time(self) -> None:
        if not self._left():
            raise _OutOfHours

    def _left(self) -> float:
        return max(0.0, self.deadline - time.time())


class _Received:
    """Signals that came. The first raises KeyboardInterrupt, unless `quiet`; others wait for who looks."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.quiet = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.numbers.append(number)
        if not self.quiet:
            self.quiet = True
            raise KeyboardInterrupt(number)


@contextmanager
def _one_signal() -> Iterator[_Received]:
    received = _Received()
    with handled(received):
        yield received

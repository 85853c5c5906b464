"""A rented machine over ssh: files there and back, programs run. OpenSSH's client is all that it takes here.

Every job has a key pair of its own, whose public half the machine is made with, and remembers the host keys it met.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tts_train.cloud import pod_side
from tts_train.cloud.record import Rental
from tts_train.errors import TtsTrainError, Unavailable
from tts_train.masking import masked_text

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NO_CONNECTION = 255
_CODE = shlex.quote(Path(pod_side.__file__).read_text(encoding="utf-8"))


class Unreachable(Unavailable):
    """The machine does not answer: it may be starting, gone, or cut off."""


class ProgramFailed(TtsTrainError):
    """A program there ended with another code than 0; `stdout` is what it printed."""

    def __init__(self, code: int, stdout: bytes, stderr: str) -> None:
        super().__init__(f"a command on the rented machine ended with code {code}: {stderr[-500:]}", hint="see its log")
        self.code, self.stdout = code, stdout


@dataclass(frozen=True)
class Machine:
    """Where one pod is reached. `root`: the job's folder there, relative to the home folder unless absolute."""

    host: str
    port: int
    user: str
    rental: Rental
    root: str
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Names of variables that ssh itself must not see."""

    def files(self, under: Sequence[str], timeout: float = 60.0) -> dict[str, tuple[int, int]]:
        """Name → (bytes, time in whole seconds) of the files below folders of the job."""
        answer = json.loads(self._ask("files", {"under": list(under)}, timeout=timeout))
        return {str(name): (int(facts[0]), int(facts[1])) for name, facts in answer.items()}

    def run(
        self, argv: Sequence[str], *, environment: Mapping[str, str], defaults: Mapping[str, str], timeout: float
    ) -> bytes:
        """Run a program in the job's folder and return its stdout. Raises ProgramFailed, Unreachable."""
        order = {"argv": list(argv), "environment": dict(environment), "defaults": dict(defaults)}
        return self._ask("run", order, timeout=timeout)

    def put(self, files: Mapping[str, Path], timeout: float) -> None:
        """Copy files there, each of them whole or not at all."""

        def feed(stdin: IO[bytes]) -> None:
            stdin.write(self._order({}))
            with tarfile.open(fileobj=stdin, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for name, path in files.items():
                    with path.open("rb") as file:
                        archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), file)

        self._ssh("put", feed, lambda stdout: stdout.read(), timeout)

    def get(self, names: Sequence[str], take: Callable[[str, IO[bytes], int], None], timeout: float) -> None:
        """Copy files from there: `take(name, content, seconds)` for each in the order of `names`; those gone are left.

        Raises Unreachable when the connection breaks under a file: what `take` was given is whole or raises.
        """

        def unpack(stdout: IO[bytes]) -> bytes:
            wanted = set(names)
            try:
                with tarfile.open(fileobj=stdout, mode="r|") as archive:
                    for member in archive:
                        content = archive.extractfile(member) if member.isreg() and member.name in wanted else None
                        if content is None:
                            raise Unavailable(
                                f"{self.host} sent {member.name!r}, which nobody asked for", hint="stop it"
                            )
                        take(member.name, content, int(member.mtime))
            except tarfile.TarError as error:
                raise Unreachable(f"{self.host} broke off: {error}", hint="try again") from None
            return stdout.read()

        if names:
            self._ssh("get", lambda stdin: _write(stdin, self._order({"names": list(names)})), unpack, timeout)

    def _order(self, order: Mapping[str, Any]) -> bytes:
        return json.dumps({"root": self.root, **order}).encode() + b"\n"

    def _ask(self, verb: str, order: Mapping[str, Any], *, timeout: float) -> bytes:
        return self._ssh(verb, lambda stdin: _write(stdin, self._order(order)), lambda stdout: stdout.read(), timeout)

    def _ssh(
        self, verb: str, feed: Callable[[IO[bytes]], None], take: Callable[[IO[bytes]], bytes], timeout: float
    ) -> bytes:
        """Run pod_side there: its stdin from `feed`, its stdout through `take`."""
        with tempfile.TemporaryFile() as told:
            try:
                process = subprocess.Popen(
                    self.argv(f"python3 -I -c {_CODE} {verb}"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=told,
                    env={name: value for name, value in os.environ.items() if name not in self.hidden},
                    process_group=0,  # Ctrl-C is for us: we still need the connection
                )
            except FileNotFoundError:
                raise Unavailable("there is no ssh here", hint="install OpenSSH's client") from None
            out_of_time = threading.Timer(timeout, process.kill)
            out_of_time.start()
            broken: TtsTrainError | None = None
            stdout = b""
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    feed(process.stdin)
                try:
                    stdout = take(process.stdout)
                except Unreachable as error:  # the exit code says why
                    broken = error
                process.stdout.close()
                code = process.wait()
            finally:
                out_of_time.cancel()
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if process.stdout is not None:
                    process.stdout.close()
            told.seek(0)
            stderr = masked_text(told.read().decode(errors="replace").strip())
        if code == -signal.SIGKILL:
            raise Unreachable(f"{self.host} did not finish '{verb}' in {timeout:.0f} s", hint="try again")
        if code == _NO_CONNECTION:
            raise Unreachable(f"no connection to {self.host}:{self.port}: {stderr[-300:]}", hint="try again")
        if code:
            raise ProgramFailed(code, stdout, stderr)
        if broken is not None:
            raise broken
        return stdout

    def argv(self, command: str) -> list[str]:
        """ssh's own command line. Host and user came from a server: nothing there may look like an option."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "IdentitiesOnly": "yes",
            "ServerAliveCountMax": "3",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "accept-new",  # the first key is believed, another one later is not
            "UserKnownHostsFile": str(self.rental.known_hosts),
        }
        told = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", *told, "-i", str(self.rental.key), "-p", str(self.port), f"{self.user}@{self.host}", command]


def machine_of(pod: Mapping[str, Any], rental: Rental, root: str, hidden: tuple[str, ...] = ()) -> Machine | None:
    """Where a pod is reached, None before it has a port. Raises Unavailable for an address that is none."""
    place = (pod.get("ssh") or {}).get("direct")
    if not place:
        return None
    host, user, port = str(place.get("host")), str(place.get("username") or "root"), place.get("port")
    if not _HOST.fullmatch(host) or not _USER.fullmatch(user) or not isinstance(port, int) or not 0 < port < 1 << 16:
        raise Unavailable("RunPod's address of the pod is none", hint="see the pod at https://console.runpod.io")
    return Machine(host, port, user, rental, root, hidden)


def make_key(rental: Rental) -> str:
    """The job's key pair, made when there is none; returns the public half."""
    public = rental.key.with_suffix(".pub")
    if not public.is_file():
        rental.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rental.key.unlink(missing_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", rental.tag, "-f", str(rental.key)]
        try:
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise Unavailable("ssh-keygen made no key", hint="install OpenSSH's client") from error
    return public.read_text(encoding="ascii").strip()


def _write(stdin: IO[bytes], data: bytes) -> None:
    stdin.write(data)

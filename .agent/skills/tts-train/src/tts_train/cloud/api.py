"""RunPod's REST API, version 2, as far as a training needs it: pods and the catalogue of GPUs.

Paths, fields and what each status means: https://docs.runpod.io/api-reference-v2. Version 1 (`interruptible`, a list
as start command) is retired, and version 2 has no spot pods. Bodies are JSON, so a name or an argument cannot become
syntax; the key goes into a header and nowhere else.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any, NoReturn

from tts_train import __version__
from tts_train.errors import Unavailable, UsageError
from tts_train.masking import masked_text
from tts_train.output import progress

KEY = "RUNPOD_API_KEY"
ADDRESS = "https://api.runpod.io"
PATIENCE_SECONDS = 300.0
"""How long a request is repeated that nothing is wrong with."""
_REQUEST_SECONDS = 30.0
_LONGEST_WAIT = 60.0
_BYTES = 16 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refused(Unavailable):
    """RunPod's no to one request (4xx): `status` and its own words."""

    def __init__(self, status: int, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NoAnswer(Unavailable):
    """Nothing, or a server's error: whether the request was done is not known."""


class Api:
    """A connection to one account. `key` is masked in whatever this process says from here on."""

    def __init__(self, key: str, address: str = ADDRESS) -> None:
        address = address.rstrip("/")
        parts = urllib.parse.urlsplit(address)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise UsageError(f"{address} is no place to send a key to", hint="https, or this machine")
        if not key.isascii() or not key.isprintable() or not key.strip() or " " in key:
            raise UsageError("the RunPod key holds characters that no key has", hint="copy it again, without spaces")
        self._key, self._address = key, address
        self._opener = urllib.request.build_opener(_NoRedirects)

    def pods(self, prefix: str) -> list[dict[str, Any]]:
        """The account's pods whose names begin so."""
        listed = self._patiently("GET", "/v2/pods").get("pods")
        if not isinstance(listed, list):
            raise NoAnswer("RunPod lists no pods in what it calls a list of pods", hint="try again")
        return [pod for pod in listed if str(pod.get("name", "")).startswith(prefix)]

    def pod(self, identifier: str) -> dict[str, Any] | None:
        """One pod, None when it is gone."""
        try:
            return self._patiently("GET", f"/v2/pods/{urllib.parse.quote(identifier, safe='')}")
        except Refused as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A new pod. Raises NoAnswer when there may be one all the same: look for its name before asking again."""
        return self._patiently("POST", "/v2/pods", body)

    def terminate(self, identifier: str) -> None:
        """End a pod for good, with its disk; one that is gone is no error."""
        try:
            self._patiently("DELETE", f"/v2/pods/{urllib.parse.quote(identifier, safe='')}")
        except Refused as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def data_center(self, volume: str) -> str:
        """Where a network volume is: a pod that mounts it has to be there, too. Raises Refused when there is none."""
        found = self._patiently("GET", f"/v2/network-volumes/{urllib.parse.quote(volume, safe='')}")
        return str(found["dataCenter"])

    def gpus(self, count: int, cloud: str) -> list[dict[str, Any]]:
        """Types of GPU with memory, price by the hour and stock."""
        query = urllib.parse.urlencode({"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud})
        listed: list[dict[str, Any]] = self._patiently("GET", f"/v2/catalog/gpus?{query}").get("gpus", [])
        return listed

    def _patiently(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask until there is an answer. A creation is repeated after "too many requests" alone: that did nothing."""
        deadline, backoff = time.monotonic() + PATIENCE_SECONDS, 1.0
        while True:
            try:
                return self._once(method, path, body)
            except NoAnswer as error:
                asked = error.seconds if isinstance(error, _Later) else None
                pause = min(backoff if asked is None else max(asked, 0.5), _LONGEST_WAIT)
                done_perhaps = method == "POST" and not isinstance(error, _Later)
                if done_perhaps or time.monotonic() + pause > deadline:
                    raise
                progress(f"RunPod: {error.message}; again in {pause:.0f} s")
                time.sleep(pause)
                backoff *= 2

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  https or this machine: see __init__
            self._address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            # The front refuses urllib's own name.
            headers={"Authorization": f"Bearer {self._key}", "User-Agent": f"tts-train/{__version__}"},
        )
        request.add_header("Accept", "application/json")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        asked = f"{method} {path.partition('?')[0]}"
        try:
            with self._opener.open(request, timeout=_REQUEST_SECONDS) as response:
                text = response.read(_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                self._refuse(asked, error)
        except (OSError, http.client.HTTPException) as error:
            reason = masked_text(str(getattr(error, "reason", error)), (self._key,))
            raise NoAnswer(f"no answer to {asked}: {reason or type(error).__name__}", hint="try again") from None
        try:
            answer = json.loads(text) if text.strip() else {}
        except ValueError:
            raise NoAnswer(f"the answer to {asked} is not JSON", hint="try again") from None
        if not isinstance(answer, dict):
            raise NoAnswer(f"the answer to {asked} is not an object", hint="try again")
        return answer

    def _refuse(self, asked: str, error: urllib.error.HTTPError) -> NoReturn:
        """Turn a status into what to do about it."""
        said = masked_text(_detail(error), (self._key,))
        message = f"{asked}: {error.code} {said}".rstrip()
        if error.code == http.client.TOO_MANY_REQUESTS:
            raise _Later(message, _seconds(error.headers.get("Retry-After"))) from None
        if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.REQUEST_TIMEOUT:
            raise NoAnswer(message, hint="see https://uptime.runpod.io and try again") from None
        raise Refused(error.code, message, hint=_HINTS.get(error.code, "see what RunPod says of it")) from None


class _Later(NoAnswer):
    """Too many requests: nothing was done."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message, hint="try again later")
        self.seconds = seconds


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along to wherever it is sent."""

    def redirect_request(
        self, _req: urllib.request.Request, _fp: IO[bytes], _code: int, _msg: str, _headers: Message, _newurl: str
    ) -> None:
        return None


_HINTS = {
    401: f"{KEY} is not, or no longer, a key of RunPod",
    402: "the account has no money left: add some at https://console.runpod.io",
    403: "the key may not do that: it needs read and write permission for pods",
}


def connect(key_file: Path | None) -> Api:
    """The account of the key in `key_file`, else of RUNPOD_API_KEY. Raises Unavailable without a key.

    RUNPOD_API_ADDRESS stands in for RunPod's own address.
    """
    if key_file is not None:
        try:
            os.environ[KEY] = key_file.read_text(encoding="ascii").strip()  # what masks text looks for secrets there
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"cannot read the key file: {type(error).__name__}", hint="check --key-file") from None
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise Unavailable(
            f"there is no key of RunPod: {KEY} is not set",
            hint="make one at https://console.runpod.io/user/settings, then --key-file FILE or the variable",
        )
    return Api(key, os.environ.get("RUNPOD_API_ADDRESS", ADDRESS))


def has_key(key_file: Path | None) -> bool:
    return key_file is not None or bool(os.environ.get(KEY, "").strip())


def _detail(error: urllib.error.HTTPError) -> str:
    """RFC 9457: title, detail, errors; anything else in short."""
    try:
        text = error.read(1 << 16).decode(errors="replace")
        problem = json.loads(text)
        parts = [problem.get("detail") or problem.get("title"), *problem.get("errors", ())]
        return "; ".join(str(part) for part in parts if part)
    except (OSError, ValueError, AttributeError, TypeError, http.client.HTTPException):
        return str(error.reason)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.strip().isdigit() else None

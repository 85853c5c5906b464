"""Pods of one rental: rented one at a time, each written down before it is asked for, and all of them ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tts_train.cloud.api import Api, NoAnswer, Refused
from tts_train.cloud.choose import Offer
from tts_train.cloud.record import Rental
from tts_train.errors import Unavailable
from tts_train.output import progress
from tts_train.training.status import now

ALIVE = ("PROVISIONING", "STARTING", "RUNNING")
LATE_SECONDS = 10.0
"""How long after a request without an answer its pod may still turn up."""
END_TRIES = 12
_TRY_NEXT = (400, 403)
"""No room for this type, or not for this account: another type may do."""


def rent(
    api: Api, rental: Rental, offers: Sequence[Offer], body: Callable[[str, Offer], dict[str, Any]]
) -> dict[str, Any]:
    """The first of `offers` that can be had. Raises Unavailable, with RunPod's last word, when none can."""
    last: Refused | None = None
    for offer in offers:
        try:
            return _rented(api, rental, offer, body)
        except Refused as error:
            if error.status not in _TRY_NEXT:
                raise
            progress(f"{offer.gpu}: {error.message}")
            last = error
    assert last is not None
    raise Unavailable(f"none of {len(offers)} GPU types could be had: {last.message}", hint="try again later") from last


def _rented(api: Api, rental: Rental, offer: Offer, body: Callable[[str, Offer], dict[str, Any]]) -> dict[str, Any]:
    name = _note(rental, offer)
    progress(f"renting {offer.gpu} as {name}" + (f", ${offer.dollars:g} an hour" if offer.dollars else ""))
    for try_left in (True, True, False):
        try:
            pod = api.create(body(name, offer))
            break
        except NoAnswer as error:
            # It may have been made all the same: asking again at once would make two.
            progress(f"{error.message}; looking whether {name} is there")
            time.sleep(LATE_SECONDS)
            found = [pod for pod in api.pods(name) if pod["name"] == name]
            if found:
                pod = found[0]
                break
            if not try_left:
                raise
    rental.update(pods=[{**row, "id": pod["id"]} if row["name"] == name else row for row in rental.read()["pods"]])
    return pod


def _note(rental: Rental, offer: Offer) -> str:
    """Write down what is about to be asked for; returns its name."""
    rows = rental.read()["pods"]
    name = f"{rental.prefix}{len(rows) + 1}"
    row = {"name": name, "id": None, "gpu": offer.gpu, "dollars_an_hour": offer.dollars, "asked_at": now()}
    rental.update(pods=[*rows, row])
    return name


def end_others(api: Api, rental: Rental, keep: str | None) -> dict[str, Any] | None:
    """End every pod of the rental but `keep`, whose facts are returned; None when it is gone.

    Others are those of answers that never came, and those that were lost and still cost their disk.
    """
    kept = None
    for pod in api.pods(rental.prefix):
        if pod["id"] == keep:
            kept = pod
        else:
            progress(f"ending {pod['name']} ({pod['id']}, {pod.get('status')})")
            api.terminate(str(pod["id"]))
    return kept


def end_all(api: Api, rental: Rental) -> int:
    """End every pod of the rental, and look until there is none. Returns how many were ended.

    Raises Unavailable, naming what may still cost money, when that cannot be said.
    """
    ended: set[str] = set()
    failed: Exception | None = None
    empty = 0
    for _ in range(END_TRIES):
        try:
            pods = api.pods(rental.prefix)
            for pod in pods:
                api.terminate(str(pod["id"]))
                ended.add(str(pod["id"]))
            empty = 0 if pods else empty + 1
            failed = None
        except (Refused, NoAnswer) as error:
            failed = error
        # A creation whose answer never came may turn up late: once more, later.
        if failed is None and empty and (empty > 1 or not _is_in_doubt(rental)):
            return len(ended)
        time.sleep(LATE_SECONDS if failed or _is_in_doubt(rental) else 1.0)
    known = ", ".join(f"{row['name']} ({row['id'] or 'no id'})" for row in rental.read()["pods"]) or rental.prefix
    raise Unavailable(
        f"pods may still run and cost money: {known}" + (f": {failed}" if failed else ""),
        hint="run.sh cloud reap, or end them at https://console.runpod.io",
    ) from failed


def _is_in_doubt(rental: Rental) -> bool:
    """Whether some creation never got an answer."""
    return any(row["id"] is None for row in rental.read()["pods"])

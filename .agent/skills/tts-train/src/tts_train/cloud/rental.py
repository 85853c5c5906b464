"""train-runpod and `cloud reap`: what the two commands do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tts_train.cloud import choose
from tts_train.cloud.api import Api, connect, has_key
from tts_train.cloud.choose import Offer
from tts_train.cloud.follow import Follower
from tts_train.cloud.plan import Planned, Wish, plan, request, told
from tts_train.cloud.pods import end_all
from tts_train.cloud.record import PREFIX, opened, rentals, state_of, tag_in
from tts_train.errors import Busy, TtsTrainError, Unavailable
from tts_train.output import progress
from tts_train.workspace import Workspace

_KEY_TO_COME = "ssh-ed25519 (a key pair of the job's own, made when it starts)"


def train_on_runpod(
    config: Path, workspace: Workspace, wish: Wish, *, key_file: Path | None, dry_run: bool
) -> dict[str, Any]:
    """Plan, and unless `dry_run` train on pods until it is done. Returns what was fetched, or what would be done."""
    planned = plan(config, workspace)
    _ = wish.mount, wish.environment  # what is wrong with them is said now
    if dry_run:
        asked = connect(key_file) if has_key(key_file) else None
        offers = _offers(asked, planned, wish) if asked else choose.without_catalogue(planned.gib, wish.gpu)
        place = _place(asked, wish) if asked else None
        body = request(f"{PREFIX}(8 digits)-1", offers[0], planned, wish, _KEY_TO_COME, place)
        return {"dry_run": True, **told(planned, wish, offers, body)}
    if planned.training["done"]:
        return {**planned.training, "nothing_left_to_do": True, "next": f"run.sh next {planned.config.run}"}
    api = connect(key_file)
    offers = _offers(api, planned, wish)  # a wrong key, price or volume is said before anything is written
    place = _place(api, wish)
    for warning in told(planned, wish, offers, {})["warnings"]:
        progress(f"warning: {warning}")
    rental = opened(workspace, {"run": planned.config.run, "config": str(config), "max_price": wish.max_price})
    deadline = datetime.fromisoformat(rental.read()["started_at"]).timestamp() + wish.max_hours * 3600
    follower = Follower(api, rental, planned, wish, workspace, lambda: _offers(api, planned, wish), deadline, place)
    result = follower.follow()
    run = planned.config.run
    done = result["ended"] == "done"
    following = f"run.sh next {run}" if done else "the same command again goes on where it was"
    text = f"{run}: {result['ended']}; epochs here: {len(result['published'])}; no pod is left"
    return {**result, "next": following, "text": text}


def reap(workspace: Workspace, *, key_file: Path | None, everywhere: bool, dry_run: bool) -> dict[str, Any]:
    """End the pods of trainings that nobody follows any more; with `everywhere` also those that no record here knows.

    Returns {ended, left, text}. Raises Unavailable when some could not be ended, after all others were.
    """
    api = connect(key_file)
    pods = [(tag_in(str(pod.get("name", ""))), pod) for pod in api.pods(PREFIX)]
    known = {rental.tag: rental for rental in rentals(workspace)}
    ended: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    failed: list[str] = []
    for rental in known.values():
        own = [_row(pod) for tag, pod in pods if tag == rental.tag]
        if not own and state_of(rental) == "closed":
            continue
        try:
            with contextlib.nullcontext() if dry_run else rental.held():
                if not dry_run:
                    end_all(api, rental)
                    rental.close("reaped")
                ended += own
        except Busy as busy:
            left += [{**row, "why": busy.message} for row in own]
        except TtsTrainError as error:
            failed.append(error.message)
    for tag, pod in pods:
        if tag is None or tag in known:
            continue
        if not everywhere:
            left.append({**_row(pod), "why": "no record of it here: --all ends it, whoever follows it"})
            continue
        if not dry_run:
            api.terminate(str(pod["id"]))
        ended.append(_row(pod))
    if failed:
        raise Unavailable("; ".join(failed), hint="try again, or see https://console.runpod.io")
    lines = [f"{'would end' if dry_run else 'ended'} {row['name']} ({row['id']})" for row in ended]
    lines += [f"left {row['name']} ({row['id']}): {row['why']}" for row in left]
    return {"ended": ended, "left": left, "dry_run": dry_run, "text": "\n".join(lines) or "nothing is left over"}


def _offers(api: Api, planned: Planned, wish: Wish) -> list[Offer]:
    count = planned.config.processes
    return choose.offers(
        api.gpus(count, wish.cloud),
        gib=planned.gib,
        count=count,
        cloud=wish.cloud,
        max_price=wish.max_price,
        only=wish.gpu,
    )


def _place(api: Api, wish: Wish) -> str | None:
    """The data centre of the volume."""
    return api.data_center(wish.mount[0]) if wish.mount else None


def _row(pod: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": pod.get("name"), "id": pod.get("id"), "status": pod.get("status")}

"""Which GPU to rent: enough memory, under the price, in stock, the cheapest first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tts_train.errors import Unavailable

HEADROOM = 1.1
"""Memory asked for over what the estimate says: nothing of it was seen on a GPU."""
LEAST_GIB = 8.0
"""For a family that reckons no GPU memory, because it trains on a CPU."""
WITHOUT_CATALOGUE = (
    ("NVIDIA RTX A4000", 16),
    ("NVIDIA GeForce RTX 4090", 24),
    ("NVIDIA RTX A6000", 48),
    ("NVIDIA A100 80GB PCIe", 80),
)
"""(id, GB) to show a dry run with when there is no key to read the catalogue by."""


@dataclass(frozen=True)
class Offer:
    """A type of GPU as RunPod names it. `dollars`: an hour of all of them together. None: not known."""

    gpu: str
    gigabytes: float | None
    dollars: float | None


def memory_needed(estimate: Mapping[str, Any]) -> float:
    """GiB that each GPU must have, from a plan's estimate."""
    return max(LEAST_GIB, math.ceil(float(estimate.get("memory_gib") or 0.0) * HEADROOM))


def offers(
    catalogue: Sequence[Mapping[str, Any]], *, gib: float, count: int, cloud: str, max_price: float, only: str | None
) -> list[Offer]:
    """What fits, the cheapest first. Raises Unavailable with the nearest when nothing does.

    `only`: the one type that the user wants, whatever it is called.
    """
    found: list[tuple[Offer, str]] = []
    for gpu in catalogue:
        price = (gpu.get("price") or {}).get(cloud.lower())
        if gpu.get("manufacturer") != "NVIDIA" or not price:  # 0: not to be had there
            continue
        if only is not None and only not in (gpu["id"], gpu.get("name")):
            continue
        offer = Offer(str(gpu["id"]), float(gpu["memory"]), round(float(price) * count, 4))
        most = (gpu.get("maxCount") or {}).get(cloud.lower(), count)
        found.append((offer, _lacks(offer, str(gpu.get("availability")), gib, max_price, int(most) < count)))
    fit = sorted((offer for offer, lack in found if not lack), key=lambda offer: (offer.dollars or 0.0, offer.gpu))
    if fit:
        return fit
    nearest = sorted(found, key=lambda pair: (pair[1].count(","), pair[0].dollars or 0.0))[:3]
    told = "; ".join(f"{offer.gpu} ({offer.gigabytes:g} GB, ${offer.dollars:g}): {lack}" for offer, lack in nearest)
    raise Unavailable(
        f"no GPU with {gib:g} GiB under ${max_price:g} an hour{f' is called {only!r} and' if only else ''} can be had"
        + (f"; nearest: {told}" if told else ""),
        hint="raise --max-price, try --cloud COMMUNITY, or a smaller batch_size with more accumulation",
    )


def _lacks(offer: Offer, stock: str, gib: float, max_price: float, too_many: bool) -> str:
    reasons = ["too little memory"] if (offer.gigabytes or 0.0) < gib else []
    reasons += ["too dear"] if (offer.dollars or 0.0) > max_price else []
    reasons += ["none in stock"] if stock == "NONE" else []
    reasons += ["not so many in one machine"] if too_many else []
    return ", ".join(reasons)


def without_catalogue(gib: float, only: str | None) -> list[Offer]:
    """What a dry run shows when nobody can be asked."""
    if only is not None:
        return [Offer(only, None, None)]
    fit = [Offer(name, size, None) for name, size in WITHOUT_CATALOGUE if size >= gib]
    if fit:
        return fit
    largest = WITHOUT_CATALOGUE[-1][1]
    raise Unavailable(f"{gib:g} GiB are more than the {largest} GB known here without a key", hint="name one: --gpu")

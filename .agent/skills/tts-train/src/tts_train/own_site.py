"""Whether a request comes from this machine's own pages and programs: asked by every server that listens on loopback.

A page elsewhere can be bound to 127.0.0.1 by its DNS (rebinding), or send requests across origins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
"""Any port: `ssh -L` may offer the server at another one."""
OWN_SITES = ("same-origin", "none")
"""Sec-Fetch-Site of our own pages, and of addresses that were typed, bookmarked or opened from a terminal."""


def foreign_part(
    hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str], *, any_host: bool = False
) -> str | None:
    """Which of a request's headers is not our own: "host", "origin", "site" or None.

    `any_host`: whoever asks proves by other means that they may; TLS may then end before us.
    """
    if len(hosts) != 1 or not (any_host or HOST.fullmatch(hosts[0])):
        return "host"
    own = [f"http://{hosts[0]}", *([f"https://{hosts[0]}"] if any_host else [])]
    if any(origin not in own for origin in origins):
        return "origin"
    return "site" if any(site not in OWN_SITES for site in sites) else None

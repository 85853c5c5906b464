"""Which kind of file system a path is on. SQLite's locks and its shared memory need a local disk."""

from __future__ import annotations

import re
from pathlib import Path

from tts_train.errors import DiskError

MOUNTS = Path("/proc/mounts")
_NETWORK = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs")
) | {"smb2", "smb3", "smbfs", "vboxsf"}
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.exfat"))


def require_local_disk(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raise DiskError when `folder` (which need not exist) lies on a network file system.

    Without a mount table (not Linux) nothing is known and nothing is refused.
    """
    kind = mount_type(folder, mounts)
    if kind is None or not _is_network(kind):
        return
    raise DiskError(
        f"{folder} is on a network file system ({kind}), where SQLite can lose or corrupt verdicts",
        hint="keep the workspace on a local disk: --workspace DIR or TTS_TRAIN_WORKSPACE",
    )


def mount_type(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Type of the file system `path` is on (ext4, nfs4, fuse.sshfs, …), or None when the table is not there."""
    if not mounts.is_file():
        return None
    resolved = path.resolve()
    found: tuple[int, str] | None = None
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        # A later line of the same depth is mounted over the earlier one.
        if resolved.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), fields[2]
    return found[1] if found else None


def _is_network(kind: str) -> bool:
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _unescaped(field: str) -> str:
    """The kernel writes space, tab, newline and backslash of a mount point as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)

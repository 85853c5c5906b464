"""The CPU's x86-64 level, by the flags that the kernel shows, and what an old one can run."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from tts_train.work.checkups.row import Row

CPUINFO = Path("/proc/cpuinfo")
LEVELS = {
    "v2": frozenset(("cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3")),
    "v3": frozenset(("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")),
    "v4": frozenset(("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")),
}
"""Kernel flags that each level of the x86-64 psABI adds (pni is SSE3, abm is LZCNT)."""
OLD_CPU_PINS = ("numpy==1.26.4", "torch==2.7.0", "torchaudio==2.7.0", "transformers==4.57.3")
"""Reported to run on a Phenom II of 2010, below v2: dev.to, "Running modern Python TTS toolchains on non-AVX2 CPUs"."""
OLD_CPU_WITHOUT = ("datasets", "pandas", "pyarrow", "torchcodec")
"""Their wheels stop with an illegal instruction there; speaking and fine-tuning need none of them."""


def level(flags: frozenset[str] | None, machine: str | None = None) -> str:
    """x86-64-v1 to -v4; the machine's name elsewhere, and "x86-64" when nothing shows the flags (None)."""
    machine = machine or platform.machine()
    if machine not in ("x86_64", "AMD64"):
        return machine
    if flags is None:
        return "x86-64"
    reached = "v1"
    for name, needed in LEVELS.items():
        if not flags >= needed:
            break
        reached = name
    return f"x86-64-{reached}"


def read_flags(cpuinfo: Path = CPUINFO) -> frozenset[str] | None:
    """Flags of the first CPU, or None where the kernel has no such file or line."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    line = next((line for line in lines if line.partition(":")[0].strip() == "flags"), None)
    return None if line is None else frozenset(line.partition(":")[2].split())


def rows(cpuinfo: Path = CPUINFO, machine: str | None = None) -> Iterator[Row]:
    """One row: the level, and for an old CPU what it means and the pins that are known to run there."""
    flags = read_flags(cpuinfo)
    reached = level(flags, machine)
    if reached == "x86-64-v1":
        lacks = ", ".join(sorted(LEVELS["v2"] - (flags or frozenset())))
        detail = (
            f"{reached}: it lacks {lacks}. NumPy 2, which is locked, does not run below x86-64-v2, and torch after 2.7 "
            "is not known to: commands that calculate end with SIGILL or SIGFPE"
        )
        fix = (
            "use another machine for datasets, training and probes; to go on with this one, make environments of your "
            f"own with {' '.join(OLD_CPU_PINS)}, without {', '.join(OLD_CPU_WITHOUT)}, DataLoader workers 0, spectra "
            "made on the GPU, and torch._dynamo's table of built-ins left empty (references/troubleshooting.md)"
        )
        yield Row("cpu", "problem", detail, fix)
    elif reached == "x86-64-v2":
        avx = "AVX but no AVX2" if flags and "avx" in flags else "no AVX"
        detail = f"{reached} ({avx}): slow, and wheels built for AVX2 (bitsandbytes' int8 and int4 kernels) do not run"
        fix = (
            "run `run.sh demo` before a long job; if a package ends with SIGILL, try "
            f"{' '.join(OLD_CPU_PINS)} in an environment of your own, or another machine"
        )
        yield Row("cpu", "warning", detail, fix)
    else:
        yield Row("cpu", "ok", reached)

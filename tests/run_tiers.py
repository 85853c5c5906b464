"""Run the test tiers, each in the environment that it tests, and sum them up. Standard library only.

`./run.sh test` starts this. A tier that fails does not stop the next; one that fails, or finds no test, fails the
whole. A tier over its budget is named in the summary: it still passes, but somebody should look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / ".agent/skills/tts-train"
LAUNCHER = SKILL / "src/tts_train/environments.py"
PYTEST_FOUND_NOTHING = 5


@dataclass
class Counts:
    """Tests, or checks that are not pytest's (each linter is one)."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def in_environment(name: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-I", str(LAUNCHER), "run", name, *map(str, arguments)]


def check(label: str, command: Sequence[str | Path]) -> Counts:
    """A program whose exit code says it all."""
    print(f"--- {label}", flush=True)
    code = subprocess.run([str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    return Counts(passed=1) if code == 0 else Counts(failed=1, failures=[f"{label} (exit code {code})"])


def pytest(
    environment: str, *arguments: str | Path, aside: bool = False, variables: Mapping[str, str] | None = None
) -> Counts:
    """pytest in an environment; its counts come from its own report. `aside`: what it says is printed at its end."""
    label = f"pytest {' '.join(map(str, arguments))} ({environment})"
    print(f"--- {label}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tts-train-") as folder:
        report, log = Path(folder) / "report.xml", Path(folder) / "log.txt"
        command = in_environment(environment, "-m", "pytest", "--junitxml", report, "--durations=5", *arguments)
        with log.open("wb") if aside else nullcontext() as output:
            code = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode
        if aside:
            print(f"--- end of {label}\n{log.read_text(errors='replace')}", flush=True)
        counts = _counts(report)
    if code != 0 and counts.failed == 0:
        reason = "no tests" if code == PYTEST_FOUND_NOTHING else f"exit code {code}"
        counts.add(Counts(failed=1, failures=[f"{label}: {reason}"]))
    return counts


def _counts(report: Path) -> Counts:
    counts = Counts()
    if not report.is_file():
        return counts
    # A first try that failed is there, too, without an outcome: the last one counts.
    cases = {(case.get("classname"), case.get("name")): case for case in ET.parse(report).iter("testcase")}
    for case in cases.values():
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            counts.failed += 1
            counts.failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in outcomes:
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def setup_tier() -> Counts:
    counts = Counts()
    for names in (("core", "dev", "dashboard"), ("skill", "project")):
        with ThreadPoolExecutor() as pool:
            for made in pool.map(lambda name: check(f"setup {name}", [ROOT / "run.sh", "setup", name]), names):
                counts.add(made)
    return counts


def lint_tier() -> Counts:
    tools = Path(os.environ.get("TTS_TRAIN_ENVS", SKILL / ".envs")) / "dev" / "bin"
    shell = [ROOT / "run.sh", SKILL / "run.sh", ROOT / ".ci/run"]
    counts = Counts()
    for label, command in (
        ("ruff check", [tools / "ruff", "check"]),
        ("ruff format", [tools / "ruff", "format", "--check"]),
        ("mypy", [tools / "mypy"]),
        ("import-linter", [tools / "lint-imports", "--no-logo"]),
        ("shellcheck", [tools / "shellcheck", *shell]),
        ("shfmt", [tools / "shfmt", "-i", "2", "-d", *shell]),
        ("skills-ref", [tools / "agentskills", "validate", SKILL]),
        ("agnix", [tools / "agnix", "--strict", SKILL]),
    ):
        counts.add(check(label, command))
    return counts


BOTH_CORES = ("-n", "2", "--dist", "loadfile")
"""Where tests are many and small; a file stays in one process, so its fixtures are made once."""
ELSEWHERE = [f"--ignore=tests/{folder}" for folder in ("skill", "project", "browser", "demo", "faults")]


def unit_tier() -> Counts:
    return pytest("dev", "tests", *ELSEWHERE, *BOTH_CORES, "-m", "not faults")


def at_once(*suites: tuple[str, ...], **variables: str) -> Counts:
    """Suites (environment, arguments…) side by side, one thread each: most of their tests use no more."""
    counts = Counts()
    variables["OMP_NUM_THREADS"] = "1"
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(pytest, *suite, "-W", "default", aside=True, variables=variables) for suite in suites]
        for suite in running:
            counts.add(suite.result())
    return counts


def slow_tier() -> Counts:
    return at_once(("skill", "tests/skill", "-m", "not faults"), ("project", "tests/project", "-m", "not faults"))


def browser_tier() -> Counts:
    """Without Chromium these fail: a page that nobody opened is not tested."""
    # Three at a time: a page mostly waits, for its server or for the end of a clip. A clip of a second may have ended
    # before a busy machine looks, so what fails has a second try, and is named: what is broken fails twice.
    return pytest("dev", "tests/browser", "-n", "3", "--dist", "loadfile", "--reruns", "1", "-rR")


def demo_tier() -> Counts:
    # One after the other: trainings side by side take each other's cores, 1,087 s instead of 831.
    return pytest("dev", "tests/demo")


def faults_tier() -> Counts:
    with tempfile.TemporaryDirectory(prefix="tts-train-") as folder:
        place = Path(folder) / "faults.jsonl"
        counts = at_once(
            ("skill", "tests/faults", "tests/skill", "-m", "faults"),
            ("project", "tests/project", "-m", "faults"),
            ("dev", "tests/unit", "-m", "faults"),
            TTS_TRAIN_FAULT_TABLE=str(place),
        )
        print(fault_table(place), flush=True)
    return counts


def fault_table(place: Path) -> str:
    """What the tests recorded (tests/kills.py), as Markdown: a row per stage, and their sums."""
    rows = [json.loads(line) for line in place.read_text().splitlines()] if place.is_file() else []
    numbers = ("calls", "points", "at_random", "wrong", "seconds")
    rows = sorted(rows, key=lambda row: row["stage"])
    rows.append({"stage": "all", **{name: sum(row[name] for row in rows) for name in numbers}})
    lines = [
        "| stage | I/O calls | faults at calls | kills at random | wrong ends | seconds |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [f"| {row['stage']} | " + " | ".join(f"{row[name]:.0f}" for name in numbers) + " |" for row in rows]
    return "\n".join(lines)


@dataclass(frozen=True)
class Tier:
    minutes: float
    environments: tuple[str, ...]
    run: Callable[[], Counts]
    about: str


TIERS = {
    "setup": Tier(3, (), setup_tier, "every environment from its lock"),
    "lint": Tier(0.5, ("dev",), lint_tier, "style, types, import rules, shell, the skill's format"),
    "unit": Tier(3, ("core", "dev"), unit_tier, "all that needs no model"),
    "slow": Tier(7, ("dev", "skill", "project"), slow_tier, "real models, in the environments of their libraries"),
    "browser": Tier(4, ("dev",), browser_tier, "the dashboard, opened in Chromium"),
    "demo": Tier(10, ("core", "dev", "skill", "project"), demo_tier, "the main job, whole"),
    "faults": Tier(5, ("dev", "skill", "project"), faults_tier, "killed, lost, out of disk: then run again"),
}


def run_tier(name: str) -> tuple[Counts, float]:
    """Run one tier; returns its counts and seconds. Environments it needs are set up first if they are not."""
    tier = TIERS[name]
    print(f"=== {name}: {tier.about}; budget {tier.minutes:g} min", flush=True)
    started = time.monotonic()
    counts = Counts()
    if tier.environments:
        made = check(f"environments {', '.join(tier.environments)}", [ROOT / "run.sh", "setup", *tier.environments])
        if made.failed:
            return made, time.monotonic() - started
    counts.add(tier.run())
    return counts, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser("run.sh test", description="Run the test tiers.")
    parser.add_argument("--tier", action="append", choices=TIERS, help="only this one; may be repeated")
    parser.add_argument("--exhaustive", action="store_true", help="faults at every I/O point instead of every n-th")
    parser.add_argument("--list", action="store_true", help="only name the tiers and their budgets")
    options = parser.parse_args()
    if options.list:
        for name, tier in TIERS.items():
            print(f"{name:7} {tier.minutes:>3g} min  {tier.about}")
        return 0
    # Tests reach no model hub, and only the tests of set-up set anything up.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TTS_TRAIN_NO_SETUP": "1"}
    if options.exhaustive:
        os.environ["TTS_TRAIN_EXHAUSTIVE"] = "1"
    total, lines = Counts(), []
    for name in options.tier or TIERS:
        counts, seconds = run_tier(name)
        total.add(counts)
        budget = TIERS[name].minutes * 60
        late = f"  WARNING: over its budget of {budget:.0f} s" if seconds > budget else f" of {budget:.0f} s"
        if options.exhaustive and name == "faults":
            late = ", every point"
        lines.append(f"{name:7} {counts}  in {seconds:.0f} s{late}")
    print("=== summary")
    for failure in total.failures:
        print(f"FAILED {failure}")
    print("\n".join(lines))
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

"""The documents say what is true: commands, options, links, the file tree, and blocks that can be typed as they stand.

A ```console block is typed here, line by line, in a workspace that holds a small dataset. A block that takes minutes,
or needs an environment with models, opens with ```console minutes: its commands and options are checked, not run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tts_train.clip import Clip
from tts_train.dataset import write_manifest

ROOT = Path(__file__).resolve().parents[2]
SKILL = ROOT / ".agent/skills/tts-train"
PACKAGE = SKILL / "src/tts_train"
REFERENCES = sorted((SKILL / "references").glob("*.md"))
TUTORIAL = ROOT / "docs/tutorial.md"
PAGES = [ROOT / "README.md", SKILL / "SKILL.md", TUTORIAL, *REFERENCES]
CONFIGS = sorted((ROOT / "configs/tts").glob("*.yaml"))
EVERYWHERE = {"--help", "--human"}
"""Options of every click command that its own help need not name."""


@dataclass(frozen=True)
class Typed:
    """A command as a document gives it."""

    page: str
    line: int
    words: tuple[str, ...]
    runs: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


@cache
def reference_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli_reference", ROOT / "docs/make_cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = [command for command, _, _ in reference_maker().commands()]


@cache
def helps() -> dict[str, str]:
    """Command → the text of its section in the reference, which another test compares with --help."""
    page = (ROOT / "docs/cli-reference.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (\S+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(line, info string, lines) of each fenced block."""
    info: str | None = None
    inside: list[str] = []
    start = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            inside.append(line)
        elif info is None:
            info, inside, start = line[3:].strip(), [], number
        else:
            yield start, info, inside
            info = None


def commands_in_blocks(path: Path) -> Iterator[Typed]:
    for start, info, lines in blocks(path):
        if not info.startswith("console"):
            continue
        assert info in ("console", "console minutes"), f"{path.name}:{start}: unknown mark on a block"
        for offset, line in enumerate(lines, 1):
            assert line.startswith("$ "), f"{path.name}:{start + offset}: a console line begins with '$ '"
            words = tuple(shlex.split(line[2:], comments=True))
            yield Typed(path.name, start + offset, words, runs=info == "console")


def commands_in_prose(path: Path) -> Iterator[Typed]:
    """`run.sh …` in code spans and in comments of configs; the rest of a span is split as a shell would."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
        spans = re.finditer(r"`([^`\n]+)`", text)
    else:
        spans = re.finditer(r"# +(\.?/?\S*run\.sh .+)$", text, flags=re.MULTILINE)
    for span in spans:
        if re.match(r"\S*run\.sh\b", span[1]):
            yield Typed(path.name, text.count("\n", 0, span.start()) + 1, tuple(shlex.split(span[1])))


def all_commands() -> list[Typed]:
    pages = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs/decisions").glob("*.md"))]
    found = [command for page in pages for command in (*commands_in_blocks(page), *commands_in_prose(page))]
    return [*found, *(command for config in CONFIGS for command in commands_in_prose(config))]


def faults(typed: Typed) -> Iterator[str]:
    """What is wrong with a command: an unknown name, or an option its help does not list."""
    entry, *rest = typed.words
    if entry not in ("./run.sh", "run.sh", ".agent/skills/tts-train/run.sh"):
        if typed.runs:
            yield f"{typed}: only run.sh is typed in a block that is run"
        return
    if not rest or rest[0] in ("--help", "help") or rest[0].isupper():
        return
    if rest[0] not in COMMANDS:
        yield f"{typed}: no such command"
        return
    if "--" in rest:  # a command within a command
        within = rest.index("--")
        yield from faults(replace(typed, words=(entry, *rest[within + 1 :])))
        rest = rest[:within]
    known = set(re.findall(r"--[a-z][a-z0-9-]*", helps()[rest[0]])) | EVERYWHERE
    given = [word.partition("=")[0] for word in rest[1:] if word.startswith("--")]
    yield from (f"{typed}: no option {option}" for option in given if option not in known)


def test_reference_is_current() -> None:
    answer = subprocess.run(
        [sys.executable, ROOT / "docs/make_cli_reference.py", "--check"], capture_output=True, text=True, check=False
    )

    assert answer.returncode == 0, answer.stderr


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = {word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()[:2]}
    named |= {word for page in PAGES for typed in commands_in_blocks(page) for word in typed.words[1:2]}

    assert set(COMMANDS) - named == set()
    assert list(helps()) == COMMANDS


def test_commands_and_options_exist() -> None:
    typed = all_commands()

    assert len(typed) > 40, "the documents' commands were not found"
    assert [fault for command in typed for fault in faults(command)] == []


@pytest.mark.parametrize(
    "words", [("./run.sh", "tune", "x"), ("./run.sh", "next", "x", "--wirte")], ids=["command", "option"]
)
def test_a_wrong_command_is_found(words: tuple[str, ...]) -> None:
    assert list(faults(Typed("page", 1, words)))


def test_decision_table_names_every_command() -> None:
    table = (SKILL / "SKILL.md").read_text(encoding="utf-8").split("## Which command", 1)[1].split("\n## ", 1)[0]
    named = {span.split()[0] for span in re.findall(r"`([^`\n]+)`", table)}

    assert set(COMMANDS) - named == set()


def test_moves_and_verdicts_are_explained() -> None:
    from tts_train.review.decision.moves import load_moves
    from tts_train.review.record.verdicts import CATEGORIES, MARKS, WORD_FAULTS

    card = (SKILL / "SKILL.md").read_text(encoding="utf-8")
    page = (SKILL / "references/listening-loop.md").read_text(encoding="utf-8")
    moves = {move for rule in load_moves().rules for move in (rule.move, *rule.also)}

    assert {name for name in (*moves, *CATEGORIES) if f"`{name}`" not in card} == set()
    assert {name for name in (*moves, *CATEGORIES, *MARKS, *WORD_FAULTS) if f"`{name}`" not in page} == set()


def test_exit_codes_are_explained() -> None:
    from tts_train.errors import BY_KIND

    for page in (SKILL / "SKILL.md", SKILL / "references/troubleshooting.md"):
        rows = set(re.findall(r"\d+", " ".join(re.findall(r"^\| ([\d, ]+) \|", page.read_text(), flags=re.MULTILINE))))

        assert {str(error.exit_code) for error in BY_KIND.values()} | {"130", "143"} <= rows, page.name


def test_config_keys_are_explained() -> None:
    from tts_train.config import (
        LoraSettings,
        Parent,
        PiperSettings,
        ProbeChoice,
        Qwen3Settings,
        Schedule,
        TrainConfig,
        XttsSettings,
    )

    page = (SKILL / "references/formats.md").read_text(encoding="utf-8")
    inner = {
        "schedule": Schedule,
        "probe": ProbeChoice,
        "parent": Parent,
        "piper": PiperSettings,
        "qwen3": Qwen3Settings,
        "xtts": XttsSettings,
    }
    keys = set(TrainConfig.model_fields) - set(inner)
    keys |= {key for model in (*inner.values(), LoraSettings) for key in model.model_fields}
    spans = {word for span in re.findall(r"`([^`\n]+)`", page) for word in span.split(".")}

    assert keys - spans == set()


def test_rejection_reasons_are_explained() -> None:
    from tts_train.backends.piper.examples import REASONS
    from tts_train.dataset_report.reasons import REASONS as TOLD
    from tts_train.ingest.screen.options import default_filters

    raised = r'(?:AlignmentFailed\(|BadLine\(\s*(?:line\.)?number,|_rejection\(line, name,|return)\s*"([a-z]+-[a-z-]+)"'
    sources = [path for part in ("align", "ingest") for path in sorted((PACKAGE / part).glob("*.py"))]
    reasons = {reason for path in sources for reason in re.findall(raised, path.read_text(encoding="utf-8"))}
    page = (SKILL / "references/dataset.md").read_text(encoding="utf-8")

    assert {"text-does-not-fit", "low-confidence", "bad-line"} <= reasons, "the code's reasons were not found"
    for item in default_filters("book", 1.5, 15.0, wer=True):
        reasons |= {
            code for code, limit in ((item.kind.low, item.low), (item.kind.high, item.high)) if limit is not None
        }
    assert {reason for reason in reasons | set(REASONS) | set(TOLD) if f"`{reason}`" not in page} == set()


def test_every_reference_is_linked_with_its_occasion() -> None:
    card = (SKILL / "SKILL.md").read_text(encoding="utf-8")

    for page in REFERENCES:
        assert re.search(rf"\(references/{page.name}\): (before|when|for) ", card), f"{page.name} is not linked"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "datasets/demo/README.md"]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_card_is_short() -> None:
    lines = (SKILL / "SKILL.md").read_text(encoding="utf-8").splitlines()

    assert len(lines) < 200


def tracked(folder: Path = ROOT) -> list[Path]:
    """Files that git tracks, or would with the next add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and os.path.lexists(path := folder / name)]


@pytest.fixture(scope="module")
def clean_skill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The skill as it is shipped: tracked files alone, without environments and caches."""
    copy = tmp_path_factory.mktemp("shipped") / "tts-train"
    for path in tracked(SKILL):
        target = copy / path.relative_to(SKILL)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return copy


def test_official_validator(clean_skill: Path) -> None:
    import skills_ref

    assert skills_ref.validate(clean_skill) == []


def test_strict_validator(clean_skill: Path) -> None:
    agnix = Path(sys.executable).parent / "agnix"
    answer = subprocess.run([agnix, "--strict", clean_skill], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def tree_of_readme() -> dict[str, str]:
    """Path → its line's text, out of README's tree; folders end with a slash."""
    (lines,) = [lines for _, info, lines in blocks(ROOT / "README.md") if info == "text tree"]
    named: dict[str, str] = {}
    above: list[str] = []
    for line in lines:
        name, _, about = line.strip().partition(" ")
        depth, rest = divmod(len(line) - len(line.lstrip()), 2)
        assert rest == 0, f"indent by two: {line}"
        above = [*above[:depth], name]
        assert len(above) == depth + 1, f"a level is missing above: {line}"
        assert about.strip(), f"says nothing: {line}"
        named["".join(above)] = about.strip()
    return named


def test_tree_names_what_is_there() -> None:
    named = tree_of_readme()
    files = [path.relative_to(ROOT).as_posix() for path in tracked()]
    present = {*files, *(f"{parent.as_posix()}/" for name in files for parent in Path(name).parents)}

    assert {path for path in named if path not in present} - {"artifacts/"} == set()
    top = {name.partition("/")[0] for name in files}
    assert top - {path.partition("/")[0] for path in named} == set()
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    commands = {path.relative_to(ROOT).as_posix() for path in (SKILL / "scripts").glob("*.py")}
    assert (modules | commands) - set(named) == set()


WORKPLACE = re.compile(r"(?<![\w.*-])/(?:work|root|tmp/lab)(?:/|\b)(?!/?\*)")


@pytest.mark.parametrize("text", ["cd /" + "work/main", "'/tmp" + "/lab/x'", "/" + "root/.cache"])
def test_workplace_paths_are_recognised(text: str) -> None:
    assert WORKPLACE.search(text)


def test_no_file_names_a_workplace() -> None:
    found = []
    for path in tracked():
        if path.is_symlink() or path.suffix in (".flac", ".m4b", ".png", ".wav"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if WORKPLACE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")

    assert found == []


def test_locks_name_no_address() -> None:
    locks = sorted((SKILL / "locks").glob("*.txt"))
    wrong = re.compile(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|^-[ief] | @ ", re.MULTILINE)

    assert locks
    assert [lock.name for lock in locks if wrong.search(lock.read_text(encoding="utf-8"))] == []


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents' light commands find: the repository's files, and datasets of three clips each."""
    root = tmp_path_factory.mktemp("workspace")
    for name in ("run.sh", ".agent"):
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "configs", root / "configs")
    (root / "datasets").mkdir()
    (root / "datasets/demo").symlink_to(ROOT / "datasets/demo")
    for voice in ("ann", "demo_book"):
        make_dataset(root / "datasets" / voice, voice)
    return root


def make_dataset(folder: Path, voice: str) -> None:
    (folder / "clips").mkdir(parents=True)
    shutil.copyfile(ROOT / "datasets/demo/dataset.yaml", folder / "dataset.yaml")
    for number in range(3):
        with wave.open(str(folder / f"clips/{number}.wav"), "wb") as clip:
            clip.setparams((1, 2, 24000, 0, "NONE", ""))
            clip.writeframes(bytes(48000))
    clips = [Clip(str(number), f"clips/{number}.wav", "Put the kettle on.", voice, "en", 1.0) for number in range(3)]
    write_manifest(folder / "train_manifest.jsonl", clips)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_config_works_and_says_how_to_run_it(path: Path, workspace: Path) -> None:
    from tts_train.config import load_train_config
    from tts_train.workspace import Workspace

    name = path.relative_to(ROOT).as_posix()
    # What it names is committed, but for the dataset: that is where ingest, as its comment says, puts it.
    config = load_train_config(workspace / name, Workspace(workspace))
    text = path.read_text(encoding="utf-8")

    assert text.splitlines()[0] == f"# ./run.sh train-local {name}"
    assert f"./run.sh ingest datasets/demo/book.m4b demo {Path(config.dataset).parent} " in text


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(typed.runs for typed in commands_in_blocks(page))],
    ids=lambda page: page.name,
)
def test_light_blocks_run(page: Path, workspace: Path, tmp_path: Path) -> None:
    # A page is read from its top: what one command leaves, the next may use.
    place = tmp_path / "workspace"
    shutil.copytree(workspace, place, symlinks=True)
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TTS_TRAIN_WORKSPACE")}
    variables["TTS_TRAIN_NO_SETUP"] = "1"
    for typed in commands_in_blocks(page):
        if not typed.runs:
            continue
        answer = subprocess.run(
            typed.words, cwd=place, env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

        assert answer.returncode == 0, f"{typed}\n{answer.stdout}\n{answer.stderr}"
        if not {"--human", "--help"} & set(typed.words):
            assert json.loads(answer.stdout)["ok"] is True

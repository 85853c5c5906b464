"""Nothing writes to disk but files.py, and those named here, each with its reason."""

from __future__ import annotations

import ast
import re

import pytest

from tts_train.workspace import skill_root

PACKAGE = skill_root() / "src/tts_train"
WRITERS = {
    "files.py": "it is what writes",
    "installation.py": "sets up environments beside the old one; the stamp is renamed in last",
    "uv.py": "sets up uv beside the old one, and logs",
    "lockfiles.py": "for developers: a lock is under version control",
    "align/whisperx_aligner.py": "empty tables for a library, in a temporary folder",
    "backends/qwen3/checkpoint.py": "inside publish_folder",
    "backends/qwen3/codes.py": "inside publish_folder",
    "backends/qwen3/folder.py": "inside publish_folder",
    "backends/qwen3/official.py": "inside publish_folder",
    "backends/qwen3/text.py": "inside publish_folder",
    "backends/xtts/checkpoint.py": "inside publish_folder",
    "backends/xtts/export.py": "inside publish_folder",
    "cloud/pod_side.py": "runs alone on a rented machine, without this package",
    "cloud/ssh.py": "an archive on its way, in a file without a name",
    "ingest/models.py": "inside publish_folder",
    "jobs.py": "arguments for a worker, in a file without a name",
    "probe/render.py": "TensorBoard appends: what is torn is not read",
    "review/record/database.py": "SQLite, in WAL with synchronous FULL",
    "review/sessions/materials.py": "inside publish_folder",
    "review/sessions/signing.py": "a key that only its owner may read; renamed in whole",
    "serve/sound.py": "a sound, into memory",
    "training/launch.py": "answers of ranks, in files without a name",
    "training/metrics.py": "appends: a torn last line is not read, and cut off by the next start",
    "training/state.py": "torch.save into a stream of files.py",
    "work/archives.py": "unpacks inside publish_folder, packs into a stream of files.py",
    "work/background/logfile.py": "a log, which rotates",
    "work/voice_build.py": "inside publish_folder",
    "work/voices.py": "moves a voice aside, then removes it",
    "work/voices_import.py": "inside publish_folder",
    "cloud/job.py": "a state that was fetched whole takes its place once the epochs are there",
}
METHODS = {
    *("write_text", "write_bytes", "save", "savez", "savefig", "tofile", "dump_to_file", "save_pretrained"),
    *("connect", "copyfile", "copy", "copy2", "copytree", "move", "replace", "rename", "symlink_to", "hardlink_to"),
}
NAMES = {"save_file", "SummaryWriter", "TemporaryFile"}
HARMLESS = {"copy.copy", "dataclasses.replace", "jobs.replace"}


def writes(source: str) -> list[str]:
    """Calls that may write to disk, as far as their names tell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        name = text.rpartition(".")[2]
        words = [ast.unparse(word) for word in (*node.args, *(keyword.value for keyword in node.keywords))]
        of_files = "." in text and name in METHODS and _of_files(text, name, node)
        if of_files or name in NAMES or (name == "open" and _for_writing(words)):
            found.append(text)
    return found


def _for_writing(words: list[str]) -> bool:
    modes = [word.strip("'") for word in words if word.startswith("'")]
    flags = [word for word in words if "O_WRONLY" in word or "O_RDWR" in word]
    return any(re.fullmatch("[wax][bt+|:gzx]*|rb?[+]b?", mode) for mode in modes) or bool(
        flags and "devnull" not in words[0]
    )


def _of_files(text: str, name: str, node: ast.Call) -> bool:
    """Strings and dataclasses are replaced and tensors copied too."""
    if name == "replace":
        return text == "os.replace" or (len(node.args) == 1 and not node.keywords and text not in HARMLESS)
    if name in ("copy", "save", "rename"):
        return text.partition(".")[0] in ("shutil", "os", "torch", "np", "numpy")
    return name != "connect" or text == "sqlite3.connect"


def test_every_writer_is_known() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): calls
        for path in sorted(PACKAGE.rglob("*.py"))
        if (calls := writes(path.read_text(encoding="utf-8")))
    }
    assert {name: calls for name, calls in found.items() if name not in WRITERS} == {}
    assert [name for name in WRITERS if name not in found] == [], "named here, and writes no more"


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("open(path, 'w')", True),
        ("path.open(mode='ab')", True),
        ("path.open('rb')", False),
        ("open(path)", False),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("path.write_text(text)", True),
        ("write_text(path, text)", False),
        ("torch.save(state, path)", True),
        ("temporary.replace(path)", True),
        ("text.replace('a', 'b')", False),
        ("shutil.copyfile(a, b)", True),
        ("tensor.copy(other)", False),
    ],
)
def test_what_writes_is_recognised(line: str, seen: bool) -> None:
    assert bool(writes(line)) is seen


def test_a_rule_needs_a_reason() -> None:
    assert all(WRITERS.values())
    assert all((PACKAGE / name).is_file() for name in WRITERS)

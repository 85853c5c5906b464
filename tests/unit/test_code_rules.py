"""What the product's own code never does, read off its syntax: SECURITY.md says so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKILL = ROOT / ".agent/skills/tts-train"
CODE = sorted(
    path
    for folder in (SKILL / "src", SKILL / "scripts", ROOT / "dashboard")
    for path in folder.rglob("*.py")
    if "__pycache__" not in path.parts
)
NEVER_CALLED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "shutil.unpack_archive", "tempfile.mktemp", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "torch.jit.load", "ast.literal_eval",
}  # fmt: skip
NEVER_IMPORTED = {
    "cloudpickle", "dill", "joblib", "marshal", "shelve", "tarfile", "pty", "telnetlib",
    "aiohttp", "httpx", "requests", "urllib.request", "urllib3", "ftplib", "smtplib",
}  # fmt: skip
MAY_IMPORT = {
    "api.py": "urllib.request",  # of the cloud: one address, no redirects
    "ssh.py": "tarfile",  # of the cloud: a stream of files that were asked for by name, none unpacked by tarfile
    "pod_side.py": "tarfile",
}
MAY_READ_ARCHIVES = {"archives.py"}
"""Where counts, sizes, names and kinds are checked before anything is written."""
MAY_IMPORT_BY_NAME = {"worker.py", "environments.py", "ranks.py", "launch.py", "__init__.py", "adoption.py"}
"""importlib.import_module of a name that is in the code, or is checked."""
YAML = {"safe_load", "safe_dump", "SafeLoader", "Node", "MappingNode", "SequenceNode", "AliasEvent"}
STARTS = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call", "subprocess.call"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> object:
    """The constant given for a keyword; ... when it is not a constant, None when it is not given."""
    for item in call.keywords:
        if item.arg == name:
            return item.value.value if isinstance(item.value, ast.Constant) else ...
    return None


def faults(source: str, name: str = "module.py") -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
            never = NEVER_IMPORTED - {MAY_IMPORT.get(name)}
            banned = {module for module in modules for bad in never if f"{module}.".startswith(f"{bad}.")}
            yield from (f"line {node.lineno}: imports {module}" for module in banned)
            names = {item.name for item in node.names} if isinstance(node, ast.ImportFrom) else set()
            if modules == ["subprocess"] and names:
                yield f"line {node.lineno}: import subprocess as a whole, so that its calls are seen"
            if modules == ["pickle"] and names:
                yield f"line {node.lineno}: import pickle as a whole, so that its calls are seen"
        if isinstance(node, ast.Attribute) and dotted(node).startswith("yaml."):
            part = dotted(node).split(".")[1]
            if part not in YAML and not part.endswith("Error") and part not in ("constructor", "composer"):
                yield f"line {node.lineno}: {dotted(node)}"
        if isinstance(node, ast.Call):
            yield from (f"line {node.lineno}: {fault}" for fault in call_faults(node, name))


def call_faults(call: ast.Call, module: str) -> Iterator[str]:
    name = dotted(call.func)
    first = call.args[0] if call.args else None
    if name in NEVER_CALLED:
        yield f"calls {name}"
    if keyword(call, "shell") not in (None, False):
        yield "starts a shell"
    if name in STARTS and isinstance(first, ast.JoinedStr | ast.BinOp | ast.Constant):
        yield "starts a program from one text instead of a list of arguments"
    if name == "torch.load" and keyword(call, "weights_only") is not True:
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
        yield f"{name} without allow_pickle=False"
    if name.endswith((".extractall", ".extract", "unpack_archive")):
        yield "lets a library choose where files of an archive go"
    if (
        name == "zipfile.ZipFile"
        and module not in MAY_READ_ARCHIVES
        and not (len(call.args) > 1 and getattr(call.args[1], "value", "") == "w")
    ):
        yield "reads an archive"
    if name in ("import_module", "importlib.import_module") and module not in MAY_IMPORT_BY_NAME:
        yield "imports a module by a name"
    if name.endswith("from_pretrained") and keyword(call, "trust_remote_code") not in (None, False):
        yield "trusts code of a model"


def test_rules_hold() -> None:
    told = {str(path.relative_to(ROOT)): list(faults(path.read_text(encoding="utf-8"), path.name)) for path in CODE}
    assert len(told) > 200
    assert {path: wrong for path, wrong in told.items() if wrong} == {}


@pytest.mark.parametrize(
    "bad",
    [
        "subprocess.run('ls ' + name)",
        "subprocess.run(f'ls {name}')",
        "subprocess.Popen('ls')",
        "subprocess.run(['ls'], shell=True)",
        "subprocess.run(words, shell=flag)",
        "os.system('ls')",
        "eval('1')",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "class Mine(yaml.FullLoader): pass",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path)",
        "pickle.loads(data)",
        "from pickle import loads",
        "import joblib",
        "import urllib.request",
        "from urllib3.util import x",
        "zipfile.ZipFile(path)",
        "zipfile.ZipFile(path, 'r')",
        "import tarfile",
        "archive.extractall(folder)",
        "archive.extract(member, filter='data')",
        "importlib.import_module(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_rule_sees_what_it_forbids(bad: str) -> None:
    assert list(faults(bad))


def test_no_command_takes_a_secret_as_an_option() -> None:
    """Command lines are seen by every user of the machine."""
    options = {
        word for path in CODE for word in re.findall(r"\"(--[a-z][a-z-]+)[\"/]", path.read_text(encoding="utf-8"))
    }
    assert {"--workspace", "--seed", "--speaker"} <= options
    assert [option for option in options if re.search(r"(token|key|secret|password)$", option)] == []


def test_the_scripts_of_the_shell_evaluate_nothing() -> None:
    for path in (SKILL / "run.sh", ROOT / "run.sh", ROOT / ".ci/run"):
        code = [line.partition(" # ")[0] for line in path.read_text().splitlines() if line.lstrip()[:1] != "#"]
        assert not [line for line in code if re.search(r"\beval\b|\b(ba)?sh -c\b|\bsource\b|`", line)], path
        assert not [line for line in code if re.search(r"(?<![\"\w])\$[@*]", line)], f"{path}: unquoted arguments"


def test_a_worker_runs_functions_of_ours_only() -> None:
    worker = SKILL / "src/tts_train/worker.py"
    ended = subprocess.run(
        [sys.executable, "-P", worker, "x", "os:system"],
        input='{"command": "true"}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "functions of tts_train only" in ended.stderr

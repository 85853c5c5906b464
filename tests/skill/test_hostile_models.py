"""Models from anywhere: the gate against torch's own list, no program of ours reads more than weights, and graphs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._weights_only_unpickler import _get_allowed_globals

from tts_train import environments
from tts_train.backends.piper import onnx_voice
from tts_train.errors import InputUnusable
from tts_train.pickles import calls, require_harmless


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_what_torch_takes_for_weights_passes(tmp_path: Path) -> None:
    parts = [name.rpartition(".") for name in _get_allowed_globals()]
    globals_ = b"".join(b"c%s\n%s\n" % (module.encode(), name.encode()) for module, _, name in parts)
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02(" + globals_ + b"l.")
    assert len(parts) > 100
    assert calls(tmp_path / "model.pkl") == []


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_passes_and_a_bomb_in_it_does_not(tmp_path: Path, zipped: bool) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    content = {
        "model": layer.state_dict(),
        "parameter": layer.weight,
        "optimizer": optimizer.state_dict(),
        "types": [torch.float16, torch.bfloat16, torch.int8, torch.Size([1]), torch.device("cpu")],
        "half": torch.ones(2, dtype=torch.bfloat16),
        "sparse": torch.eye(2).to_sparse(),
    }
    file = tmp_path / "model.pth"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    require_harmless([file])
    torch.save({**content, "config": Bomb(tmp_path / "ran")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputUnusable, match=r"would call posix\.system"):
        require_harmless([file])
    assert not (tmp_path / "ran").exists()


def test_no_library_reads_a_pickle_with_code_in_a_program_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.hub, for one, asks for everything; the variable that run.sh sets makes torch refuse."""
    torch.save(Bomb(tmp_path / "ran"), tmp_path / "model.pth")
    code = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    variables = environments._program_environment([])
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "model.pth")],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Weights only load failed" in ended.stderr
    assert not (tmp_path / "ran").exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pth", weights_only=True)
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.load(tmp_path / "model.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the pickle of this test does nothing"


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_a_graph_reads_no_file_outside_its_folder(tmp_path: Path, location: str) -> None:
    from onnx import TensorProto, helper

    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/link.bin").symlink_to("../secret.bin")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weight])
    (tmp_path / "model/voice.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InputUnusable, match="outside its folder"):
        onnx_voice.load_model(tmp_path / "model/voice.onnx")

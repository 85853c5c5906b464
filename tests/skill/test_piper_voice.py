"""Reading a Piper voice into torch and writing it back."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tts_train.backends.piper import architecture, export, model, onnx_voice, parity, weights
from tts_train.errors import ConfigError, InputUnusable, TtsTrainError, Unavailable


def test_torch_speaks_like_onnxruntime(voice, base):
    measured = parity.measure(voice.file, base, voice.settings)

    assert measured.samples > 50_000
    assert measured.rms > 0.01
    assert measured.max_abs_diff < 1e-4


def test_parity_is_refused_when_a_weight_is_wrong_and_remembered_when_right(voice, base, tmp_path):
    broken = copy.deepcopy(base)
    with torch.no_grad():
        broken.decoder.conv_pre.bias += 0.05

    with pytest.raises(ConfigError, match="differ by"):
        parity.require(voice, broken, tmp_path)
    proven = parity.require(voice, base, tmp_path)

    assert parity.require(voice, broken, tmp_path) == proven  # read from the receipt


def test_every_parameter_is_bound_to_one_initializer(voice, base):
    parameters = [binding.parameter for binding in voice.bindings]

    assert sorted(parameters) == sorted(base.state_dict())
    assert len({binding.initializer for binding in voice.bindings}) == len(parameters)


def test_no_weight_of_the_file_is_left_out(voice):
    bound = {binding.initializer for binding in voice.bindings}
    initializers = onnx_voice.load_model(voice.file).graph.initializer

    assert [tensor.name for tensor in initializers if np.prod(tensor.dims) > 64 and tensor.name not in bound] == []


def test_missing_and_foreign_parameters_are_named(voice):
    fewer = {name: weight for name, weight in voice.weights.items() if name != "decoder.conv_pre.bias"}

    with pytest.raises(ConfigError, match=r"decoder\.conv_pre\.bias is missing"):
        model.build(voice.architecture, fewer)
    with pytest.raises(ConfigError, match="posterior has no place"):
        model.build(voice.architecture, {**voice.weights, "posterior": np.zeros(1)})


def test_a_window_of_frames_is_a_slice_of_the_whole(base):
    exact = copy.deepcopy(base).double()  # a window that starts too late shows in the sixth digit
    ids = torch.randint(14, 120, (3, 40), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([40, 25, 33])
    durations = torch.arange(120).reshape(3, 40) % 4 + 1
    durations = durations * (torch.arange(40) < lengths.unsqueeze(1))
    first = torch.tensor([0, 17, int(durations[2].sum()) - 12])
    with torch.no_grad():
        window = exact.frames(exact.encode(ids, lengths), durations, window=(first, 12))
        for item in range(3):
            alone = exact.encode(ids[item : item + 1, : lengths[item]], lengths[item : item + 1])
            whole = exact.frames(alone, durations[item : item + 1, : lengths[item]])
            expected = whole[0, :, first[item] : first[item] + 12]

            torch.testing.assert_close(window[item], expected, atol=1e-9, rtol=1e-9)


def test_batched_durations_equal_single_ones(base):
    ids = torch.randint(14, 120, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        batched = base.log_durations(base.encode(ids, torch.tensor([30, 18])))
        alone = base.log_durations(base.encode(ids[1:, :18], torch.tensor([18])))

    torch.testing.assert_close(batched[1, :18], alone[0], atol=1e-4, rtol=1e-4)


def test_export_writes_the_epoch_into_a_piper_voice(voice, base, tmp_path):
    tuned = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.parameters():  # every weight moves, so one that is not written shows
            parameter.mul_(1 + 0.02 * torch.rand(parameter.shape, generator=generator))
    weights.save(tuned, tmp_path, voice.sha256)

    exported = export.export_epoch("packaged", tmp_path, tmp_path / "out", "tuned")

    assert exported.max_abs_diff <= 1e-4
    assert exported.written == len(voice.bindings)
    again = onnx_voice.read(exported.onnx)
    for name, weight in tuned.state_dict().items():
        np.testing.assert_allclose(again.weights[name], weight.numpy(), atol=1e-6, rtol=1e-6)
    assert json.loads(Path(exported.json).read_text())["dataset"] == "tuned"
    from piper import PiperVoice

    chunks = list(PiperVoice.load(exported.onnx).synthesize("Hello there."))
    assert len(chunks) == 1
    assert np.abs(chunks[0].audio_float_array).max() > 0.1


def test_a_wrong_export_is_not_written(voice, base, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "rewritten", lambda voice, state: onnx_voice.load_model(voice.file))
    tuned = {name: weight * 1.01 for name, weight in base.state_dict().items()}

    with pytest.raises(TtsTrainError):
        export.export_voice(voice, tuned, tmp_path / "out", "tuned")

    assert not (tmp_path / "out").exists()


def test_an_epoch_of_another_base_or_a_torn_one_is_refused(voice, base, tmp_path):
    weights.save(base, tmp_path, "0" * 64)
    with pytest.raises(InputUnusable, match="another base"):
        weights.load(tmp_path, voice.sha256)

    file = tmp_path / weights.FILE
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputUnusable, match="damaged"):
        weights.load(tmp_path, "0" * 64)


def test_saving_twice_gives_the_same_bytes(voice, base, tmp_path):
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        weights.save(base, tmp_path / name, voice.sha256)
        contents.append((tmp_path / name / weights.FILE).read_bytes())

    assert contents[0] == contents[1]


def _place(tmp_path: Path, voice, graph_file: onnx.ModelProto, **settings) -> str:
    onnx.save(graph_file, tmp_path / "voice.onnx")
    (tmp_path / "voice.onnx.json").write_text(json.dumps({**voice.settings, **settings}))
    return str(tmp_path / "voice.onnx")


def test_another_size_is_refused_by_what_differs(voice, tmp_path):
    graph_file = onnx_voice.load_model(voice.file)
    for tensor in graph_file.graph.initializer:
        if tensor.name == "dec.conv_pre.weight":
            wide = np.zeros((512, 192, 7), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    path = _place(tmp_path, voice, graph_file, audio={"sample_rate": 16000}, num_speakers=3)

    with pytest.raises(ConfigError) as refused:
        onnx_voice.read(path)

    said = " ".join(str(problem) for problem in refused.value.problems)
    assert "upsample channels is 512, expected 256" in said
    assert "16000 Hz, expected 22050" in said
    assert "3 speakers, expected 1" in said
    assert refused.value.exit_code == 78


def test_a_multi_speaker_graph_is_refused(voice, tmp_path):
    graph_file = onnx_voice.load_model(voice.file)
    graph_file.graph.input.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch_size"]))

    with pytest.raises(ConfigError, match="several speakers"):
        onnx_voice.read(_place(tmp_path, voice, graph_file))


def test_a_graph_that_is_no_voice_is_refused(voice, tmp_path):
    tensor = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [tensor], [tensor]))
    with pytest.raises(ConfigError, match="is not a Piper voice"):
        onnx_voice.read(_place(tmp_path, voice, other))

    (tmp_path / "voice.onnx").write_bytes(b"no onnx at all")
    with pytest.raises(InputUnusable, match="not an ONNX model"):
        onnx_voice.read(str(tmp_path / "voice.onnx"))
    (tmp_path / "voice.onnx.json").unlink()
    with pytest.raises(ConfigError, match=r"voice\.onnx\.json"):
        onnx_voice.read(str(tmp_path / "voice.onnx"))


def test_a_missing_packaged_voice_is_unavailable(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(Unavailable) as missing:
        onnx_voice.find("packaged")

    assert missing.value.exit_code == 69


def test_the_hosted_sizes_are_those_of_the_packaged_voice(voice):
    assert voice.architecture == architecture.MEDIUM
    assert (voice.architecture.hop, voice.architecture.flow_reach) == (256, 32)

"""The network as ONNX computes what PyTorch computes, and the shipped file is that of the shipped weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite import flows, zoo
from atmorep_lite.attention import attention_weights
from atmorep_lite.errors import UserError
from atmorep_lite.onnx_export import (
    INPUTS,
    OUTPUTS,
    Written,
    example_inputs,
    export_onnx,
    filter_matrix,
    weights_sum,
)
from atmorep_lite.training.checkpoint import find_pretrained
from atmorep_lite.zoo.periodic import resolved

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def run(file: Path | bytes, *given: torch.Tensor) -> list[np.ndarray]:
    """What onnxruntime makes of an ONNX file's inputs."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), dict(zip(INPUTS, (g.numpy() for g in given), strict=True)))


@pytest.fixture(scope="module")
def model() -> zoo.VortexFormer:
    return zoo.VortexFormer.from_pretrained("vortices")


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """Two samples of three frames, ``[sample, 3, y, x]``."""
    return flows.vortex_trajectories(2, frames=3, seed=9)


@pytest.mark.parametrize("name", ["vortices", "vortices_looking"])
def test_written_out_is_the_model(name: str) -> None:
    model = zoo.VortexFormer.from_pretrained(name)
    given, hidden, heads = example_inputs(model)
    trace: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.no_grad():
        expected = model(given[None], silence=[(0, 0)], trace=trace)[0]
        found, attention = Written(model)(given, torch.zeros_like(hidden), heads)
    assert torch.allclose(found, expected, atol=2e-5 * float(expected.abs().max()))
    weights = torch.stack([attention_weights(q, k)[0] for q, k in trace])
    assert torch.allclose(attention, weights, atol=3e-5)


def test_a_hidden_token_is_seen_by_itself_alone(model: zoo.VortexFormer, frames: torch.Tensor) -> None:
    _, hidden, heads = example_inputs(model, seed=3)
    with torch.no_grad():
        _, plain = Written(model)(frames[0], torch.zeros_like(hidden), torch.ones_like(heads))
        _, found = Written(model)(frames[0], hidden, torch.ones_like(heads))
    kept = plain[0] * (1 - hidden)  # the first layer: its input does not know of hidden tokens yet
    own = torch.arange(len(hidden))
    kept[:, own, own] = plain[0][:, own, own]
    expected = kept / kept.sum(-1, keepdim=True)
    assert 10 < hidden.sum() < 50 and torch.allclose(found[0], expected, atol=1e-5)
    others = ~torch.eye(len(hidden), dtype=torch.bool) & hidden.bool()
    assert found[:, :, others].max() == 0 and torch.allclose(found.sum(-1), torch.ones(()), atol=1e-5)
    everything = Written(model)(frames[0], torch.ones_like(hidden), torch.ones_like(heads))[1]
    assert torch.allclose(everything, torch.eye(len(hidden)).expand_as(everything))


def test_the_filter_is_that_of_the_solver() -> None:
    field = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(1))
    matrix = filter_matrix(64)
    assert torch.allclose(matrix @ field @ matrix, resolved(field), atol=2e-6)


def test_the_shipped_file_is_of_the_shipped_weights(
    model: zoo.VortexFormer, frames: torch.Tensor, tmp_path: Path
) -> None:
    shipped = find_pretrained("vortices") / "model.onnx"
    said = {entry.key: entry.value for entry in onnx.load(shipped).metadata_props}
    assert said["weights_sha256"] == weights_sum(model)
    assert (said["points"], said["layers"], said["dealias"]) == ("64", "4", "True")
    assert 1e6 < shipped.stat().st_size < 2.1e6 and b"/home" not in shipped.read_bytes()
    anew = export_onnx(model, tmp_path / "made" / "model.onnx")
    given = example_inputs(model, seed=5)
    with torch.no_grad():
        written = [t.numpy() for t in Written(model)(*given)]
        for sample in frames:  # nothing hidden: the model itself
            expected = model(sample[None])[0].numpy()
            for file in (shipped, anew):
                found = run(file, sample, torch.zeros(256), torch.ones(4, 4))[0]
                assert np.abs(found - expected).max() < 1e-5
    for file in (shipped, anew):
        for found, expected, most in zip(run(file, *given), written, (1e-5, 1e-4), strict=True):
            assert np.abs(found - expected).max() < most * max(1, np.abs(expected).max())


def test_mistakes_are_explained(model: zoo.VortexFormer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="writes a VortexFormer; a FNO was given"):
        export_onnx(zoo.FNO.from_pretrained("vortices_fno"), tmp_path / "fno.onnx")  # type: ignore[arg-type]
    small = zoo.VortexFormer(
        zoo.VortexFormerConfig(points=16, width=16, layers=1, heads=2, token_size=(3, 4, 4))
    )
    with pytest.raises(UserError, match=r"differ by .* or allow more with tolerance"):
        export_onnx(small.eval(), tmp_path / "small.onnx", tolerance=0.0)
    assert not (tmp_path / "small.onnx").exists()
    assert export_onnx(small, tmp_path / "small.onnx").stat().st_size > 1000


def test_missing_packages_are_named(
    model: zoo.VortexFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'onnxscript is missing: pip install "atmorep-lite\[onnx\]"'):
        export_onnx(model, tmp_path / "model.onnx")

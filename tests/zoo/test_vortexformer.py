"""The model: equivariance, knock-outs, what its parts may do, saving, wrong input."""

import pytest
import torch

from atmorep_lite.attention_maps import attention_maps
from atmorep_lite.errors import UserError
from atmorep_lite.zoo import VortexFormer, VortexFormerConfig

LOOKING = VortexFormerConfig(points=16, token_size=(1, 2, 2), width=32, layers=2, heads=2)
ACCURATE = VortexFormerConfig(
    points=16,
    token_size=(3, 4, 4),
    width=32,
    layers=2,
    heads=2,
    stem=6,
    gate=True,
    conserve=True,
    scale=0.6,
    focus=4.0,
    raw_values=True,
)


def scrambled(config: VortexFormerConfig) -> VortexFormer:
    """A model whose output layers, which start at zero, are random too."""
    torch.manual_seed(0)
    model = VortexFormer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", [LOOKING, ACCURATE])
def test_moves_with_the_flow_by_whole_tokens(config: VortexFormerConfig, frames: torch.Tensor) -> None:
    model = scrambled(config).double()
    frames = frames.double()
    change = (model(frames) - frames[:, -1]).detach()
    _, ty, tx = config.token_size
    moved = frames.roll((2 * ty, -3 * tx), (-2, -1))
    back = (model(moved) - moved[:, -1]).roll((-2 * ty, 3 * tx), (-2, -1))
    torch.testing.assert_close(back, change, rtol=1e-5, atol=1e-6 * float(change.abs().max()))
    part = frames.roll(1, -1)  # not by a fraction of a token: it is no convolution
    assert ((model(part) - part[:, -1]).roll(-1, -1) - change).abs().max() > 0.01


@pytest.mark.parametrize("config", [LOOKING, ACCURATE])
def test_begins_as_persistence(config: VortexFormerConfig, frames: torch.Tensor) -> None:
    torch.testing.assert_close(VortexFormer(config)(frames), frames[:, -1])


@pytest.mark.parametrize("config", [LOOKING, ACCURATE])
def test_capture_reproduces_the_weights(config: VortexFormerConfig, frames: torch.Tensor) -> None:
    """The output of every head, rebuilt from the captured weights, gives the model's own forecast."""
    model = scrambled(config)
    capture = model.capture(frames[0])
    weights = torch.from_numpy(
        attention_maps(capture)["vorticity/vorticity"]["attention"]
        .transpose("layer", "head", "query", "key")
        .values
    ).float()
    assert weights.std() > 1e-4
    heard = []

    def rebuilt(layer: int):
        def hook(module: torch.nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
            normed = torch.nn.functional.layer_norm(given[0], given[0].shape[-1:])
            v = (
                module.v(given[0] if module.raw_values else normed)[0]
                .unflatten(-1, (config.heads, -1))
                .transpose(0, 1)
            )
            mixed = (weights[layer] @ v).transpose(0, 1).flatten(1)
            heard.append((module.mlp(given[0] + module.out(mixed)), out))

        return hook

    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(rebuilt(index))
    model(frames[:1])
    assert len(heard) == config.layers
    for ours, theirs in heard:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_capture_says_where_and_when(frames: torch.Tensor) -> None:
    capture = scrambled(LOOKING).capture(frames[0])
    field = capture.fields["vorticity"]
    assert capture.geometry == "plane" and capture.period == pytest.approx((2 * torch.pi, 2 * torch.pi))
    assert field.time.tolist() == [-2, -1, 0] and field.level.tolist() == [0]
    cell = 2 * torch.pi / 16
    assert field.latitude[:2].tolist() == pytest.approx(
        [0.5 * cell, 2.5 * cell]
    )  # mean of points 0, 1 and 2, 3
    assert field.token_size == pytest.approx((2 * cell, 2 * cell))
    assert field.values.shape == (1, 3, 16, 16) and (field.values[0, 1] == frames[0, 1].numpy()).all()
    assert field.mask.shape == (1, 3, 8, 8) and not field.mask.any() and field.position.shape == (192, 1)
    together = scrambled(ACCURATE).capture(frames[0]).fields["vorticity"]
    assert together.time.tolist() == [-1] and (together.values[0, 0] == frames[0, 2].numpy()).all()


def test_a_silent_head_is_a_head_whose_output_weights_are_zero(frames: torch.Tensor) -> None:
    model = scrambled(LOOKING)
    silenced = model(frames, silence=[(1, 0)])
    assert not torch.allclose(silenced, model(frames))
    with torch.no_grad():
        model.layers[1].out.weight[:, :16] = 0  # the first of two heads
    torch.testing.assert_close(silenced, model(frames))


def test_without_attention_a_plain_token_sees_only_itself(frames: torch.Tensor) -> None:
    model = scrambled(LOOKING)
    everyone = [(layer, head) for layer in range(2) for head in range(2)]
    frames.requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(frames, silence=everyone)[0, 5, 9], frames)
    seen = gradient[0].nonzero()
    assert {tuple(row) for row in seen.tolist()} == {(2, y, x) for y in (4, 5) for x in (8, 9)}


def test_conserve_keeps_the_mean(frames: torch.Tensor) -> None:
    change = scrambled(ACCURATE)(frames) - frames[:, -1]
    assert change.abs().max() > 0.1 and change.mean((-2, -1)).abs().max() < 1e-6


def test_dealias_takes_the_waves_that_the_flow_does_not_hold(frames: torch.Tensor) -> None:
    model = VortexFormer(ACCURATE.model_copy(update={"dealias": True})).eval()
    model.load_state_dict(scrambled(ACCURATE).state_dict())
    spectrum = torch.fft.rfft2(model(frames)).abs()
    assert spectrum[:, 6:11].max() < 1e-4 * spectrum.max()  # 16 points resolve waves up to 5
    assert spectrum[..., 6:].max() < 1e-4 * spectrum.max()
    free = torch.fft.rfft2(scrambled(ACCURATE)(frames))
    torch.testing.assert_close(
        torch.fft.rfft2(model(frames))[:, :6, :6], free[:, :6, :6], rtol=1e-4, atol=1e-3
    )


def test_space_waves_are_the_same_in_all_frames() -> None:
    model = VortexFormer(LOOKING.model_copy(update={"waves": "space"}))
    by_frame = model.rotation.unflatten(1, (3, 64))
    assert torch.equal(by_frame[:, 0], by_frame[:, 2])
    assert not torch.equal(*VortexFormer(LOOKING).rotation.unflatten(1, (3, 64))[:, ::2].unbind(1))


@pytest.mark.parametrize("config", [ACCURATE, LOOKING])
def test_saved_model_is_the_same(config: VortexFormerConfig, frames: torch.Tensor, tmp_path) -> None:
    model = scrambled(config)
    model.save_pretrained(tmp_path)
    again = VortexFormer.from_pretrained(tmp_path)
    assert again.config == config and not again.training
    assert torch.equal(again(frames), model(frames))
    (tmp_path / "config.yaml").write_text(
        (tmp_path / "config.yaml").read_text().replace("layers: 2", "layers: 3")
    )
    with pytest.raises(UserError, match=r"do not fit its config\.yaml"):
        VortexFormer.from_pretrained(tmp_path)
    (tmp_path / "config.yaml").write_text("wings: 2")
    with pytest.raises(UserError, match="unknown key wings"):
        VortexFormer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks model\.safetensors"):
        VortexFormer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no model 'whirl'"):
        VortexFormer.from_pretrained("whirl")


def test_wrong_frames_and_heads_are_told(frames: torch.Tensor) -> None:
    model = scrambled(LOOKING)
    with pytest.raises(UserError, match="last 3 frames"):
        model(frames[:, :2])
    with pytest.raises(UserError, match="made for 16 x 16 points"):
        model(frames[..., :8, :8])
    with pytest.raises(UserError, match="no head 2 in layer 0"):
        model(frames, silence=[(0, 2)])
    with pytest.raises(UserError, match="takes one sample"):
        model.capture(frames)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token_size": (3, 5, 4)}, "do not divide"),
        ({"token_size": (0, 4, 4)}, "positive"),
        ({"token_size": (3, 64, 64)}, "nothing to attend to"),
        ({"width": 30, "heads": 4}, "even multiple"),
        ({"gate": True}, "needs a stem"),
    ],
)
def test_impossible_configurations_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VortexFormerConfig(**wrong)

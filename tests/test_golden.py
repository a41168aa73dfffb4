"""The published model, value for value: golden tensors made by running the public AtmoRep code.

The folder named by ATMOREP_LITE_SHARED holds them; whatever ``golden/golden_*field*.npz`` it holds is tested.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite import losses
from atmorep_lite.attention import attention_weights
from atmorep_lite.config import MaskingConfig
from atmorep_lite.convert import config_from_published, published_names, weights_from_published
from atmorep_lite.fields import canonical_name
from atmorep_lite.masking import corrupt_as_published, hide_future, hide_slots
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.positions import harmonic_positions
from atmorep_lite.tokens import FieldTokens, detokenize, tokenize
from atmorep_lite.training.schedule import published_learning_rate

FOLDER = Path(os.environ.get("ATMOREP_LITE_SHARED", "nowhere")) / "golden"
FILES = sorted(FOLDER.glob("golden_*field*.npz"))
TOLERANCE = 1e-5

needs_golden = pytest.mark.skipif(not FILES, reason="no golden/golden_*field*.npz under ATMOREP_LITE_SHARED")
THEIR_LOSSES = {
    "mse": losses.mse,
    "mse_ensemble": losses.mse_ensemble,
    "stats": losses.stats,
    "stats_area": losses.stats_area,
    "crps": losses.published_crps,
    "kernel_crps": losses.published_kernel_crps,
    "weighted_mse": losses.mse_ensemble,
}


def relative_error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    ours, theirs = ours.detach(), torch.from_numpy(np.asarray(theirs)).double()
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))


class Golden:
    """One golden file, its model in our classes, and one traced forward pass."""

    def __init__(self, path: Path) -> None:
        self.z = np.load(path, allow_pickle=False)
        self.published = json.loads(str(self.z["config_json"]))
        self.config = config_from_published(self.published)
        self.model = AtmoRep(self.config).eval()
        state = {
            k.removeprefix("param/"): torch.from_numpy(self.z[k])
            for k in self.z.files
            if k.startswith("param/")
        }
        self.model.load_state_dict(weights_from_published(self.config, state))
        self.their_name = {canonical_name(e[0]): e[0] for e in self.published["fields"]}
        self.tokens = {f.name: self._tokens(f.name) for f in self.config.fields}
        self.trace: dict = {}
        self.encoded = self.model.encode(self.tokens)
        self.out = self.model(self.tokens, trace=self.trace)

    def get(self, prefix: str, name: str, suffix: str) -> np.ndarray:
        return self.z[f"{prefix}/{self.their_name[name]}/{suffix}"]

    def _tokens(self, name: str) -> FieldTokens:
        values = torch.from_numpy(self.get("in", name, "source_masked")).flatten(5)
        info = torch.from_numpy(self.get("in", name, "token_info")).reshape(*values.shape[:5], 8)
        flat = torch.zeros(values.shape[1], values.shape[0] * info[0, 0].numel() // 8, dtype=torch.bool)
        for level, index in self.selected(name):
            flat[level, index] = True
        mask = flat.view(values.shape[1], values.shape[0], *values.shape[2:5]).transpose(0, 1)
        return FieldTokens(values, info, mask)

    def selected(self, name: str) -> list[tuple[int, torch.Tensor]]:
        """Per level the flat (batch, token) indices of the selected tokens, in the file's order."""
        index = torch.from_numpy(self.get("in", name, "masked_idx")).long()
        counts = self.get("in", name, "masked_len").sum(1).tolist()
        return list(enumerate(index.split(counts)))

    def members(self, name: str) -> torch.Tensor:
        """Our members at the selected tokens, [member, n, channel], in the file's order."""
        members = self.out[name].members
        return torch.cat(
            [members[:, :, k].transpose(0, 1).flatten(1, 4)[:, index] for k, index in self.selected(name)], 1
        )

    def loss(self, names: list[str]) -> tuple[torch.Tensor, dict[str, list[torch.Tensor]]]:
        weights = [f.loss_weight for f in self.config.fields if f.loss_weight]
        per_field: dict[str, list[torch.Tensor]] = {k: [] for k in names}
        for kind in names:
            for name in self.model.predicted:
                target = torch.from_numpy(self.get("in", name, "target"))
                weight = None
                if kind == "weighted_mse":
                    rows = torch.from_numpy(self.get("in", name, "lat_weights"))
                    tt, _, tx = self.config.field(name).token_size
                    weight = rows[:, None, :, None].expand(-1, tt, -1, tx).flatten(1)
                per_field[kind].append(THEIR_LOSSES[kind](self.members(name), target, weight))
        total = sum(w * v for vs in per_field.values() for w, v in zip(weights, vs, strict=True))
        return total / (len(names) * sum(weights)), per_field


@pytest.fixture(scope="module", params=FILES, ids=lambda p: p.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@needs_golden
def test_tokens(golden: Golden) -> None:
    for f in golden.config.fields:
        raw = torch.from_numpy(golden.get("in", f.name, "raw"))
        theirs = golden.get("in", f.name, "tokens")
        ours = tokenize(raw, f.token_size)
        assert torch.equal(ours, torch.from_numpy(theirs).flatten(5))
        assert torch.equal(detokenize(ours, f.token_size), raw)


@needs_golden
def test_every_stage(golden: Golden) -> None:
    for f in golden.config.fields:
        states = golden.encoded[f.name]
        assert relative_error(states[0], _flat(golden.get("mid", f.name, "embed"))) < TOLERANCE
        for layer in range(golden.config.encoder_layers):
            assert (
                relative_error(states[layer + 1], _flat(golden.get("mid", f.name, f"enc{layer}"))) < TOLERANCE
            )
    for name in golden.model.predicted:
        x = golden.model.decode(name, golden.tokens[name], golden.encoded[name])
        assert relative_error(x, _flat(golden.get("mid", name, "dec_out"))) < TOLERANCE


def _flat(x: np.ndarray) -> np.ndarray:
    """[B, L, nt, S, E] -> [B, L*nt*S, E]"""
    return x.reshape(x.shape[0], -1, x.shape[-1])


@needs_golden
def test_ensemble(golden: Golden) -> None:
    for name in golden.model.predicted:
        members = golden.members(name)
        assert relative_error(members.transpose(0, 1), golden.get("out", name, "ens")) < TOLERANCE
        assert relative_error(members.mean(0), golden.get("out", name, "mean")) < TOLERANCE
        assert relative_error(members.std(0), golden.get("out", name, "std")) < TOLERANCE


@needs_golden
def test_attention_weights(golden: Golden) -> None:
    compared = 0
    for (stage, layer, name), record in golden.trace.items():
        for origin, (q, k) in record.items():
            part = {"self": "self", "encoder": "cross"}.get(origin) or f"from_{golden.their_name[origin]}"
            short = {"encoder": "enc", "decoder": "dec"}[stage]
            theirs = golden.z[f"att/{short}{layer}/{golden.their_name[name]}/{part}"]
            assert relative_error(attention_weights(q, k), theirs) < TOLERANCE
            compared += 1
    assert compared == sum(key.startswith("att/") for key in golden.z.files)


@needs_golden
def test_losses(golden: Golden) -> None:
    sets = sorted({k.split("/")[1] for k in golden.z.files if k.startswith("loss/")})
    assert len(sets) >= 8
    for name in sets:
        total, per_field = golden.loss(name.split("+"))
        assert relative_error(total, golden.z[f"loss/{name}/total"]) < TOLERANCE
        for kind, values in per_field.items():
            assert relative_error(torch.stack(values), golden.z[f"loss/{name}/per_field/{kind}"]) < TOLERANCE


@needs_golden
def test_gradients(golden: Golden) -> None:
    golden.model.zero_grad()
    total, _ = golden.loss(["mse_ensemble", "stats"])
    total.backward(retain_graph=True)
    ours = dict(golden.model.named_parameters())
    names = published_names(golden.config)
    largest = max(np.abs(golden.z[k]).max() for k in golden.z.files if k.startswith("grad/"))
    compared = 0
    for mine, theirs in names.items():
        for m, their in enumerate(theirs):
            gradient = ours[mine].grad
            assert gradient is not None
            gradient = gradient[m] if mine.startswith("tails.") else gradient
            if ".embed." in their:  # one parameter under two names; the file has its gradient under the other
                their = their.replace("encoders.", "embeds.").replace(".embed.", ".")
            compared += 1
            if their.endswith("ln_k.bias"):  # softmax ignores it: the gradient is 0 but for rounding, in both
                assert max(gradient.abs().max(), np.abs(golden.z[f"grad/{their}"]).max()) < 1e-7 * largest
                continue
            assert relative_error(gradient, golden.z[f"grad/{their}"]) < TOLERANCE, their
    assert compared == sum(k.startswith("grad/") for k in golden.z.files)


PIPELINE = FOLDER / "golden_pipeline.npz"
needs_pipeline = pytest.mark.skipif(
    not PIPELINE.exists(), reason="no golden_pipeline.npz under ATMOREP_LITE_SHARED"
)


@pytest.fixture(scope="module")
def pipeline() -> dict[str, np.ndarray]:
    return dict(np.load(PIPELINE, allow_pickle=False))


@needs_pipeline
def test_pipeline_tokenize(pipeline: dict[str, np.ndarray]) -> None:
    ours = tokenize(torch.from_numpy(pipeline["tokenize/raw"]), (3, 4, 4))
    assert torch.equal(ours, torch.from_numpy(pipeline["tokenize/tokens_3x4x4"]).flatten(3))


@needs_pipeline
@pytest.mark.parametrize(
    ("key", "choose"),
    [
        ("forecast1", lambda shape: hide_future(shape, 1)),
        ("forecast2", lambda shape: hide_future(shape, 2)),
        ("temporal_default", lambda shape: hide_slots(shape, [shape[2] // 2])),
        ("temporal_0_2", lambda shape: hide_slots(shape, [0, 2])),
    ],
)
def test_pipeline_masks(pipeline: dict[str, np.ndarray], key: str, choose) -> None:
    source = torch.from_numpy(pipeline["mask/src"])
    shape = (source.shape[0], 1, *source.shape[1:4])
    mask = choose(shape)[:, 0]
    theirs = torch.zeros_like(mask)
    count = mask[0].numel()
    for b, index in enumerate(pipeline[f"mask/{key}/idx"]):
        theirs[b].view(-1)[torch.from_numpy(index) - b * count] = True
    assert torch.equal(mask, theirs)
    masked = source * ~mask[..., None, None, None]
    if f"mask/{key}/source" in pipeline:
        assert torch.equal(masked, torch.from_numpy(pipeline[f"mask/{key}/source"]))


@needs_pipeline
def test_pipeline_bert(pipeline: dict[str, np.ndarray]) -> None:
    source = torch.from_numpy(pipeline["mask/src"]).flatten(4)
    torch.manual_seed(1234)
    corrupted, mask = corrupt_as_published(source, (3, 4, 4), MaskingConfig(), np.random.default_rng(7))
    assert (
        relative_error(corrupted, pipeline["mask/bert_rng7_torch1234/source"].reshape(source.shape))
        < TOLERANCE
    )
    assert (
        sorted(pipeline["mask/bert_rng7_torch1234/idx"].tolist())
        == mask.flatten().nonzero().flatten().tolist()
    )


@needs_pipeline
def test_pipeline_positions(pipeline: dict[str, np.ndarray]) -> None:
    small = harmonic_positions(2, 3, 2, 4, 64, published=True).flatten(2, 3)
    assert relative_error(small, pipeline["posenc/E64_L2_3x2x4_reference"]) < TOLERANCE
    large = harmonic_positions(1, 1, 3, 6, 1024, published=True).flatten(2, 3)
    assert relative_error(large, pipeline["posenc/E1024_L1_1x3x6_reference"]) < TOLERANCE


@needs_pipeline
def test_pipeline_learning_rates(pipeline: dict[str, np.ndarray]) -> None:
    cases = {"train": (5e-6, 1.5e-4, 4e-5), "train_multi": (1e-5, 2e-5, 1e-5)}
    for key, (start, peak, floor) in cases.items():
        theirs = pipeline[f"lr/{key}"]
        ours = [
            published_learning_rate(epoch, start=start, peak=peak, floor=floor)
            for epoch in range(len(theirs))
        ]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@needs_pipeline
def test_pipeline_crps(pipeline: dict[str, np.ndarray]) -> None:
    z = torch.from_numpy(pipeline["crps/z"])
    # three members with mean 0 and unit (ddof 1) spread
    members = torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(3, 1)
    for key, loss in (("correct_sigma1", losses.gaussian_crps), ("reference_sigma1", losses.published_crps)):
        ours = torch.stack([loss(members, value[None]) for value in z])
        assert relative_error(ours, pipeline[f"crps/{key}"]) < TOLERANCE

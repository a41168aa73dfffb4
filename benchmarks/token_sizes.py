"""Do tokens of different sizes get embeddings that agree?  One embedding network, trained in three ways.

The network of :mod:`atmorep_lite.model.subpatches` learns alone, as BERT does: a box is cut at random out of
the training record, half of its sub-patches are set to zero, and all of them are to be told from the box's
embedding and their place.  *fixed*: all boxes are of 4 x 4 x 4 points (time, latitude, longitude); *crops*:
4 x 2 x 2 up to 4 x 8 x 8; *crops, told to agree*: these, and pairs of a coarse token and its fine ones must
find each other (a contrastive loss); *untrained*: no training.  With ``--model FOLDER`` the embedding of a
trained model is measured too.

Then pieces of 4 x 8 x 8 points of the validation record are embedded as one coarse token, as 16 fine ones of
4 x 2 x 2 (of whose embeddings the mean is taken), and as one token of the 4 x 4 x 4 points in the middle.
Run as ``python benchmarks/token_sizes.py``; about 2 minutes on one core.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.config import SubpatchConfig, Triple, load_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import load_field
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.subpatches import SubpatchEmbedding, subpatch_places, subpatches
from atmorep_lite.tokens import tokenize
from atmorep_lite.training.loop import open_source

FIELD, WIDTH, PATCH = "vorticity", 48, (2, 2, 2)
FIXED: list[Triple] = [(4, 4, 4)]
CROPS: list[Triple] = [(4, y, x) for y in (2, 4, 8) for x in (2, 4, 8)]
COARSE, MIDDLE, FINE = (4, 8, 8), (4, 4, 4), (4, 2, 2)
TESTED: list[Triple] = [(4, 2, 2), (4, 4, 4), (4, 6, 6), (4, 8, 8), (4, 10, 10)]
STEP_SPAN = torch.tensor([3 / 6.0, 6.371 * np.pi / 180 * 5.625, 6.371 * np.pi / 180 * 5.625])
PIECES = 256


class Reader(nn.Module):
    """Tells a sub-patch's values from the embedding of its token and its place in it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH + 6, 128), nn.GELU(), nn.Linear(128, int(np.prod(PATCH))))

    def forward(self, embedded: Tensor, places: Tensor) -> Tensor:
        """``[b, n, e]`` and ``[b, n, m, 3]`` -> ``[b, n, m, channel]``."""
        each = embedded[:, :, None].expand(*places.shape[:3], -1)
        return self.layers(torch.cat((each, torch.sin(places), torch.cos(places)), -1))


def spans(size: Triple, like: Tensor) -> Tensor:
    """What tokens ``[b, n, ...]`` of a size cover."""
    return (torch.tensor(size) * STEP_SPAN).expand(*like.shape[:2], 3).float()


def boxes(record: np.ndarray, size: Triple, count: int, rng: np.random.Generator) -> Tensor:
    """Random boxes ``[count, 1, channel]`` of a record ``[level, time, latitude, longitude]``."""
    out = []
    for _ in range(count):
        level, step, row, column = (int(rng.integers(n)) for n in _corners(record, size))
        out.append(record[level, step : step + size[0], row : row + size[1], column : column + size[2]])
    return torch.from_numpy(np.stack(out)).flatten(1)[:, None]


def _corners(record: np.ndarray, size: Triple) -> list[int]:
    return [record.shape[0], *(n - s + 1 for n, s in zip(record.shape[1:], size, strict=True))]


def half_hidden(values: Tensor, size: Triple, generator: torch.Generator) -> Tensor:
    """Values with half of the sub-patches set to zero."""
    patches = subpatches(values, size, PATCH)
    order = torch.rand(patches.shape[:3], generator=generator).argsort(-1)
    kept = patches * (order >= patches.shape[2] // 2)[..., None]
    counts = [n // p for n, p in zip(size, PATCH, strict=True)]
    boxes_again = kept.unflatten(-1, PATCH).unflatten(2, counts).permute(0, 1, 2, 5, 3, 6, 4, 7)
    return boxes_again.reshape(values.shape)


def told(net: SubpatchEmbedding, reader: Reader, values: Tensor, seen: Tensor, size: Triple) -> Tensor:
    """Mean squared error over all sub-patches, told from what was ``seen``."""
    span = spans(size, values)
    places, _ = subpatch_places(size, PATCH, span)
    return (reader(net(seen, size, span), places) - subpatches(values, size, PATCH)).square().mean()


def fit(
    sizes: list[Triple], record: np.ndarray, steps: int, seed: int, *, agree: bool = False
) -> tuple[SubpatchEmbedding, Reader]:
    """A network and its reader, trained on boxes of the given sizes."""
    torch.manual_seed(seed)
    net = SubpatchEmbedding(WIDTH, SubpatchConfig(size=PATCH, width=64, layers=1))
    reader = Reader()
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    parameters = [*net.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        size = sizes[rng.integers(len(sizes))]
        values = boxes(record, size, 64, rng)
        loss = told(net, reader, values, half_hidden(values, size, generator), size)
        if agree:
            coarse, fine, _ = three_ways(net, boxes(record, COARSE, 32, rng))
            loss = loss + 0.1 * F.cross_entropy(10.0 * cosines(fine, coarse), torch.arange(32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval(), reader.eval()


def three_ways(net: SubpatchEmbedding, pieces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings ``[b, e]`` of coarse pieces: as one token, the mean of fine ones, and the middle alone."""
    boxed = pieces.unflatten(-1, COARSE)[:, 0]
    cut = tokenize(boxed, FINE).flatten(1, 3)
    middle = boxed[..., 2:6, 2:6].flatten(1)[:, None]
    coarse, alone = (net(v, s, spans(s, v))[:, 0] for v, s in ((pieces, COARSE), (middle, MIDDLE)))
    return coarse, net(cut, FINE, spans(FINE, cut)).mean(1), alone


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Between the departures of two sets of embeddings from their means, ``[n, n]``.

    Else what all embeddings share would make every two of them similar.
    """
    return F.normalize(a - a.mean(0), dim=-1) @ F.normalize(b - b.mean(0), dim=-1).T


@torch.inference_mode()
def agreement(net: SubpatchEmbedding, pieces: Tensor) -> dict[str, float]:
    """Cosines of the same piece, and *found*: how often a piece's coarse embedding is the nearest of all.

    Cosines of unrelated pieces are 0 on average, as departures from the mean are compared.
    """
    coarse, *others = three_ways(net, pieces)
    out = {}
    for name, other in zip(("fine", "middle"), others, strict=True):
        table = cosines(other, coarse)
        out[f"{name}: cosine"] = float(table.diagonal().mean())
        out[f"{name}: found"] = float((table.argmax(1) == torch.arange(len(table))).float().mean())
    return out


@torch.inference_mode()
def reading(net: SubpatchEmbedding, reader: Reader, record: np.ndarray) -> dict[str, float]:
    """Error told from boxes of several sizes with half hidden, as a fraction of the values' variance."""
    out = {}
    for size in TESTED:
        values = boxes(record, size, 512, np.random.default_rng(2))
        seen = half_hidden(values, size, torch.Generator().manual_seed(2))
        error = told(net, reader, values, seen, size) / values.square().mean()
        out["x".join(map(str, size))] = float(error)
    return out


def main() -> None:
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--model", help="folder of a trained model with an embedding of sub-patches")
    chosen = parser.parse_args()
    torch.set_flush_denormal(True)
    record, held_out = records()
    pieces = boxes(held_out, COARSE, PIECES, np.random.default_rng(1))
    rows = []
    trainings: list[tuple[str, list[Triple], int, bool]] = [
        ("untrained", FIXED, 0, False),
        ("fixed", FIXED, chosen.steps, False),
        ("crops", CROPS, chosen.steps, False),
        ("crops, told to agree", CROPS, chosen.steps, True),
    ]
    for name, sizes, steps, agree in trainings:
        for seed in chosen.seeds:
            started = time.process_time()
            net, reader = fit(sizes, record, steps, seed, agree=agree)
            seconds = time.process_time() - started
            row = {"": name, **agreement(net, pieces), **reading(net, reader, held_out), "s": seconds}
            rows.append(row)
            print(row, flush=True)
    if chosen.model:
        net = AtmoRep.from_pretrained(chosen.model).embeddings[FIELD].value
        assert isinstance(net, SubpatchEmbedding)
        rows.append({"": "model", **agreement(net, pieces)})
    print(pd.DataFrame(rows).groupby("", sort=False).mean().round(3).to_string())


def records() -> tuple[np.ndarray, np.ndarray]:
    """Normalised training and validation record of the field, ``[level, time, latitude, longitude]``."""
    field = load_config("talk").model.field(FIELD)
    data = [load_field(open_source(name), field) for name in ("train", "validation")]
    normalizer = Normalizer.fit(data[0], "anomaly")
    dims = ("level", "time", "latitude", "longitude")
    train, held_out = (normalizer.normalize(d)[FIELD].transpose(*dims).values for d in data)
    return np.ascontiguousarray(train), held_out


if __name__ == "__main__":
    main()

"""The talk's embedding network: a small transformer that makes one vector of a token of any size.

A token is cut into sub-patches of one fixed size.  Their number varies with the token's size, and a
transformer takes any number of them, so that the same weights embed fine and coarse tokens.  Where a
sub-patch lies is given in hours and kilometres from the token's middle, not by its number; so a sub-patch
means the same in tokens of every size, and on another grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atmorep_lite.attention import attend, join_heads, split_heads
from atmorep_lite.config import SubpatchConfig, Triple
from atmorep_lite.model.layers import MLP, layer_norm
from atmorep_lite.model.positions import waves
from atmorep_lite.tokens import tokenize

#: Wavelengths of the place in the token: 16 days to 6 h, and 16,000 to 250 km, each half of the one before.
TIME_WAVES, SPACE_WAVES = (64.0, 7), (16.0, 7)
PLACE_FEATURES = 2 * (TIME_WAVES[1] + 2 * SPACE_WAVES[1]) + 3
HEAD_WIDTH = 16


class SubpatchEmbedding(nn.Module):
    """Tokens' values ``[b, n, channel]`` -> ``[b, n, width]``, for tokens of any size.

    A sub-patch is embedded linearly and multiplied by a gate that its place in the token sets, so that what
    it says depends on where it lies; then ``layers`` transformer blocks, the mean, and a linear map.
    """

    def __init__(self, width: int, settings: SubpatchConfig) -> None:
        super().__init__()
        self.size = settings.size
        inner = settings.width
        self.value = nn.Linear(settings.size[0] * settings.size[1] * settings.size[2], inner)
        self.gate = nn.Linear(PLACE_FEATURES, inner)
        self.place = nn.Linear(PLACE_FEATURES, inner)
        self.blocks = nn.ModuleList(_Block(inner) for _ in range(settings.layers))
        self.out = nn.Linear(inner, width)

    def forward(self, values: Tensor, token_size: Triple, spans: Tensor) -> Tensor:
        """``spans`` ``[b, n, 3]`` is what a token covers, from :func:`atmorep_lite.tokens.token_spans`."""
        place = _features(*subpatch_places(token_size, self.size, spans))
        x = self.value(subpatches(values, token_size, self.size))
        x = (x * (1.0 + self.gate(place)) + self.place(place)).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(1)).unflatten(0, values.shape[:2])


class _Block(nn.Module):
    """Self-attention among the sub-patches of each token, then the MLP; as the large blocks, but smaller."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = MLP(width, 2, 0.0, published=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(layer_norm(x)).chunk(3, -1))
        return self.mlp(x + self.out(join_heads(attend(q, k, v))))


def subpatches(values: Tensor, token_size: Triple, size: Triple) -> Tensor:
    """Cut each token into sub-patches: ``[..., channel]`` -> ``[..., m, sub-patch channel]``, C order."""
    return tokenize(values.unflatten(-1, token_size), size).flatten(-4, -2)


def subpatch_places(token_size: Triple, size: Triple, spans: Tensor) -> tuple[Tensor, Tensor]:
    """Where sub-patches lie in tokens that cover ``spans`` ``[..., 3]``, and what they cover themselves.

    Returns
    -------
    offset, cover
        ``[..., m, 3]`` in the units of ``spans``: from the token's middle to the sub-patch's, with later,
        south and east positive; and duration, height and width of a sub-patch.
    """
    counts = [points // patch for points, patch in zip(token_size, size, strict=True)]
    middles = torch.cartesian_prod(*((torch.arange(count) + 0.5) / count - 0.5 for count in counts))
    cover = (spans / torch.tensor(counts).to(spans))[..., None, :]
    return middles.to(spans) * spans[..., None, :], cover.expand(*spans.shape[:-1], len(middles), 3)


def _features(offset: Tensor, cover: Tensor) -> Tensor:
    """Sines and cosines of the offset, and the logarithm of the size: ``[..., m, PLACE_FEATURES]``."""
    time, space = waves(offset[..., :1], *TIME_WAVES), waves(offset[..., 1:], *SPACE_WAVES)
    return torch.cat((time, space, torch.log2(cover)), -1)

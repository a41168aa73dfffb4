"""The shape of the network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from atmorep_lite.config.base import Strict
from atmorep_lite.fields import find_name

Triple = tuple[int, int, int]


class ContextConfig(Strict):
    """Coarser tokens of a larger region around the neighbourhood (:mod:`atmorep_lite.model.context`).

    ``num_tokens`` and ``token_size`` are (time, latitude, longitude) as those of the field, counted on a grid
    of means over ``coarsen`` x ``coarsen`` points.  The time steps are those of the neighbourhood.
    """

    num_tokens: tuple[PositiveInt, PositiveInt, PositiveInt]
    token_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    coarsen: int = Field(default=1, ge=1)

    @property
    def extent(self) -> Triple:
        """Size of the region in points of the full grid (time, latitude, longitude)."""
        t, y, x = (n * s for n, s in zip(self.num_tokens, self.token_size, strict=True))
        return t, y * self.coarsen, x * self.coarsen

    @property
    def token_values(self) -> int:
        """Number of values inside one token."""
        return self.token_size[0] * self.token_size[1] * self.token_size[2]


class FieldConfig(Strict):
    """One physical field and its own transformer.

    ``name`` in any spelling; the canonical one is kept, and a name that is no known field stays as it is.
    ``num_tokens`` and ``token_size`` are (time, latitude, longitude); their product is the neighbourhood in
    grid points and must be the same for all fields.  ``loss_weight`` 0 makes a field input only.
    ``context`` adds coarser tokens of a larger region, which are seen but not predicted.
    """

    name: str
    levels: tuple[int, ...] = Field(min_length=1)
    embed_dim: int = Field(gt=16, multiple_of=2)
    num_tokens: tuple[PositiveInt, PositiveInt, PositiveInt]
    token_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    coupled_to: tuple[str, ...] = ()
    loss_weight: float = Field(default=1.0, ge=0)
    context: ContextConfig | None = None

    @field_validator("name")
    @classmethod
    def _canonical_name(cls, name: str) -> str:
        return find_name(name) or name

    @field_validator("coupled_to")
    @classmethod
    def _canonical_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_name(name) or name for name in names)

    @property
    def extent(self) -> Triple:
        """Size of the neighbourhood in grid points (time, latitude, longitude)."""
        t, y, x = (n * s for n, s in zip(self.num_tokens, self.token_size, strict=True))
        return t, y, x

    @property
    def token_values(self) -> int:
        """Number of values inside one token."""
        return self.token_size[0] * self.token_size[1] * self.token_size[2]


class GridSkipConfig(Strict):
    """The convolutional first guess beside the transformer (:mod:`atmorep_lite.model.grid_skip`).

    ``forecast_steps`` > 0 adds a linear part for forecasts of that many time steps, the last ones of the
    neighbourhood; a training stage of the part ``regression`` fits it.  ``polynomials``: how many Chebyshev
    polynomials of the sine of latitude make each of its coefficients.
    """

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=4, ge=1)
    static_channels: int = 8
    forecast_steps: int = Field(default=0, ge=0)
    polynomials: int = Field(default=8, ge=1)


class SubpatchConfig(Strict):
    """The small transformer that embeds tokens of any size (:mod:`atmorep_lite.model.subpatches`).

    ``size`` is that of a sub-patch, in points (time, latitude, longitude); it divides every token size.
    """

    size: tuple[PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2)
    width: int = Field(default=64, gt=0, multiple_of=16)
    layers: int = Field(default=1, ge=0)


class ModelConfig(Strict):
    """Everything that fixes the shape of the network.

    ``predict="field"`` is the published form: the network outputs the hidden field itself.
    ``predict="departure"`` makes it output the departure from a simple fill of the hidden tokens, in units of
    the typical size of such departures; it learns in minutes.
    ``locality`` > 0 subtracts a fixed multiple of the distance between two tokens from their attention score.
    ``coupling_heads``: how many heads listen to each coupled field, besides the ``heads`` of self-attention.
    ``cross_fraction``: the part of a decoder layer's heads that look at the encoder, rounded down to heads; 0
    and 1 are allowed.
    ``positions``: the code of a token's place numbers the tokens of the neighbourhood (``"index"``, as
    published), or says where on Earth, when and how large the token is (``"sphere"``).
    ``subpatches`` replaces the linear embedding of a token's values by a small transformer.
    ``published`` restores the quirks of the published code of a year (listed in :mod:`atmorep_lite.model`).
    """

    fields: tuple[FieldConfig, ...] = Field(min_length=1)
    encoder_layers: int = Field(default=6, ge=1)
    decoder_layers: int = Field(default=6, ge=1)
    heads: int = Field(default=16, ge=1)
    coupling_heads: int = Field(default=1, ge=1)
    cross_fraction: float = Field(default=0.5, ge=0, le=1)
    members: int = Field(default=16, ge=1)
    tail_layers: int = Field(default=0, ge=0)
    mlp_layers: int = Field(default=2, ge=2)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    qk_norm: bool = True
    predict: Literal["field", "departure"] = "field"
    locality: float = Field(default=0.0, ge=0)
    grid_skip: GridSkipConfig | None = None
    published: Literal["2023", "2024"] | None = None
    positions: Literal["index", "sphere"] = "index"
    subpatches: SubpatchConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"model.fields names a field twice: {', '.join(names)}")
        for field in self.fields:
            if field.embed_dim % self.heads:
                raise ValueError(
                    f"embed_dim {field.embed_dim} of {field.name} is not a multiple of the {self.heads} heads"
                )
            if field.extent != self.fields[0].extent:
                raise ValueError(
                    f"num_tokens x token_size of {field.name} is {field.extent}, of {names[0]} "
                    f"{self.fields[0].extent}; all fields must cover the same neighbourhood"
                )
            if len(set(field.coupled_to)) != len(field.coupled_to):
                raise ValueError(f"{field.name} is coupled to a field twice: {', '.join(field.coupled_to)}")
            for other in field.coupled_to:
                if other not in names or other == field.name:
                    raise ValueError(
                        f"{field.name} is coupled to {other}, which is not another field of the model"
                    )
        if self.grid_skip is not None and self.predict != "departure":
            raise ValueError('model.grid_skip needs model.predict: "departure"')
        if self.grid_skip is not None and self.grid_skip.forecast_steps:
            known, slot = self.extent[0] - self.grid_skip.forecast_steps, self.fields[0].token_size[0]
            if known < 4 or known % slot or any(f.token_size[0] != slot for f in self.fields):
                raise ValueError(
                    f"model.grid_skip.forecast_steps {self.grid_skip.forecast_steps} leaves {known} of "
                    f"{self.extent[0]} steps; the linear part needs 4 known steps or more, a whole number of "
                    "token slots, and tokens of one length in time"
                )
        return self

    @model_validator(mode="after")
    def _token_sizes_fit(self) -> ModelConfig:
        if self.published is not None and (self.positions != "index" or self.subpatches is not None):
            raise ValueError(
                "model.published restores the published embedding; leave out model.subpatches, and set "
                'model.positions: "index"'
            )
        for field in self.fields:
            sizes = [field.token_size]
            if field.context is not None:
                sizes.append(field.context.token_size)
                if self.positions != "sphere":
                    raise ValueError(f'the context of {field.name} needs model.positions: "sphere"')
                steps, rows, columns = field.context.extent
                if steps != field.extent[0] or rows < field.extent[1] or columns < field.extent[2]:
                    raise ValueError(
                        f"the context of {field.name} covers {field.context.extent} points (time, latitude, "
                        f"longitude); it must cover the neighbourhood's {field.extent} and as many time steps"
                    )
            patch = (1, 1, 1) if self.subpatches is None else self.subpatches.size
            for size in sizes:
                if any(points % part for points, part in zip(size, patch, strict=True)):
                    raise ValueError(
                        f"tokens of {field.name} of {size} points cannot be cut into sub-patches of {patch}; "
                        "choose a model.subpatches.size that divides them"
                    )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def extent(self) -> Triple:
        """Neighbourhood in grid points (time, latitude, longitude)."""
        return self.fields[0].extent

    def field(self, name: str) -> FieldConfig:
        """The configuration of one field."""
        return self.fields[self.names.index(name)]

"""Typed, validated configuration: presets as YAML files, overrides as ``key=value``.

One :class:`Config` describes a whole run.  Unknown keys are refused, so a misspelt option cannot be ignored
in silence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from atmorep_lite.errors import UserError
from atmorep_lite.fields import find_name

PRESETS = Path(__file__).parent / "configs"

Triple = tuple[int, int, int]


class Strict(BaseModel):
    """A section of a configuration: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Kind = TypeVar("_Kind", bound=Strict)


class FieldConfig(Strict):
    """One physical field and its own transformer.

    ``name`` in any spelling; the canonical one is kept, and a name that is no known field stays as it is.
    ``num_tokens`` and ``token_size`` are (time, latitude, longitude); their product is the neighbourhood in
    grid points and must be the same for all fields.  ``loss_weight`` 0 makes a field input only.
    """

    name: str
    levels: tuple[int, ...] = Field(min_length=1)
    embed_dim: int = Field(gt=16, multiple_of=2)
    num_tokens: tuple[PositiveInt, PositiveInt, PositiveInt]
    token_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    coupled_to: tuple[str, ...] = ()
    loss_weight: float = Field(default=1.0, ge=0)

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
    """The convolutional first guess beside the transformer (:mod:`atmorep_lite.model.grid_skip`)."""

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=4, ge=1)
    static_channels: int = 8


class ModelConfig(Strict):
    """Everything that fixes the shape of the network.

    ``predict="field"`` is the published form: the network outputs the hidden field itself.
    ``predict="departure"`` makes it output the departure from a simple fill of the hidden tokens, in units of
    the typical size of such departures; it learns in minutes.
    ``locality`` > 0 subtracts a fixed multiple of the distance between two tokens from their attention score.
    ``published`` restores the quirks of the published code of a year (listed in :mod:`atmorep_lite.model`).
    """

    fields: tuple[FieldConfig, ...] = Field(min_length=1)
    encoder_layers: int = Field(default=6, ge=1)
    decoder_layers: int = Field(default=6, ge=1)
    heads: int = Field(default=16, ge=1)
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
        if self.decoder_layers > self.encoder_layers:
            raise ValueError(
                "decoder_layers must not exceed encoder_layers: each decoder layer mirrors one of them"
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


class DataConfig(Strict):
    """Where the data are and how they are normalised.

    ``train`` and ``validation`` are paths, URLs, or the names of shipped samples; ``*_period`` cuts
    ``[first, last]`` (inclusive) out of them.
    """

    train: str
    validation: str
    train_period: tuple[str, str] | None = None
    validation_period: tuple[str, str] | None = None
    normalization: Literal["global", "local", "anomaly"] = "anomaly"


class MaskingConfig(Strict):
    """How often each task is drawn and how much it hides.

    ``forecast_slots``: how many token slots at the end a forecast hides.  ``max_rate``: upper end of the
    uniform distribution of the hidden fraction in BERT-style masking.
    """

    forecast: float = Field(default=0.5, ge=0, le=1)
    forecast_slots: int = Field(default=1, ge=1)
    max_rate: float = Field(default=0.5, gt=0, le=1)
    zero: float = Field(default=0.9, ge=0, le=1)
    noise: float = Field(default=0.2, ge=0, le=1)
    coarse: float = Field(default=0.05, ge=0, le=1)
    whole_field: float = Field(default=0.0, ge=0, le=1)


class StageConfig(Strict):
    """A stretch of training: which part of the network learns, how long, how fast.

    ``short_leads`` (for the part ``grid_skip``) divides the weight of an error by the distance in steps to
    the nearest visible state.  Errors grow with that distance, so that otherwise the longest leads make most
    of the loss.
    """

    part: Literal["all", "grid_skip", "transformer"] = "all"
    steps: int = Field(gt=0)
    batch_size: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    short_leads: bool = False
    forecast: float | None = Field(
        default=None, ge=0, le=1, description="overrides masking.forecast in this stage"
    )


class TrainingConfig(Strict):
    """Optimisation.  Each stage's learning rate rises over ``warmup`` steps and falls as a cosine to 0."""

    stages: tuple[StageConfig, ...] = Field(min_length=1)
    loss: dict[str, float] = Field(default={"crps": 1.0}, min_length=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=20, ge=0)
    clip: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=200, gt=0)


class Config(Strict):
    """A whole run: data, model, masking, training."""

    data: DataConfig
    model: ModelConfig
    masking: MaskingConfig = MaskingConfig()
    training: TrainingConfig

    @model_validator(mode="after")
    def _forecast_fits(self) -> Config:
        first = self.model.fields[0]
        steps = self.masking.forecast_slots * first.token_size[0]
        for field in self.model.fields:
            if steps % field.token_size[0]:
                raise ValueError(
                    f"masking.forecast_slots hides {steps} time steps, which is not a whole number of "
                    f"tokens of {field.name} ({field.token_size[0]} steps each)"
                )
        drawn = [self.masking.forecast if s.forecast is None else s.forecast for s in self.training.stages]
        if any(drawn) and steps >= first.extent[0]:
            raise ValueError(
                f"masking.forecast_slots hides {steps} of {first.extent[0]} time steps; leave one token slot "
                "visible, or set masking.forecast to 0"
            )
        return self


def load_config(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read a preset (``"demo"``) or a YAML file, apply ``key.subkey=value`` overrides and validate.

    Raises
    ------
    UserError
        Unknown preset or file, unknown key, wrong value: one sentence that names it.
    """
    path = Path(source)
    if not path.suffix and not path.is_file():
        path = PRESETS / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UserError(
            f"there is no configuration {str(source)!r}; give a YAML file or one of the presets {known}"
        )
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold a mapping with the keys data, model and training")
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, str(path))


def parse_config(tree: dict[str, Any], origin: str = "the configuration") -> Config:
    """Validate a nested dictionary; see :func:`load_config`."""
    return _validated(Config, tree, origin)


def parse_model_config(tree: dict[str, Any], origin: str = "the configuration") -> ModelConfig:
    """Validate the part ``model`` of a configuration alone."""
    return _validated(ModelConfig, tree, origin)


def _validated(kind: type[_Kind], tree: dict[str, Any], origin: str) -> _Kind:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error)}") from error


def dump_config(config: BaseModel) -> str:
    """The configuration as YAML text that :func:`load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is not an override; write key=value, for example training.seed=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"override {override!r}: {text!r} is not a YAML value; check its brackets") from error
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        node = node[_entry(node, parent, override)] if isinstance(node, list) else node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise UserError(f"override {override!r}: {parent} holds a single value, not a section")
    node[_entry(node, last, override) if isinstance(node, list) else last] = value


def _entry(node: list[Any], name: str, override: str) -> int:
    if not name.isdecimal() or int(name) >= len(node):
        raise UserError(f"override {override!r}: {name} is not an entry of the list, 0 to {len(node) - 1}")
    return int(name)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "it"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place}; check its spelling or remove it"
    if problem["type"] == "missing":
        return f"the key {place} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = repr(problem.get("input"))
    if len(given) > 60 or problem["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place} is {given}, but {message[0].lower()}{message[1:]}"

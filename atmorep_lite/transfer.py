"""Starting a model from trained ones: coupling separately trained fields, adding fields, going on training.

A coupled model differs from the single-field models it is made of by its coupling heads alone.  In the layer
::

    x <- x + W [self heads ; coupling heads]

the columns of ``W`` that belong to new coupling heads begin at exactly zero, while these heads' queries, keys
and values begin at their usual size.  So the coupled model predicts at first what the single ones did, and
still learns to listen: the gradient of the columns is an outer product with what the coupling heads heard,
which is not zero; and once the columns have moved, after one step, gradients reach queries, keys and values.
The other way round would not do: with queries *and* keys at zero, or columns *and* values, each one's
gradient is proportional to the other, and both stay zero.

Weights do not depend on how many levels a field has or how many tokens a neighbourhood, so these may change:
another region is a smaller or larger neighbourhood, another resolution the same tokens in points, larger or
smaller in degrees.  The code of a token's place is computed anew; with ``positions: index`` levels are
numbered, so new ones go behind the old ones, which then keep their codes.  A token's size in points must
stay.  Another time step changes what its values mean, and has to be asked for (``statistics: refit``).

The published code meant to start the new queries, keys and values small and the new columns at 0.01 times
random numbers from 0 to 1.  Its small start had no effect, and columns that are all positive add about the
same number to all channels of a token (Lessig et al. 2023, public code, ``load_block``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from atmorep_lite.config import FieldConfig, ModelConfig, StartConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import find_pretrained, load_model
from atmorep_lite.transfer_skip import carry_skip
from atmorep_lite.transfer_statistics import merge_normalizers

#: Settings of a model that may differ from those of the models it starts from.
FREE = {"fields", "grid_skip", "dropout"}
FREE_OF_FIELD = {"coupled_to", "loss_weight", "levels", "num_tokens"}


def couple(sources: Sequence[AtmoRep], config: ModelConfig, *, new_fields: Collection[str] = ()) -> AtmoRep:
    """A model that predicts at first what the models did from which it takes its fields.

    Parameters
    ----------
    sources
        Models of one or more fields each, no field twice.  Everything that belongs to a field is copied, and
        the couplings among fields of the same source.
    config
        The model to make: the sources' fields, ``new_fields`` and any further coupling.  All settings must be
        those of the sources but ``dropout``, couplings, loss weights, levels and numbers of tokens.
    new_fields
        Fields that no source has; they begin at random.

    Returns
    -------
    AtmoRep
        In training mode.  Its normaliser holds the sources' statistics.  A grid-scale skip is copied if one
        source has it (:mod:`atmorep_lite.transfer_skip`); a new one begins without effect.  Typical
        departures of new levels and fields, and all if the number of time steps changes, are 1 as in a new
        model, for :func:`~atmorep_lite.transfer_statistics.fill_departures` to measure.

    Raises
    ------
    UserError
        If a field is missing, unknown, given twice or of another shape; if a setting differs; if a source has
        a coupling that ``config`` lacks, or a grid-scale skip that cannot be carried over.
    """
    origin = _origins(sources, config, new_fields)
    for source in sources:
        _check_settings(source, config)
    for name, source in origin.items():
        _check_field(source.config.field(name), config.field(name), source, config)
    with_skip = [source for source in sources if source.grid_skip is not None]
    _check_skips(with_skip, config)
    model = AtmoRep(config)
    weights = model.state_dict()  # the tensors themselves
    for name, source in origin.items():
        field, before = config.field(name), source.config.field(name)
        for key, tensor in source.state_dict().items():
            if key == f"departure_scale.{name}" and key in weights:
                _copy_levels(weights[key], tensor, field, before)
            elif key.split(".")[1] == name and key in weights:  # a field may be only read from now on
                _copy(key, weights[key], tensor, field, before)
        for layer in range(config.encoder_layers):
            _silence_new_couplings(weights[f"encoders.{name}.{layer}.out.weight"], field, before)
    for source in with_skip:
        assert source.grid_skip is not None and model.grid_skip is not None
        carry_skip(source.grid_skip, model.grid_skip, source.config, config)
    known = [source.normalizer for source in sources if source.normalizer is not None]
    model.normalizer = merge_normalizers(known) if known else None
    return model


def start_model(start: StartConfig, config: ModelConfig) -> AtmoRep:
    """The model that the key ``training.start`` of a configuration asks for; see :func:`couple`.

    With ``statistics: refit`` it has neither normaliser nor typical departures, as a new model.
    """
    sources = [load_model(find_pretrained(name)) for name in start.models]
    refit = start.statistics == "refit"
    if refit:
        for source in sources:
            source.normalizer = None
    model = couple(sources, config, new_fields=start.new_fields)
    if refit:
        for table in model.departure_scale.values():
            table.data.fill_(1.0)
    return model


def _origins(
    sources: Sequence[AtmoRep], config: ModelConfig, new_fields: Collection[str]
) -> dict[str, AtmoRep]:
    origin: dict[str, AtmoRep] = {}
    for source in sources:
        for name in source.config.names:
            if name in origin:
                raise UserError(f"two of the models to start from have the field {name}; give it once")
            if name not in config.names:
                raise UserError(
                    f"a model to start from has the field {name}, which the configuration lacks; add it there"
                )
            origin[name] = source
    for name in new_fields:
        if name in origin or name not in config.names:
            where = "a model to start from has it" if name in origin else "the configuration lacks it"
            raise UserError(f"{name} cannot be a new field: {where}")
    for name in config.names:
        if name not in origin and name not in new_fields:
            raise UserError(
                f"none of the models to start from has the field {name}; give one that has, or name it among "
                "the new fields to begin it at random"
            )
    return origin


def _check_settings(source: AtmoRep, config: ModelConfig) -> None:
    title = f"the model of {', '.join(source.config.names)}"
    for key in ModelConfig.model_fields:
        theirs, ours = getattr(source.config, key), getattr(config, key)
        irrelevant = key == "coupling_heads" and not any(f.coupled_to for f in source.config.fields)
        if key not in FREE and not irrelevant and theirs != ours:
            raise UserError(
                f"{title} has model.{key}: {theirs}, the configuration {ours}; a model starts from weights "
                "of its own shape only, so make them equal"
            )
    if config.published is not None and any(
        f.num_tokens != config.field(f.name).num_tokens for f in source.config.fields
    ):
        raise UserError(
            f"{title} has other num_tokens than the configuration, but the published code of a token's place "
            "depends on them; keep them"
        )


def _check_skips(sources: Sequence[AtmoRep], config: ModelConfig) -> None:
    if len(sources) > 1:
        raise UserError(
            "two of the models to start from have a grid_skip, and it is one network for all fields; couple "
            "models of which at most one has it"
        )
    for source in sources:
        title = f"the model of {', '.join(source.config.names)}"
        if source.config.grid_skip != config.grid_skip:
            raise UserError(
                f"{title} has the grid_skip ({source.config.grid_skip}), the configuration "
                f"{config.grid_skip and f'({config.grid_skip})'}; make them equal"
            )
        for what, theirs, ours in (
            ("time steps", source.config.extent[0], config.extent[0]),
            ("steps in its shortest token", *(_shortest(c) for c in (source.config, config))),
        ):
            if theirs != ours:
                raise UserError(
                    f"{title} has {theirs} {what}, the configuration {ours}, but a grid_skip belongs to one "
                    "number; make them equal"
                )


def _shortest(config: ModelConfig) -> int:
    return min(field.token_size[0] for field in config.fields)


def _check_field(theirs: FieldConfig, ours: FieldConfig, source: AtmoRep, config: ModelConfig) -> None:
    for key in FieldConfig.model_fields:
        a, b = getattr(theirs, key), getattr(ours, key)
        if key not in FREE_OF_FIELD and a != b:
            raise UserError(
                f"the model to start from has {key} {a} for {ours.name}, the configuration {b}; weights fit "
                "their own shape only, so make them equal"
            )
    dropped = [other for other in theirs.coupled_to if other not in ours.coupled_to]
    if dropped:
        raise UserError(
            f"in the model to start from {ours.name} is coupled to {', '.join(dropped)}, in the "
            "configuration not; keep the coupling there"
        )
    if ours.loss_weight > 0 and ours.name not in source.predicted:
        raise UserError(
            f"the model to start from does not predict {ours.name} but only reads it; set its loss_weight "
            "to 0 or start from another one"
        )


def _copy_levels(ours: Tensor, theirs: Tensor, field: FieldConfig, before: FieldConfig) -> None:
    """Rows of the levels in both, of tables ``[level, steps + 1]`` of as many steps."""
    if ours.shape[1] == theirs.shape[1]:
        for row, level in enumerate(field.levels):
            if level in before.levels:
                ours[row] = theirs[before.levels.index(level)]


def _copy(key: str, ours: Tensor, theirs: Tensor, field: FieldConfig, before: FieldConfig) -> None:
    """Put one of a field's tensors in its place: coupling heads by the field that they listen to."""
    in_encoder = key.startswith("encoders.")
    if in_encoder and key.endswith(".coupling_q.weight"):
        ours, theirs = ours.T, theirs.T
    elif in_encoder and key.endswith(".out.weight"):
        own = field.embed_dim
        ours[:, :own] = theirs[:, :own]
        ours, theirs = ours[:, own:], theirs[:, own:]
    else:
        ours.copy_(theirs)
        return
    places = _columns(ours, field.coupled_to)
    for other, columns in _columns(theirs, before.coupled_to).items():
        places[other].copy_(columns)


def _silence_new_couplings(out: Tensor, field: FieldConfig, before: FieldConfig) -> None:
    for other, columns in _columns(out[:, field.embed_dim :], field.coupled_to).items():
        if other not in before.coupled_to:
            columns.zero_()


def _columns(weight: Tensor, coupled_to: tuple[str, ...]) -> dict[str, Tensor]:
    """Views of the columns that belong to each coupled field."""
    parts = weight.chunk(len(coupled_to), 1) if coupled_to else ()
    return dict(zip(coupled_to, parts, strict=True))

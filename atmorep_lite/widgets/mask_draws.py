"""Masks drawn by the library for a piece of a record: every strategy, several amounts, several samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, MaskingConfig, Triple
from atmorep_lite.errors import UserError
from atmorep_lite.masking import STRATEGIES, Key, Masks, Purpose, distort, draw_masks, generator
from atmorep_lite.tokens import FieldTokens, token_info, tokenize
from atmorep_lite.widgets.gridded import Piece, check_token_size

#: What may become of a token selected at random: it stays; zeros; noise on zeros; mixed with noise; coarser.
KINDS = ("kept", "zero", "noise", "mixed", "coarse")
FIXED = ("forecast", "hindcast")  # the same in every draw
MOST_DRAWS = 100
MOST_SLOTS = 6  # amounts of a strategy in time
_RATES = (0.15, 0.3, 0.5, 0.75, 1.0)
_SIDES = ((0.1, 0.4), (0.25, 0.75), (0.6, 0.9))
_WIDTHS = (5.0, 10.0, 20.0)
_LARGE = 1e6  # of the values that show what `distort` does: noise is tiny against them


@dataclass(frozen=True)
class Setting:
    """One amount that a strategy can hide: a few words, and what it changes in the `MaskingConfig`."""

    label: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """Everything that the library drew.

    Attributes
    ----------
    configs
        The fields and their tokens.
    draws
        How many samples.
    settings
        By strategy.
    masks
        By strategy, for each setting: by field ``[draw, level, token_time, token_lat, token_lon]``.
    corruption
        For each setting of the strategy random, by field in the same shape: numbers of :data:`KINDS`; -1 for
        tokens that were not selected, or whose whole field is hidden.
    refused
        Why a strategy has no setting that these tokens allow, by strategy.
    """

    configs: tuple[FieldConfig, ...]
    draws: int
    settings: dict[str, list[Setting]]
    masks: dict[str, list[Masks]]
    corruption: list[dict[str, Tensor]]
    refused: dict[str, str]


def shape_of(f: FieldConfig) -> tuple[int, int, int, int]:
    """Numbers of tokens of a field: (level, time, latitude, longitude)."""
    return (len(f.levels), *f.num_tokens)


def field_configs(piece: Piece, token_size: Triple | Mapping[str, Triple]) -> tuple[FieldConfig, ...]:
    """How the fields of a piece are cut; `UserError` where the sizes do not fit."""
    sizes = token_size if isinstance(token_size, Mapping) else {f.name: token_size for f in piece.fields}
    if unknown := sorted(set(sizes) ^ {f.name for f in piece.fields}):
        raise UserError(f"Fields and token sizes differ in {', '.join(unknown)}: give each field one size.")
    configs = []
    for field in piece.fields:
        size = check_token_size(sizes[field.name], piece.shape)
        (nt, ny, nx), levels = (n // s for n, s in zip(piece.shape, size, strict=True)), field.level
        configs.append(
            FieldConfig(
                name=field.name, levels=levels, embed_dim=32, num_tokens=(nt, ny, nx), token_size=size
            )
        )
    return tuple(configs)


def draw_all(
    piece: Piece,
    configs: tuple[FieldConfig, ...],
    masking: MaskingConfig,
    *,
    strategies: Sequence[str] | None,
    draws: int,
    seed: int,
) -> Drawn:
    """Draw masks as training does: draw ``n`` is that of ``Key(seed, 0, n)``.

    Parameters
    ----------
    piece
        Where the tokens are.
    configs
        Its fields.
    masking
        Settings other than the amounts.
    strategies
        Names; all where None, without those that the tokens do not allow.

    Raises
    ------
    UserError
        If a name is unknown, or a strategy that was named is not possible, or none is.
    """
    whole = [isinstance(n, int) and not isinstance(n, bool) for n in (draws, seed)]
    if not all(whole) or not 1 <= draws <= MOST_DRAWS or seed < 0:
        raise UserError(
            f"There are {draws!r} draws with the seed {seed!r}: give 1 to {MOST_DRAWS} draws and a whole "
            "number from 0 on as seed."
        )
    if unknown := [name for name in strategies or () if name not in STRATEGIES]:
        raise UserError(f"The strategy {unknown[0]!r} is unknown: choose some of {', '.join(STRATEGIES)}.")
    keys = [Key(seed, 0, n) for n in range(draws)]
    drawn = Drawn(configs, draws, {}, {}, [], {})
    for name in dict.fromkeys(strategies or STRATEGIES):
        _draw_strategy(drawn, name, keys, masking, _places(piece, configs, draws))
    if not drawn.settings or (strategies is not None and drawn.refused):
        raise UserError(next(iter(drawn.refused.values())))
    return drawn


def _draw_strategy(
    drawn: Drawn, name: str, keys: list[Key], masking: MaskingConfig, places: dict[str, FieldTokens]
) -> None:
    settings: list[Setting] = []
    masks: list[Masks] = []
    for setting in _settings(name, drawn.configs, masking):
        alone = MaskingConfig.model_validate(masking.model_dump() | setting.changes | {"tasks": {name: 1.0}})
        try:
            hidden, _ = draw_masks(drawn.configs, keys, alone, tokens=places)
        except UserError as error:
            drawn.refused.setdefault(name, str(error))
            continue
        settings.append(setting)
        masks.append({f: mask[:1] for f, mask in hidden.items()} if name in FIXED else hidden)
        if name == "random":
            drawn.corruption.append(corruption_of(drawn.configs, keys, hidden, alone))
    if settings:
        drawn.refused.pop(name, None)
        drawn.settings[name], drawn.masks[name] = settings, masks


def _settings(name: str, configs: tuple[FieldConfig, ...], masking: MaskingConfig) -> list[Setting]:
    slots = configs[0].num_tokens[0]
    levels = {level for f in configs for level in f.levels}
    if name in (*FIXED, "interpolation"):
        most = min(MOST_SLOTS, slots - (2 if name == "interpolation" else 1))
        return [Setting(_counted(n, "slot"), {f"{name}_slots": n}) for n in range(1, max(most, 1) + 1)]
    if name == "random":
        rates = sorted({*_RATES, masking.max_rate})
        return [Setting(f"≤ {100 * rate:g} %", {"max_rate": rate}) for rate in rates]
    if name == "level":
        return [Setting(_counted(n, "level"), {"hidden_levels": n}) for n in range(1, max(len(levels), 2))]
    if name in ("box", "crop"):
        sides = sorted({*_SIDES, masking.box_sides})
        return [Setting(f"{100 * a:g}–{100 * b:g} %", {"box_sides": (a, b)}) for a, b in sides]
    if name.endswith("swath"):
        return [Setting(f"{w:g}°", {"swath_width": w}) for w in sorted({*_WIDTHS, masking.swath_width})]
    return [Setting("one field", {})]


def usual(settings: Sequence[Setting], masking: MaskingConfig) -> int:
    """Which of a strategy's settings changes nothing in ``masking``; the first where each one does."""
    same = [all(getattr(masking, name) == value for name, value in s.changes.items()) for s in settings]
    return same.index(True) if True in same else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _places(piece: Piece, configs: Iterable[FieldConfig], count: int) -> dict[str, FieldTokens]:
    """Tokens without values: where they are is all that drawing asks for."""
    places = {}
    for f in configs:
        info = torch.from_numpy(
            token_info(piece.time, piece.latitude, piece.longitude, f.levels, f.token_size)
        )
        info = info.expand(count, *info.shape)
        places[f.name] = FieldTokens(info[..., :0], info, torch.zeros(info.shape[:-1], dtype=torch.bool))
    return places


def corruption_of(
    configs: Iterable[FieldConfig], keys: Sequence[Key], masks: Masks, masking: MaskingConfig
) -> dict[str, Tensor]:
    """What training does with tokens hidden at random, for models of the field itself: numbers of `KINDS`.

    Found by giving :func:`~atmorep_lite.masking.distort` large values with a small pattern, with the
    generators of training. In a token set to zero nothing large is left; noise scales what it is mixed with;
    a coarser token has its mean, and another pattern.

    Parameters
    ----------
    masks
        Of :func:`~atmorep_lite.masking.draw_masks` for ``keys``, by field, ``[draw, level, token_time,
        token_lat, token_lon]``.
    """
    rngs = [generator(key, Purpose.DISTORTION) for key in keys]
    kinds = {}
    for f in configs:
        mask = masks[f.name]
        selected = mask & ~mask.flatten(1).all(1).view(-1, 1, 1, 1, 1)  # of hidden fields nothing is shown
        pattern = np.random.default_rng(0).standard_normal(f.token_values)
        values = torch.from_numpy(_LARGE + pattern)
        out = distort(values.expand(*mask.shape, -1), selected, f.token_size, masking, rngs)
        part = out.mean(1) / values.mean()
        zero = part.abs() < 1e-6  # noise of 0.1 is 1e-7 of the values
        mixed = ~zero & ((part - 1.0).abs() > 3e-9)
        kind = torch.zeros(len(out), dtype=torch.int8)
        kind[~zero & ~mixed & (out != values).any(1)] = KINDS.index("coarse")
        kind[mixed] = KINDS.index("mixed")
        kind[zero] = KINDS.index("zero")
        kind[zero & (out != 0).any(1)] = KINDS.index("noise")
        kinds[f.name] = torch.full(mask.shape, -1, dtype=torch.int8)
        kinds[f.name][selected] = kind
    return kinds


def corrupted_example(
    piece: Piece, f: FieldConfig, masking: MaskingConfig, seed: int
) -> dict[str, np.ndarray]:
    """One token of a field, the one with most inside, under each of `KINDS`: ``[time, latitude, longitude]``.

    Departures from the record's mean in units of their standard deviation at the token's level.
    """
    field = next(one for one in piece.fields if one.name == f.name)
    departures = np.nan_to_num(field.departures)
    spread = departures.std((1, 2, 3), keepdims=True)
    tokens = tokenize(torch.from_numpy(departures / np.where(spread > 0, spread, 1.0)), f.token_size)
    token = tokens.flatten(0, 3)[int(tokens.std(-1, correction=0).argmax())]
    chances = {
        "kept": (0.0, 0.0, 0.0),
        "zero": (1.0, 0.0, 0.0),
        "noise": (1.0, 1.0, 0.0),
        "mixed": (0.0, 1.0, 0.0),
        "coarse": (0.0, 0.0, 1.0),
    }
    shown = {}
    for kind, (zero, noise, coarse) in chances.items():
        forced = masking.model_copy(update={"zero": zero, "noise": noise, "coarse": coarse})
        rng = generator(Key(seed, 0, 0), Purpose.DISTORTION)
        alone = token.view(1, 1, 1, 1, 1, -1)
        out = distort(alone, torch.ones(alone.shape[:-1], dtype=torch.bool), f.token_size, forced, [rng])
        shown[kind] = out.reshape(f.token_size).numpy()
    return shown

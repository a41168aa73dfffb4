"""MaskingExplorer: what each strategy hides from the model, on a real field, and what one hides by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import MaskingConfig, Triple
from atmorep_lite.errors import UserError
from atmorep_lite.masking import STRATEGIES, Masks
from atmorep_lite.widgets.explorer import Between, Content, Explorer
from atmorep_lite.widgets.gridded import Piece, Range, pack_piece, read_piece
from atmorep_lite.widgets.mask_draws import (
    FIXED,
    KINDS,
    Drawn,
    corrupted_example,
    draw_all,
    field_configs,
    shape_of,
    usual,
)
from atmorep_lite.widgets.packing import Buffer

FIELDS = ("temperature", "vorticity", "specific_humidity")
NONE = "none"  # nothing is hidden but by hand
LOOKS = ("hidden", "corrupted")
_NOT_SELECTED = 15  # of the packed kinds


class MaskingExplorer(Explorer, module="masking_explorer", heading="Masking"):
    """What is hidden from the model under each strategy of :mod:`atmorep_lite.masking`.

    All masks are drawn by the library, as in training; the page shows and counts them, and lets the reader
    hide tokens by hand.

    Parameters
    ----------
    dataset
        Canonical data (:func:`atmorep_lite.open_dataset`); the simulated sample of the package where None.
    field
        The fields that are masked together, in any known spelling.
    levels
        hPa; all where None.
    time
        The first time; the record's first where None.
    steps
        How many consecutive times.
    latitude, longitude
        (south, north) and (west, east) in degrees; the whole record where None.
    token_size
        Points in a token (time, latitude, longitude): one size for all fields, or one by field.
    masking
        Settings; the explorer varies how much is hidden and keeps the rest.
    strategies
        Names of :data:`atmorep_lite.masking.STRATEGIES`; all that the tokens allow where None.
    draws
        How many samples are drawn with each setting.
    seed
        Of the draws: draw ``n`` is that of ``Key(seed, 0, n)``.
    title, caption
        Shown above and below.

    Attributes
    ----------
    selected : dict
        ``field``; ``strategy`` (or "none"); ``setting`` and ``draw``, counted from 0; ``look`` ("hidden", or
        "corrupted": what becomes of tokens selected at random when the model learns the field itself);
        ``hand``: tokens that the reader turned over, [field, level, time, latitude, longitude] counted
        from 0.
        Reading tells what the reader chose; setting some entries moves the view.

    Examples
    --------
    >>> explorer = MaskingExplorer(strategies=["forecast"])
    >>> explorer.selected = {"setting": 2}
    >>> float(explorer.masks()["temperature"].float().mean())  # 3 of 6 slots
    0.5
    """

    def __init__(
        self,
        dataset: xr.Dataset | None = None,
        field: str | Iterable[str] = FIELDS,
        *,
        levels: Sequence[int] | None = None,
        time: str | np.datetime64 | None = None,
        steps: int = 24,
        latitude: Range | None = None,
        longitude: Range | None = None,
        token_size: Triple | Mapping[str, Triple] = (4, 4, 4),
        masking: MaskingConfig | None = None,
        strategies: Sequence[str] | None = None,
        draws: int = 10,
        seed: int = 0,
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        self._drawn: Drawn | None = None

        def make() -> Content:
            piece = read_piece(
                dataset, field, levels=levels, time=time, steps=steps, latitude=latitude, longitude=longitude
            )
            if not isinstance(masking, MaskingConfig | None):
                raise UserError(
                    f"The masking is {type(masking).__name__}, where a MaskingConfig was expected: give "
                    "config.masking, or leave it out."
                )
            rules = masking or MaskingConfig()
            drawn = draw_all(
                piece,
                field_configs(piece, token_size),
                rules,
                strategies=strategies,
                draws=draws,
                seed=seed,
            )
            self._drawn = drawn
            first = next(iter(drawn.settings))
            selected = {
                "field": piece.fields[0].name,
                "strategy": first,
                "setting": usual(drawn.settings[first], rules),
                "draw": 0,
                "look": LOOKS[0],
                "hand": [],
            }
            meta, data = _pack(piece, drawn, rules, seed)
            return Content(meta, selected, data)

        super().__init__(make, title=title, caption=caption)

    def masks(self) -> Masks:
        """What is hidden in the view shown: by field ``[level, token_time, token_lat, token_lon]``."""
        self.check()
        drawn, now = self._known, self.selected
        if now["strategy"] == NONE:
            masks = {f.name: torch.zeros(shape_of(f), dtype=torch.bool) for f in drawn.configs}
        else:
            every = drawn.masks[now["strategy"]][now["setting"]]
            masks = {name: mask[self._draw].clone() for name, mask in every.items()}
        for name, *place in now["hand"]:
            masks[name][tuple(place)] ^= True
        return masks

    def corruption(self) -> dict[str, torch.Tensor]:
        """What becomes of the tokens that the view shown selects, by field, in the shape of the masks.

        Numbers of :data:`atmorep_lite.widgets.mask_draws.KINDS`, -1 for tokens that are not selected. What
        the reader turns over by hand changes nothing.

        Raises
        ------
        UserError
            Under another strategy than random.
        """
        self.check()
        if self.selected["strategy"] != "random":
            raise UserError("Only tokens hidden at random are corrupted: choose the strategy random.")
        kinds = self._known.corruption[self.selected["setting"]]
        return {name: kind[self._draw] for name, kind in kinds.items()}

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        settings = self._known.settings
        return {
            "field": tuple(f.name for f in self._known.configs),
            "strategy": (*settings, NONE),
            "setting": tuple(range(max(map(len, settings.values())))),
            "draw": tuple(range(self._known.draws)),
            "look": LOOKS,
        }

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        hand = wanted.get("hand", before.get("hand", []))
        if not isinstance(hand, Sequence):
            raise UserError(f"selected['hand'] is {hand!r}: give a list of tokens.")
        before, rest = ({k: v for k, v in some.items() if k != "hand"} for some in (before, wanted))
        merged = super().complete(rest, before)
        last = len(self._known.settings.get(merged["strategy"], [None])) - 1
        merged["setting"] = min(merged["setting"], last)  # strategies have different numbers of settings
        return merged | {"hand": [self._checked(token) for token in hand]}

    def _checked(self, token: Any) -> list[Any]:
        """A token turned over by hand, if there is such a one."""
        shapes = {f.name: shape_of(f) for f in self._known.configs}
        try:
            name, *place = token
            inside = all(
                type(n) is not bool and n in range(size) for n, size in zip(place, shapes[name], strict=True)
            )
        except (TypeError, ValueError, KeyError):
            inside = False
        if not inside:
            raise UserError(
                f"The token {token!r} of hand is not there: give [field, level, time, latitude, longitude], "
                f"counted from 0, within {shapes}."
            )
        return [name, *map(int, place)]

    @property
    def _known(self) -> Drawn:
        assert self._drawn is not None
        return self._drawn

    @property
    def _draw(self) -> int:
        return 0 if self.selected["strategy"] in FIXED else self.selected["draw"]


def _pack(piece: Piece, drawn: Drawn, masking: MaskingConfig, seed: int) -> tuple[dict[str, Any], bytes]:
    buffer = Buffer()
    ends = {f.name: list(range(f.token_size[0] - 1, piece.shape[0], f.token_size[0])) for f in drawn.configs}
    meta = pack_piece(piece, buffer, ends)
    for described, f in zip(meta["fields"], drawn.configs, strict=True):
        described |= {"tokens": list(shape_of(f)), "size": list(f.token_size)}
    strategies = []
    for name, settings in drawn.settings.items():
        packed = []
        for i, setting in enumerate(settings):
            masks = _flat(drawn.masks[name][i], drawn)
            one = {"label": setting.label, "at": buffer.add(np.packbits(masks, axis=1))}
            if name == "random":
                one["kinds"] = _pack_kinds(_flat(drawn.corruption[i], drawn), masks, buffer)
            packed.append(one)
        told = (STRATEGIES[name].__doc__ or "").splitlines()[0]
        described = {"name": name, "told": told, "fixed": name in FIXED, "usual": usual(settings, masking)}
        strategies.append(described | {"settings": packed})
    example = corrupted_example(piece, drawn.configs[0], masking, seed)
    return meta | {
        "strategies": strategies,
        "draws": drawn.draws,
        "seed": seed,
        "kinds": list(KINDS),
        "example": {
            "size": list(drawn.configs[0].token_size),
            "field": meta["fields"][0]["label"],
            "values": {kind: np.round(values, 3).ravel().tolist() for kind, values in example.items()},
        },
    }, buffer.bytes()


def _flat(by_field: Mapping[str, torch.Tensor], drawn: Drawn) -> np.ndarray:
    """``[draw, token of any field]``."""
    return np.concatenate([by_field[f.name].flatten(1).numpy() for f in drawn.configs], axis=1)


def _pack_kinds(kinds: np.ndarray, masks: np.ndarray, buffer: Buffer) -> list[int]:
    """Offsets of each draw's kinds: half a byte for each hidden token, in order."""
    offsets = []
    for kind, mask in zip(kinds, masks, strict=True):
        halves = np.where(kind[mask] < 0, _NOT_SELECTED, kind[mask]).astype(np.uint8)
        halves = np.append(halves, np.zeros(len(halves) % 2, np.uint8))
        offsets.append(buffer.add(halves[0::2] << 4 | halves[1::2]))
    return offsets

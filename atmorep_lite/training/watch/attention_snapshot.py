"""What a model in training attends with, in one neighbourhood: a table and a small picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField
from atmorep_lite.attention_maps.capture import captured_pairs
from atmorep_lite.config import FieldConfig
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.tokens import FieldTokens, detokenize, token_positions

if TYPE_CHECKING:
    import pandas as pd


def write_snapshot(
    folder: Path,
    name: str,
    model: AtmoRep,
    data: Neighbourhoods,
    place: Place,
    tokens: Mapping[str, FieldTokens],
    trace: Trace,
    *,
    queries: int = 24,
) -> pd.DataFrame | None:
    """Write ``<name>.csv`` and ``<name>.png``: which field looks where, how far and how long back.

    The table has a row for each pair of fields, layer and head
    (:func:`~atmorep_lite.attention_maps.heads.head_table`), averaged over ``queries`` tokens of the
    newest time slot, the last one to be forecast.  The picture shows the means over layers and heads,
    field against field; without matplotlib there is none.

    Parameters
    ----------
    place
        Of the first neighbourhood of the batch.
    tokens, trace
        What the model saw, and what it left in ``trace``.

    Returns
    -------
    The table; None, with nothing written, for models that see context tokens, for which it has no place.
    """
    import pandas as pd

    from atmorep_lite.attention_maps.heads import head_table

    config = model.config
    if any(f.context is not None for f in config.fields):
        return None
    first: Trace = {
        key: {origin: (q[:1].cpu(), k[:1].cpu()) for origin, (q, k) in record.items()}
        for key, record in trace.items()
    }
    fields = {f.name: _captured(f, data, place, tokens[f.name]) for f in config.fields}
    pairs = captured_pairs(config, first)
    tables = []
    for name_of_field, field in fields.items():
        asking = {key: pair for key, pair in pairs.items() if key[0] == name_of_field}
        tables.append(head_table(AttentionCapture(fields, asking), queries=newest_tokens(field, queries)))
    table = pd.concat(tables, ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    _draw(table, folder / f"{name}.png", config.names)
    return table


def newest_tokens(field: CapturedField, most: int) -> list[int]:
    """Numbers of at most ``most`` tokens of the newest time slot, spread over levels and places."""
    newest = np.zeros(field.mask.shape, bool)
    newest[:, -1] = True
    found = np.flatnonzero(newest)
    return found[np.unique(np.linspace(0, len(found) - 1, most).astype(int))].tolist()


def _draw(table: pd.DataFrame, path: Path, names: tuple[str, ...]) -> None:
    from atmorep_lite.attention_figures import field_matrices
    from atmorep_lite.figures import save_figure

    means = table.groupby(["query_field", "key_field"])[["entropy", "distance_km", "lag_h"]].mean()
    panels = {}
    for title, column, unit in (
        ("Entropy over that of uniform weights", "entropy", 1.0),
        ("Mean distance of the keys, 1,000 km", "distance_km", 1e-3),
        ("Mean age of the keys, h", "lag_h", 1.0),
    ):
        square = (means[column] * unit).unstack("key_field").reindex(index=list(names), columns=list(names))
        panels[title] = square.rename(index=_short, columns=_short)
    try:
        figure = field_matrices(panels)
    except UserError:  # matplotlib is not installed
        return
    for ax in figure.axes:
        ax.tick_params(axis="x", rotation=30)
    figure.suptitle(f"What the newest hidden tokens attend to in the encoder, {path.stem}", fontsize=10)
    save_figure(figure, path)


def _short(name: str) -> str:
    return name.replace("_component_of_wind", " wind").replace("_", " ")


def _captured(f: FieldConfig, data: Neighbourhoods, place: Place, tokens: FieldTokens) -> CapturedField:
    """Places and times of one field's tokens; its values stay normalised."""
    steps, height, width = f.extent
    tt, ty, tx = f.token_size
    time = data.time[place.step : place.step + steps].reshape(-1, tt)
    latitude = data.latitude[place.row : place.row + height]
    spacing = float(data.longitude[1] - data.longitude[0])
    longitude = data.longitude[0] + spacing * np.arange(place.column, place.column + width)
    values = detokenize(tokens.values[:1].float().cpu(), f.token_size)[0, :, tt - 1 :: tt]
    return CapturedField(
        name=f.name,
        level=np.array(f.levels),
        time=time[:, 0] + (time[:, -1] - time[:, 0]) // 2,
        latitude=latitude.reshape(-1, ty).mean(1),
        longitude=longitude.reshape(-1, tx).mean(1),
        token_size=(ty * abs(float(latitude[1] - latitude[0])), tx * spacing),
        position=token_positions(tokens.info[:1].cpu()).flatten(1, 4)[0].numpy(),
        values=values.numpy(),
        mask=tokens.mask[0].cpu().numpy(),
        units="standard deviations",
    )

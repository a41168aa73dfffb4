from pathlib import Path

import xarray as xr

from atmorep_lite import UserError, labels
from atmorep_lite.widgets.explorer import Content, Explorer


class ZonalMean(Explorer, module=Path(__file__).with_name("zonal_mean.js"), heading="Zonal mean"):
    def __init__(self, field: xr.DataArray, **words: str) -> None:
        def make() -> Content:
            if not isinstance(field, xr.DataArray) or "level" not in field.dims or field.isnull().any():
                raise UserError("The field has no levels, or gaps: give [time, level, latitude, longitude].")
            factor, units = labels.drawn_units(str(field.name), field)
            means = factor * field.mean("longitude").transpose("level", "time", "latitude")
            name = f"{labels.long_name(str(field.name))} ({units})"
            meta = {"name": name, "means": means.values.round(2).tolist()}
            meta |= {axis: field[axis].values.tolist() for axis in ("level", "latitude")}
            meta |= {"time": [labels.moment(time) for time in field.time.values]}
            return Content(meta, {"level": 0, "time": 0})

        super().__init__(make, **words)

    def allowed(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(range(len(self.meta[name]))) for name in ("level", "time")}

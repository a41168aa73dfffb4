"""Make the shipped samples from two simulated records, their checksums and the tables of their README.

The records come from ``atmorep-lite data simulate`` (commands in data_samples/README.md)::

    python scripts/make_data_samples.py --train train.zarr --heldout heldout.zarr --days 300
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from atmorep_lite.data.below_ground import with_temperature_below_ground
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.packing import PackedLevel, error_table, pack
from atmorep_lite.data.samples import SAMPLES
from atmorep_lite.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "data_samples"
INSIDE_PACKAGE = ROOT / "atmorep_lite" / "data" / SAMPLES["sample"]
SAMPLE_LIMIT = 3_000_000  # bytes, as it travels in every wheel
ATTRIBUTES = {
    "title": "Simulated atmosphere in the names, units and layout of ERA5 in WeatherBench 2",
    "source": "JCM 3.0.0 (SPEEDY physics, spectral core), T31, 8 layers, conservatively regridded to 64 x 32",
    "simulated": "true",
    "license": "CC0-1.0",
    "institution": "AtmoRep-lite contributors",
}


def main() -> None:
    """Write the four samples, their checksums and the tables of the README."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--train", required=True, help="record to train on (simulated Zarr)")
    options.add_argument("--heldout", required=True, help="another record, of 100 days or more")
    options.add_argument("--days", type=int, default=300, help="days of the training sample")
    options.add_argument("--tolerance", type=float, default=0.01, help="rms error / change per time step")
    chosen = options.parse_args()
    try:
        make(chosen.train, chosen.heldout, chosen.days, chosen.tolerance)
    except UserError as error:
        print(f"make_data_samples: {error}", file=sys.stderr)
        sys.exit(2)


def make(train: str, heldout: str, days: int, tolerance: float) -> None:
    """Pack the pieces: ``days`` of ``train``; days 0-20, 60-100 and 0-5 of ``heldout``."""
    pieces = {
        OUT / SAMPLES["train"]: (train, 0, days),
        OUT / SAMPLES["validation"]: (heldout, 0, 20),
        OUT / SAMPLES["test"]: (heldout, 60, 100),
        INSIDE_PACKAGE: (heldout, 0, 5),
    }
    sizes = ["| file | days | first time | last time | bytes |", "|---|---|---|---|---|"]
    checksums = []
    report: list[PackedLevel] = []
    for path, (record, first, last) in pieces.items():
        piece = _days(with_temperature_below_ground(open_dataset(record)), record, first, last)
        levels = pack(piece.assign_attrs(ATTRIBUTES), path, tolerance=tolerance)
        report = report or levels
        begin, end = (np.datetime_as_string(t, "m") for t in piece["time"].values[[0, -1]])
        name = Path(os.path.relpath(path, OUT)).as_posix()
        sizes.append(f"| `{name}` | {last - first} | {begin} | {end} | {path.stat().st_size:,} |")
        checksums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}")
        print(sizes[-1])
    if INSIDE_PACKAGE.stat().st_size > SAMPLE_LIMIT:
        raise UserError(f"{INSIDE_PACKAGE.name} has more than {SAMPLE_LIMIT:,} bytes; raise --tolerance")
    _replace(OUT / "checksums.txt", "\n".join(checksums) + "\n")
    for name, lines in (("files", "\n".join(sizes)), ("errors", error_table(report))):
        _fill_in(OUT / "README.md", name, lines)
        print(f"\n{lines}")


def _days(record: xr.Dataset, name: str, first: int, last: int) -> xr.Dataset:
    per_day = round(np.timedelta64(1, "D") / np.diff(record["time"].values[:2])[0])
    if record.sizes["time"] < last * per_day:
        raise UserError(
            f"{name} has {record.sizes['time'] / per_day:g} days, but {last} are needed; simulate more"
        )
    return record.isel(time=slice(first * per_day, last * per_day))


def _fill_in(readme: Path, name: str, lines: str) -> None:
    """Replace what stands between the markers ``<!-- name -->`` and ``<!-- end of name -->``."""
    before, start, rest = readme.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not start or not end:
        raise UserError(f"{readme} lacks the markers of the table {name}; restore them")
    _replace(readme, f"{before}{start}{lines}\n{end}{after}")


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


if __name__ == "__main__":
    main()

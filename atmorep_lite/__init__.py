"""AtmoRep-lite: a small, readable AtmoRep, with attention maps that can be explored.

>>> import atmorep_lite as ar
>>> atmosphere = ar.open_sample()
>>> model = ar.AtmoRep.from_pretrained("demo")
>>> prediction = ar.forecast(model, atmosphere, atmosphere.time.values[8:9])
>>> prediction.sizes["prediction_timedelta"]
8
"""

from contextlib import suppress

with suppress(ImportError):
    # xarray loads ecCodes to list its readers.  ecCodes and pyproj each bring a copy of PROJ, and a process
    # that has loaded them in this order crashes when it ends; so pyproj comes first.
    import pyproj  # noqa: F401

from atmorep_lite.applications.forecast import forecast
from atmorep_lite.attention_maps import AttentionCapture, attention_maps, token_at
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.config import Config, load_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.opening import open_dataset, select
from atmorep_lite.data.samples import open_sample
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, canonical_name
from atmorep_lite.model import AtmoRep, Ensemble
from atmorep_lite.tokens import FieldTokens, detokenize, tokenize
from atmorep_lite.training.loop import train

__version__ = "0.1.0"
__all__ = [
    "FIELDS",
    "AtmoRep",
    "AttentionCapture",
    "Config",
    "Ensemble",
    "FieldTokens",
    "Normalizer",
    "UserError",
    "attention_maps",
    "canonical_name",
    "capture_attention",
    "detokenize",
    "forecast",
    "load_config",
    "open_dataset",
    "open_sample",
    "select",
    "token_at",
    "tokenize",
    "train",
]

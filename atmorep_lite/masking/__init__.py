"""What is hidden from the model.

Hiding is how one network learns many tasks: to forecast is to predict hidden hours at the end, to fill gaps
is to predict hidden places.  Three questions are kept apart, each in its own file:

- *Which random numbers?* (:mod:`~atmorep_lite.masking.keys`)  Each sample has its own, fixed by its number.
- *Which tokens?* (:mod:`~atmorep_lite.masking.tasks`, :mod:`~atmorep_lite.masking.swaths`)  A task gives a
  boolean mask; :mod:`~atmorep_lite.masking.drawing` draws a task for each sample.
- *What stands in their place?* (:mod:`~atmorep_lite.masking.distortion`)  Zeros; for models of the field
  itself, tokens hidden at random are spoilt in several ways, as in BERT.

Masks are ``[batch, level, token_time, token_lat, token_lon]``, True = hidden; those of a single sample have
no batch axis.
"""

from atmorep_lite.masking.distortion import coarsen, corrupt_as_published, distort
from atmorep_lite.masking.drawing import STRATEGIES, check_masking, draw_masks
from atmorep_lite.masking.keys import Key, Purpose, batch_keys, generator
from atmorep_lite.masking.tasks import (
    Masks,
    Scene,
    forecast_masks,
    hide_at_random,
    hide_future,
    hide_slots,
)

__all__ = [
    "STRATEGIES",
    "Key",
    "Masks",
    "Purpose",
    "Scene",
    "batch_keys",
    "check_masking",
    "coarsen",
    "corrupt_as_published",
    "distort",
    "draw_masks",
    "forecast_masks",
    "generator",
    "hide_at_random",
    "hide_future",
    "hide_slots",
]

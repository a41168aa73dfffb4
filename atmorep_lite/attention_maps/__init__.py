"""Attention as data: from a model and a dataset to labelled maps, and the numbers behind the picture.

Import the names from here: ``from atmorep_lite.attention_maps import head_table``.  Of the package itself,
``import atmorep_lite as ar``, ``ar.attention_maps`` is the function of that name.
"""

from atmorep_lite.attention_maps.capture import as_capture, capture_attention, captured_pairs
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.attention_maps.displacement_table import displacement
from atmorep_lite.attention_maps.flow import field_flow
from atmorep_lite.attention_maps.gradient import gradient_attention, key_relevance
from atmorep_lite.attention_maps.heads import head_table
from atmorep_lite.attention_maps.influence import influence
from atmorep_lite.attention_maps.joint import rollout
from atmorep_lite.attention_maps.map_arrows import map_arrows
from atmorep_lite.attention_maps.measures import mean_map
from atmorep_lite.attention_maps.neighbourhood import Neighbourhood, neighbourhood
from atmorep_lite.attention_maps.nulls import bias_only, capture_many, mean_capture, random_capture, uniform
from atmorep_lite.attention_maps.removal import forecast_batches, head_ablation
from atmorep_lite.attention_maps.upstream import upstream_arrows
from atmorep_lite.attention_maps.weights import attention_maps, nearest, token_at
from atmorep_lite.attention_maps.winds import Wind, wind_of

__all__ = [
    "AttentionCapture",
    "CapturedField",
    "CapturedPair",
    "Neighbourhood",
    "Wind",
    "as_capture",
    "attention_maps",
    "bias_only",
    "capture_attention",
    "capture_many",
    "captured_pairs",
    "displacement",
    "field_flow",
    "forecast_batches",
    "gradient_attention",
    "head_ablation",
    "head_table",
    "influence",
    "key_relevance",
    "map_arrows",
    "mean_capture",
    "mean_map",
    "nearest",
    "neighbourhood",
    "random_capture",
    "rollout",
    "token_at",
    "uniform",
    "upstream_arrows",
    "wind_of",
]

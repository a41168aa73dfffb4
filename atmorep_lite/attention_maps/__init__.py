"""Attention as data: from a model and a dataset to labelled maps, and the numbers behind the picture."""

from atmorep_lite.attention_maps.capture import capture_attention, captured_pairs
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.attention_maps.weights import attention_maps, nearest, token_at

__all__ = [
    "AttentionCapture",
    "CapturedField",
    "CapturedPair",
    "attention_maps",
    "capture_attention",
    "captured_pairs",
    "nearest",
    "token_at",
]

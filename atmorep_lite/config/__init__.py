"""Typed, validated configuration: presets as YAML files, overrides as ``key=value``.

One :class:`Config` describes a whole run.  Unknown keys are refused, so a misspelt option cannot be ignored
in silence.
"""

from atmorep_lite.config.base import Strict
from atmorep_lite.config.files import (
    PRESETS,
    dump_config,
    first_problem,
    load_config,
    parse_config,
    parse_model_config,
)
from atmorep_lite.config.masking import TASKS, MaskingConfig
from atmorep_lite.config.model import (
    ContextConfig,
    FieldConfig,
    GridSkipConfig,
    ModelConfig,
    SubpatchConfig,
    Triple,
)
from atmorep_lite.config.run import Config, DataConfig
from atmorep_lite.config.training import (
    GuardConfig,
    LoraConfig,
    StageConfig,
    StartConfig,
    TrainingConfig,
    WeightsConfig,
)

__all__ = [
    "PRESETS",
    "TASKS",
    "Config",
    "ContextConfig",
    "DataConfig",
    "FieldConfig",
    "GridSkipConfig",
    "GuardConfig",
    "LoraConfig",
    "MaskingConfig",
    "ModelConfig",
    "StageConfig",
    "StartConfig",
    "Strict",
    "SubpatchConfig",
    "TrainingConfig",
    "Triple",
    "WeightsConfig",
    "dump_config",
    "first_problem",
    "load_config",
    "parse_config",
    "parse_model_config",
]

"""The network, one idea per file: embedding, layers, tails, fill, grid_skip, and their assembly.

``ModelConfig.published`` restores these properties of the published code, which are mended by default:
rows of tokens numbered with the wrong divisor in the positional code; raw token information (the year enters
as 2000); GELU after the MLP's last layer; and, in the code of 2024 but not of 2023, coupling queries not
normalised while their keys are, and queries and keys of the decoder always normalised.
"""

from atmorep_lite.model.atmorep import AtmoRep, FirstGuess
from atmorep_lite.model.tails import Ensemble

__all__ = ["AtmoRep", "Ensemble", "FirstGuess"]

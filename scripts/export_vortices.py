"""Write the network of a model folder as ONNX beside its weights: `model.onnx`, which `LiveVortices` shows.

python scripts/export_vortices.py atmorep_lite/pretrained/vortices
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atmorep_lite.onnx_export import Written, compare, export_onnx
from atmorep_lite.zoo import VortexFormer


def main() -> None:
    """Command line: export, and say how far onnxruntime is from PyTorch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    model = VortexFormer.from_pretrained(options.folder)
    path = export_onnx(model, options.folder / "model.onnx")
    forecast, attention = compare(Written(model), path.read_bytes())
    print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"differs from PyTorch by {forecast:.1e} (forecast) and {attention:.1e} (attention)")


if __name__ == "__main__":
    main()

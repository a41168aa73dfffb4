"""How many floating-point operations a second a device can do: what a run's own rate is compared with."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

#: Dense peak in TFLOP/s by words of the device's name, from NVIDIA's data sheets: bfloat16, and float32
#: without TF32.
KNOWN = {
    "B200": (2250.0, 75.0),
    "H200": (989.5, 66.9),
    "H100 PCIe": (756.0, 51.2),
    "H100 NVL": (835.0, 60.0),
    "H100": (989.5, 66.9),
    "A100": (312.0, 19.5),
    "A40": (149.7, 37.4),
    "A30": (165.0, 10.3),
    "A10": (125.0, 31.2),
    "L40S": (362.0, 91.6),
    "L4": (121.0, 30.3),
}


def peak_flops(device: torch.device | str = "cpu", precision: str = "float32") -> float | None:
    """Floating-point operations a second that ``device`` can do at most, or None if that cannot be found out.

    For GPUs of :data:`KNOWN` the manufacturer's figure; for others, and for the processor with the threads
    that PyTorch uses, the best rate of a few matrix products (a quarter of a second).

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:1``, ...
    precision
        ``float32`` or ``bfloat16``.
    """
    device = torch.device(device)
    if device.type == "cuda":
        stated = stated_peak(torch.cuda.get_device_name(device), precision)
        if stated is not None:
            return stated
    try:
        return measured_peak(device, precision)
    except (RuntimeError, NotImplementedError):  # no such product on this device, or no memory left
        return None


def stated_peak(name: str, precision: str = "float32") -> float | None:
    """The manufacturer's figure for a GPU of this name, in FLOP/s; None if it is not in :data:`KNOWN`."""
    words = name.replace("-", " ").split()
    for known, (half, single) in KNOWN.items():
        if all(word in words for word in known.split()):
            return 1e12 * (half if precision == "bfloat16" else single)
    return None


def measured_peak(
    device: torch.device | str = "cpu",
    precision: str = "float32",
    *,
    sizes: Sequence[int] | None = None,
    seconds: float = 0.25,
) -> float:
    """Best rate of products of two square matrices, ``2 size**3`` operations each, in FLOP/s.

    Several ``sizes`` are tried in turn; small products are less often interrupted by other programs.
    """
    device = torch.device(device)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    chosen = sizes or ((4096,) if device.type == "cuda" else (512, 1024))
    squares = [torch.ones(size, size, dtype=dtype, device=device) for size in chosen]
    best = 0.0
    end = time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        for square in squares:
            started = time.perf_counter()
            square @ square
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = max(best, 2.0 * len(square) ** 3 / (time.perf_counter() - started))
    return best

"""The bar fits 80 columns and says what it is given; in a file there are a few plain lines."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from atmorep_lite.training.watch import peak
from atmorep_lite.training.watch import progress as shown
from atmorep_lite.training.watch.peak import measured_peak, peak_flops, stated_peak
from atmorep_lite.training.watch.progress import ProgressBar, short, wrapped
from atmorep_lite.training.watch.session import Progress

FIELDS = ("vorticity", "temperature", "u_component_of_wind", "v_component_of_wind", "specific_humidity")
EVERYTHING: dict[str, Any] = dict(
    per_field={name: 0.25 for name in FIELDS},
    scores={"rmse_over_persistence/mean/3h": 0.4, "rmse_over_persistence/mean/24h": 0.71},
    samples_per_second=412.3, waiting=0.034, learning_rate=1e-3, gradient_norm=0.42, skipped=2,
    flops=4e10, peak=1e11,
)  # fmt: skip


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80, force_terminal=terminal, force_jupyter=False), file


def run(bar: ProgressBar, steps: int = 40) -> None:
    with bar:
        for stage, part in enumerate(("grid_skip", "transformer")):
            for step in range(1, steps + 1):
                held_out = 0.5 if step == 20 else None
                left = 2.0 * (steps - step)
                bar(Progress(stage, part, step, steps, 0.25, held_out, 2.0 * step, left, **EVERYTHING))


def test_a_terminal_shows_everything_within_80_columns() -> None:
    screen, file = console(True)
    run(ProgressBar(screen))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    last = re.split("[\r\n]+", text)
    assert max(map(len, last)) <= 80
    end = text[text.rindex("grid-scale skip") :]
    for words in (
        "40/40 0:01:20", "loss 0.250", "held out 0.500", "error 0.71 of persistence at 24h", "u wind 0.250",
        "412 samples/s", "waiting for data 3 %", "MFU 40 %", "rate 1.0e-03", "gradient 0.42", "skipped 2",
    ):  # fmt: skip
        assert words in end, words
    assert "transformer" in end


def test_time_left_is_shown_while_a_stage_runs() -> None:
    screen, file = console(True)
    with ProgressBar(screen) as bar:
        bar(Progress(0, "all", 1, 100, 0.004, None, 1.0, 90061.0))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "1 day, 1:01:01 left" in text and "loss 4.00e-03" in text
    assert "samples/s" not in text and "MFU" not in text, "what is not known is not shown"


def test_a_file_gets_a_few_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(10_000))
    monkeypatch.setattr(shown.time, "monotonic", lambda: float(next(seconds)))
    screen, file = console(False)
    run(ProgressBar(screen, every=30.0))
    lines = file.getvalue().splitlines()
    assert "\x1b" not in file.getvalue() and "\r" not in file.getvalue()
    assert 4 <= len(lines) <= 8
    assert lines[0].startswith("grid-scale skip 1/40 · loss 0.250 · vorticity 0.250")
    assert sum("held out" in line and " 20/40 " in line for line in lines) == 2
    assert lines[-1].startswith("transformer 40/40") and lines[-1].endswith("done in 0:01:20")


def test_nothing_is_printed_where_nothing_is_reported() -> None:
    """As in all processes but the first."""
    screen, file = console(True)
    with ProgressBar(screen):
        pass
    assert file.getvalue() == ""


def test_losses_are_a_running_mean() -> None:
    screen, file = console(False)
    with ProgressBar(screen, every=0.0) as bar:
        for step, loss in enumerate((1.0, 0.0, 0.0), 1):
            bar(Progress(0, "all", step, 4, loss, None, 1.0, 1.0))
    told = re.findall(r"loss (\S+)", file.getvalue())
    assert told == ["1.000", "0.950", "0.902"]


def test_words_are_wrapped_whole() -> None:
    lines = wrapped([f"field {'x' * n} 0.{n}" for n in range(1, 20)], 40)
    assert max(map(len, lines)) <= 40 and all(line.startswith("  field") for line in lines)
    assert " · ".join(line.strip() for line in lines).count(" · ") == 18
    assert wrapped([], 40) == [] and wrapped(["x" * 50], 40) == ["  " + "x" * 50]
    assert short("u_component_of_wind") == "u wind"


def test_peaks_are_stated_or_measured() -> None:
    assert stated_peak("NVIDIA A100-SXM4-80GB", "bfloat16") == 312e12
    assert stated_peak("NVIDIA H100 PCIe", "bfloat16") == 756e12
    assert stated_peak("NVIDIA H100 80GB HBM3") == pytest.approx(66.9e12)
    assert stated_peak("NVIDIA L40S", "bfloat16") == 362e12 and stated_peak("NVIDIA A1000") is None
    assert stated_peak("GeForce of tomorrow") is None
    found = measured_peak(sizes=(256,), seconds=0.02)
    assert 1e8 < found < 1e14
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "measured_peak", lambda *given: (_ for _ in ()).throw(RuntimeError("no product")))
        assert peak_flops("cpu") is None


def test_the_share_of_the_peak_needs_both_numbers() -> None:
    progress = Progress(0, "all", 1, 2, 0.1, None, 1.0, 1.0, flops=3e9, peak=1e10)
    assert progress.utilisation == pytest.approx(0.3)
    assert Progress(0, "all", 1, 2, 0.1, None, 1.0, 1.0, flops=3e9).utilisation is None

"""Runs that are killed at any moment, many times, go on as if nothing had happened: to the last bit."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atmorep_lite.training import parts
from atmorep_lite.training.resume import files as state_files
from atmorep_lite.training.watch.session import Progress
from tests.training.runs import ALL_STEPS, check_whole, die_at, rows, run, three_stages, write_record
from tests.training.together import results, start, together

LIMIT = 60.0  # seconds that any process may take
LOST = ("has lost another one", "did not find the others")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(record: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Uninterrupted runs by the number of processes."""
    runs = {}
    for count in (1, 2):
        runs[count] = folder = tmp_path_factory.mktemp(f"by_{count}") / "run"
        ends = together(count, partial(run, three_stages(record), folder, resume=False))
        assert ends == ["finished"] * count
        check_whole(folder, folder)
    return runs


def continued(count: int, record: Path, folder: Path) -> None:
    """Resume with so many processes, to the end."""
    assert together(count, partial(run, three_stages(record), folder, resume=True)) == ["finished"] * count


def steps_logged(folder: Path) -> int:
    """Rows of the log so far."""
    path = folder / "log.csv"
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("count", "kills"), [(1, 14), (2, 7)])
def test_killed_at_random_moments(
    record: Path, whole: dict[int, Path], tmp_path: Path, count: int, kills: int
) -> None:
    """One process is killed; if there is another, it ends by itself."""
    chance = random.Random(count)
    done, number = 0, 0
    while done < kills:
        folder, number = tmp_path / str(number), number + 1
        while True:
            resume = (folder / "config.yaml").exists()
            until = chance.randint(steps_logged(folder), len(ALL_STEPS) + 1)  # the last: never
            delay = chance.uniform(0, 0.2)
            started = start(count, partial(run, three_stages(record), folder, resume=resume))
            while steps_logged(folder) < until and started[0].process.is_alive():
                time.sleep(0.002)
            started[0].process.join(delay)
            if all(one.process.is_alive() for one in started):
                chance.choice(started).process.kill()
                done += 1
            ends = results(started, limit=LIMIT)
            if all(kind == "done" for kind, _ in ends):
                break
            for kind, text in ends:
                assert kind in ("died", "done") or any(said in str(text) for said in LOST), (kind, text)
        check_whole(folder, whole[count])


MOMENTS = [
    ("state_files", "Writer.write_data", 2, False),  # nothing written yet
    ("state_files", "Writer.write_data", 2, True),  # data, but no table of contents
    ("state_files", "_write", 4, False),  # no checksums
    ("state_files", "_synchronize", 3, True),  # complete, but not renamed
    ("state_files", "_synchronize", 4, False),  # renamed; old ones not removed
    ("state_files", "shutil.rmtree", 2, False),  # while old ones are removed
    ("checkpoint", "save_normalizer", 1, False),  # all steps done, no weights saved
    ("checkpoint", "save_file", 1, True),  # weights written, not renamed
]


@pytest.mark.parametrize(("module", "name", "call", "after"), MOMENTS)
def test_killed_while_writing(
    record: Path,
    whole: dict[int, Path],
    tmp_path: Path,
    module: str,
    name: str,
    call: int,
    after: bool,
) -> None:
    deadly = partial(die_at, module, name, call, after=after)
    config = three_stages(record)
    (end,) = results(start(1, partial(run, config, tmp_path / "run", resume=False, sabotage=deadly)))
    assert end == ("died", None)
    continued(1, record, tmp_path / "run")
    check_whole(tmp_path / "run", whole[1])


def _half_a_file() -> None:
    """The second checkpoint is cut off in the middle of a file, by a process that dies there."""
    write = state_files.Writer.write_data
    written = []

    def cut(self, plan, planner):
        result = write(self, plan, planner)
        written.append(self.path)
        if len(written) == 2:
            path = Path(self.path) / "__0_0.distcp"
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    state_files.Writer.write_data = cut  # type: ignore[method-assign]


def test_the_first_of_two_is_killed_while_writing(
    record: Path, whole: dict[int, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ends = results(start(2, partial(run, three_stages(record), folder, resume=False, sabotage=_half_a_file)))
    assert ends[0][0] == "died" and ends[1][0] in ("failed", "died")
    assert (folder / "checkpoints" / "0-000002").is_dir()
    continued(2, record, folder)
    check_whole(folder, whole[2])


def _stop_at(number: int, stage: int, step: int, rank: str, progress: Progress) -> None:
    if (progress.stage, progress.step) == (stage, step):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "stage", "step"),
    [
        (signal.SIGTERM, 0, 3),  # between checkpoints
        (signal.SIGUSR1, 1, 2),  # at the end of the regression
        (signal.SIGINT, 2, 4),  # with a checkpoint
        (signal.SIGTERM, 2, 9),  # at the last step
    ],
)
def test_asked_to_stop(
    record: Path, whole: dict[int, Path], tmp_path: Path, number: int, stage: int, step: int
) -> None:
    """It saves, ends without an error, and goes on; none of its steps is done again."""
    config, folder = three_stages(record), tmp_path / "run"
    stopping = partial(_stop_at, number, stage, step, "0")
    assert together(1, partial(run, config, folder, resume=False, report=stopping)) == ["stopped"]
    assert (folder / "checkpoints" / f"{stage}-{step:06d}").is_dir()
    assert rows(folder)[-1] == (str(stage), str(step)) and not (folder / "model.safetensors").exists()
    continued(1, record, folder)
    check_whole(folder, whole[1])


def test_one_of_two_is_asked_to_stop(record: Path, whole: dict[int, Path], tmp_path: Path) -> None:
    """Both stop, at the same step."""
    folder = tmp_path / "run"
    stopping = partial(_stop_at, signal.SIGUSR1, 2, 3, "1")
    ends = together(2, partial(run, three_stages(record), folder, resume=False, report=stopping))
    assert ends == ["stopped", "stopped"]
    assert (folder / "checkpoints" / "2-000003").is_dir()
    continued(2, record, folder)
    check_whole(folder, whole[2])


def _with_keys(record: Path, folder: Path, resume: bool, stop: bool) -> list[tuple[int, int]]:
    """Train; (epoch, number) of the samples that this process has seen."""
    seen = []
    make = parts.make_part

    def watched(data, config, stage, keys):
        seen.extend((key.epoch, key.sample) for key in keys)
        return make(data, config, stage, keys)

    vars(parts)["make_part"] = watched
    report = partial(_stop_at, signal.SIGTERM, 2, 3, "0") if stop else lambda progress: None
    run(three_stages(record, dropout=0.0, optimizer="adamw"), folder, resume=resume, report=report)
    return [key for key in seen if key[0] > 0]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_processes(record: Path, tmp_path: Path, before: int, after: int) -> None:
    """The same samples in the same steps, and weights that differ by rounding only.

    The regression multiplies rounding by 1e4, so it is done before.  Dropout depends on the share of a batch.
    """
    folder, expected_run = tmp_path / "run", tmp_path / "whole"
    config = three_stages(record, dropout=0.0, optimizer="adamw")
    together(before, partial(run, config, expected_run, resume=False))
    first = together(before, _with_keys, record, folder, False, True)
    second = together(after, _with_keys, record, folder, True, False)
    # Stage 0 has 6 steps of 4 samples, stage 2 has 9; the third step of the latter was the last before.
    expected = [[(1, n) for n in range(24)] + [(3, n) for n in range(12)], [(3, n) for n in range(12, 36)]]
    for shares, steps in zip((first, second), expected, strict=True):
        each = 4 // len(shares)
        order = []
        for step in range(len(steps) // 4):
            for share in shares:
                order += share[step * each : (step + 1) * each]
        assert order == steps
    mine, theirs = (load_file(where / "model.safetensors") for where in (folder, expected_run))
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-4, atol=1e-5)

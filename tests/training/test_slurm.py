"""The batch script, with programs in the place of SLURM's that write down how they were called."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm.sh"
PROGRAMS = {
    # Runs a task and hands signals on to it, as srun does.
    "srun": """
        echo "srun $*" >> "$CALLS"
        "$@" &
        task=$!
        trap 'kill -USR1 $task' USR1
        until wait $task; status=$?; ! kill -0 $task 2>/dev/null; do :; done
        exit $status
    """,
    # Trains: goes on, finishes, saves when told, or fails.
    "torchrun": """
        echo "torchrun $* OMP_NUM_THREADS=$OMP_NUM_THREADS" >> "$CALLS"
        case $TRAINING in
            finishes) touch "$RUN/model.safetensors"; exit 0 ;;
            fails) exit 2 ;;
            saves) trap 'mkdir -p "$RUN/checkpoints/1-000050"; exit 1' USR1 ;;
            "has no time") trap 'exit 1' USR1 ;;
        esac
        touch "$RUN/running"
        for _ in {1..200}; do sleep 0.05; done
    """,
    "scontrol": """
        echo "scontrol $*" >> "$CALLS"
        if [[ $1 == show ]]; then printf 'node7\\nnode8\\n'; fi
    """,
}
JOB = {
    "SLURM_JOB_ID": "40123",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "node[7-8]",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_CPUS_PER_TASK": "32",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name, body in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}")
        path.chmod(0o755)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    return tmp_path / "run"


def submit(run: Path, training: str, *changes: str, limit: bool = False) -> tuple[int, list[str], str]:
    """Run the job; its exit code, the calls that it made, and what it printed."""
    calls = run.parent / "calls"
    environment = os.environ | JOB | {"CALLS": str(calls), "RUN": str(run), "TRAINING": training}
    environment["PATH"] = f"{run.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    job = subprocess.Popen(
        ["bash", SCRIPT, "demo", run, *changes],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if limit:
            for _ in range(200):
                if (run / "running").exists():
                    break
                time.sleep(0.05)
            job.send_signal(signal.SIGUSR1)
        printed, _ = job.communicate(timeout=30)
    finally:
        job.kill()
    return job.returncode, calls.read_text().splitlines(), printed


def test_a_run_that_finishes(run: Path) -> None:
    (run / "checkpoints").rmdir()  # not even begun
    code, calls, printed = submit(run, "finishes", "training.seed=3", "data.train=my era5.zarr")
    assert code == 0 and "the run is finished" in printed
    assert calls[0] == "scontrol show hostnames node[7-8]" and len(calls) == 3
    for part in (
        "--nnodes=2 --nproc-per-node=4",
        "--rdzv-backend=c10d --rdzv-endpoint=node7:20123",
        f"-m atmorep_lite.training demo --run-dir {run} training.seed=3 data.train=my era5.zarr",
        "OMP_NUM_THREADS=8",
    ):
        assert part in calls[2]
    assert "--resume" not in calls[2]


def test_before_the_limit_it_saves_and_goes_back_into_the_queue(run: Path) -> None:
    (run / "checkpoints" / "0-000200").mkdir()
    (run / "checkpoints" / ".0-000300.unfinished").mkdir()
    code, calls, printed = submit(run, "saves", limit=True)
    assert code == 0 and calls[-1] == "scontrol requeue 40123"
    assert "going on from checkpoint 0-000200" in printed and "saved at checkpoint 1-000050" in printed
    assert f"--run-dir {run} --resume" in calls[1]


def test_without_a_new_checkpoint_it_does_not_come_back_for_ever(run: Path) -> None:
    (run / "checkpoints" / "0-000200").mkdir()
    code, calls, printed = submit(run, "has no time", limit=True)
    assert code == 1 and "give it more time" in printed
    assert not any("requeue" in call for call in calls)


def test_a_run_that_fails_is_not_repeated(run: Path) -> None:
    code, calls, printed = submit(run, "fails")
    assert code == 2 and "look above for the reason" in printed
    assert not any("requeue" in call for call in calls)


def test_the_options_of_torchrun_exist() -> None:
    from torch.distributed.run import get_args_parser

    text = SCRIPT.read_text()
    begin = text.index("srun torchrun") + len("srun torchrun")
    given = text[begin : text.index("-m atmorep_lite.training")].replace("\\", "").split()
    options = [word.replace('"', "").replace("$SLURM_JOB_NUM_NODES", "2") for word in given]
    read = get_args_parser().parse_args([*options, "-m", "atmorep_lite.training", "demo"])
    assert "SIGUSR1" in read.signals_to_handle and read.training_script_args == ["demo"]


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("no shellcheck here")
    done = subprocess.run([program, SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout

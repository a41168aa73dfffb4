"""Items made ahead of time: the same ones for any number of processes, and every failure told."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite.data.loader import AHEAD, on_tensors, steps_ahead
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.masking import Key, batch_keys
from tests.tiny import tiny_field, tiny_model, wave

ROOT = Path(__file__).parents[2]


def workers_alive() -> int:
    return len(multiprocessing.active_children())


def drawn(workers: int) -> list[torch.Tensor]:
    record = wave()
    data = Neighbourhoods(record, tiny_model(), Normalizer.fit(record, "global"))

    def make(step: int) -> tuple[list[Key], torch.Tensor]:
        keys = batch_keys(3, epoch=1, step=step, batch_size=4)
        return keys, data.batch(data.draw_at(keys, crops=2, windows=3)).tokens["temperature"].values

    with steps_ahead(make, range(2, 7), workers=workers) as batches:
        made = list(batches)
    assert [keys for keys, _ in made] == [batch_keys(3, epoch=1, step=s, batch_size=4) for s in range(2, 7)]
    return [values for _, values in made]


def test_batches_are_the_same_whoever_makes_them() -> None:
    here = drawn(0)
    for workers in (1, 2):
        for ours, theirs in zip(here, drawn(workers), strict=True):
            assert torch.equal(ours, theirs)
    assert not workers_alive()


def test_items_come_in_order_from_several_processes_with_one_thread_each() -> None:
    def make(n: int) -> tuple[int, int, int]:
        time.sleep(0.02 if n % 2 else 0.0)
        return n, os.getpid(), torch.get_num_threads()

    before = torch.get_num_threads(), torch.get_rng_state(), signal.getsignal(signal.SIGCHLD)
    with steps_ahead(make, range(5, 25), workers=2) as items:
        made = list(items)
    assert [n for n, _, _ in made] == list(range(5, 25))
    assert len({pid for _, pid, _ in made} - {os.getpid()}) == 2
    assert {threads for _, _, threads in made} == {1}
    assert torch.get_num_threads() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    assert signal.getsignal(signal.SIGCHLD) is before[2]


def test_only_a_few_items_are_made_ahead() -> None:
    count = multiprocessing.get_context("fork").Value("i", 0)

    def make(n: int) -> int:
        with count.get_lock():
            count.value += 1
        return n

    with steps_ahead(make, range(100), workers=2) as items:
        assert next(items) == 0
        time.sleep(0.5)
        assert count.value <= 2 * AHEAD + 1
    assert not workers_alive()


@pytest.mark.parametrize("workers", [0, 1])
def test_waiting_is_measured(workers: int) -> None:
    def make(n: int) -> int:
        time.sleep(0.05)
        return n

    with steps_ahead(make, range(4), workers=workers) as items:
        assert items.waited == 0.0
        begun = time.perf_counter()
        assert list(items) == [0, 1, 2, 3]
        took = time.perf_counter() - begun
    assert 0.2 <= items.waited <= took
    patient = steps_ahead(make, range(4), workers=1)
    next(patient)
    time.sleep(1.0)  # both items of the worker are ready by now
    before = patient.waited
    next(patient)
    assert patient.waited - before < 0.5
    patient.close()


def failing(error: Exception) -> Callable[[int], int]:
    def make(n: int) -> int:
        if n == 2:
            raise error
        return n

    return make


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_found_by_a_worker_keeps_its_sentence(workers: int) -> None:
    items = steps_ahead(failing(UserError("the store is gone; bring it back")), range(9), workers=workers)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(UserError) as caught:
        next(items)
    assert str(caught.value) == "the store is gone; bring it back" and not workers_alive()


def test_other_errors_of_a_worker_come_as_they_were_with_their_place() -> None:
    with pytest.raises(OSError) as caught:
        list(steps_ahead(failing(OSError(errno.EIO, "input/output error")), range(9), workers=1))
    assert caught.value.errno == errno.EIO
    assert "in make" in "".join(caught.value.__notes__)

    class Local(Exception):  # cannot be found by name in another process
        pass

    with pytest.raises(RuntimeError, match="Local: no such thing"):
        list(steps_ahead(failing(Local("no such thing")), range(9), workers=1))


def test_a_killed_worker_is_told_in_one_sentence() -> None:
    def make(n: int) -> int:
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(
        UserError, match=r"^a worker process .* ended from outside .*; set data\.workers lower"
    ):
        list(steps_ahead(make, range(9), workers=2))
    assert not workers_alive()


SCRIPT = """
import os, signal, sys, time
from atmorep_lite.data.loader import steps_ahead

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def make(n):
    time.sleep(0.01)
    return os.getpid()

items = steps_ahead(make, range(10**6), workers=2)
workers = sorted({next(items) for _ in range(8)})
try:
    print("ready", *workers, flush=True)
    for _ in items:
        pass
except KeyboardInterrupt:
    print("stopped", flush=True)
    if sys.argv[1] == "tidy":
        items.close()
    sys.exit(130)
"""


@pytest.mark.parametrize("manner", ["tidy", "as it comes"])
def test_ctrl_c_is_the_parents_affair_and_leaves_nobody_behind(manner: str) -> None:
    """The signal goes to all processes of the group, as from a terminal."""
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, manner], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert run.stdout is not None
        _, *workers = run.stdout.readline().split()
        assert len(workers) == 2
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 130 and out == "stopped\n" and err == ""
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_workers_need_no_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared store is opened with dask arrays inside; no sample is computed by it."""
    import dask.base

    from atmorep_lite.data.prepare import prepare
    from atmorep_lite.data.prepared import open_prepared, statistics

    prepare(wave(), tmp_path / "p.zarr", ["temperature"], check=False)
    store = open_prepared(tmp_path / "p.zarr")
    data = Neighbourhoods(store, tiny_model(tiny_field()), statistics(store))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("dask was asked")

    monkeypatch.setattr(dask.base, "compute", refuse)
    monkeypatch.setattr(dask.base, "get_scheduler", refuse)
    with pytest.raises(AssertionError, match="dask was asked"):
        store["temperature"].values  # noqa: B018

    def make(step: int) -> torch.Tensor:
        keys = batch_keys(0, epoch=1, step=step, batch_size=2)
        return data.batch(data.draw_at(keys)).tokens["temperature"].values

    with steps_ahead(make, range(3), workers=1) as batches:
        assert all(torch.isfinite(values).all() for values in batches)


def test_tensors_of_any_nest_are_changed() -> None:
    record = wave()
    data = Neighbourhoods(record, tiny_model(), Normalizer.fit(record, "global"))
    keys = batch_keys(0, epoch=1, step=0, batch_size=2)
    item = (keys, data.batch(data.draw_at(keys)), {"mask": [torch.ones(2)], "n": 3})
    changed = on_tensors(item, lambda tensor: tensor + 1)
    assert changed[0] == keys and isinstance(changed[0][0], Key) and changed[2]["n"] == 3
    assert torch.equal(changed[2]["mask"][0], torch.full((2,), 2.0))
    old, new = item[1].tokens["temperature"], changed[1].tokens["temperature"]
    assert torch.equal(new.values, old.values + 1) and torch.equal(changed[1].static, item[1].static + 1)
    assert new.context is None and np.array_equal(old.values, item[1].tokens["temperature"].values)


def test_a_busy_worker_does_not_outlive_its_parent_s_interest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not obey the signal by which torch ends those that are busy for too long."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)

    def make(n: int) -> int:
        time.sleep(60.0 if n else 0.0)
        return n

    items = steps_ahead(make, range(3), workers=1)
    assert next(items) == 0
    items.close()
    assert not workers_alive()

"""Functions in processes of their own, forked in milliseconds by a server that has imported torch."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["atmorep_lite.training.stages", "tests.training.runs", "dask.array", "distributed", "netCDF4"]
)


@dataclass(frozen=True)
class Started:
    """A process, and a pipe on which it sends ``(kind, result)``: done, failed, or what it wants to tell."""

    process: BaseProcess
    pipe: Connection


def start(count: int, function: Callable[..., Any], *args: Any) -> list[Started]:
    """Start ``function(*args)`` in ``count`` processes that find each other as torchrun's do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(count):
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        environment["MASTER_ADDR"] = "127.0.0.1"
        mine, theirs = CONTEXT.Pipe()
        texts = {name: str(value) for name, value in environment.items()}
        process = CONTEXT.Process(target=_call, args=(theirs, texts, function, args))
        process.start()
        theirs.close()
        started.append(Started(process, mine))
    return started


def results(started: list[Started], *, limit: float = 120) -> list[tuple[str, Any]]:
    """How the processes ended: (done, result), (failed, traceback) or (died, None); late ones are killed."""
    end = time.monotonic() + limit
    answers: list[tuple[str, Any]] = []
    for one in started:
        try:
            answers.append(
                one.pipe.recv() if one.pipe.poll(max(end - time.monotonic(), 0)) else ("late", None)
            )
        except (EOFError, ConnectionResetError):
            answers.append(("died", None))
    for one in started:
        one.process.join(max(end - time.monotonic(), 0.1))
        if one.process.is_alive():
            one.process.kill()
            one.process.join()
    return answers


def together(count: int, function: Callable[..., Any], *args: Any, limit: float = 120) -> list[Any]:
    """The results of ``function(*args)`` in ``count`` processes; an error in one of them is raised here."""
    answers = results(start(count, function, *args), limit=limit)
    faults = [f"process {rank} {kind}: {text}" for rank, (kind, text) in enumerate(answers) if kind != "done"]
    assert not faults, "\n".join(faults)
    return [result for _, result in answers]


def _call(pipe: Connection, environment: dict[str, str], function: Callable, args: tuple) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= environment
    try:
        pipe.send(("done", function(*args)))
    except BaseException:
        pipe.send(("failed", traceback.format_exc()))

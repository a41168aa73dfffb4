"""How fast a stage goes, and what is told after every step."""

from __future__ import annotations

import time
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from atmorep_lite.training.planning.cost import flops_per_sample, hidden_share
from atmorep_lite.training.watch.peak import peak_flops
from atmorep_lite.training.watch.session import Progress

if TYPE_CHECKING:
    from atmorep_lite.training.stages import Run

_peak = cache(peak_flops)

#: Steps that speeds are a mean over.
WINDOW = 20


class Clock:
    """Reports the steps of one stage with times and speeds; in the first process only."""

    def __init__(self, run: Run, index: int, first: int) -> None:
        self.run, self.index, self.first = run, index, first
        config, group = run.config, run.processes
        self.stage = config.training.stages[index]
        if group.is_first:
            part, hidden = self.stage.part, hidden_share(config, self.stage)
            self._flops = flops_per_sample(config.model, part=part, hidden=hidden)
            self._peak = _peak(group.device, config.training.precision)
        self._started = time.monotonic()
        self._ticks = deque([(first, self._started, 0.0)], maxlen=WINDOW + 1)

    def tell(self, done: int, waited: float, **found: Any) -> None:
        """Report the step by which ``done`` of the stage are done; ``found`` as in :class:`Progress`.

        ``waited``: seconds that the stage has waited for data so far.
        """
        run, stage = self.run, self.stage
        if not run.processes.is_first:
            return
        now = time.monotonic()
        self._ticks.append((done, now, waited))
        since, then, waited_then = self._ticks[0]
        passed = max(now - then, 1e-9)
        seconds = now - self._started
        speed = (done - since) * stage.batch_size / passed
        run.report(
            Progress(
                self.index,
                stage.part,
                done,
                stage.steps,
                seconds=seconds,
                seconds_left=seconds / (done - self.first) * (stage.steps - done),
                samples_per_second=speed,
                waiting=(waited - waited_then) / passed,
                skipped=run.guard.skipped,
                flops=speed * self._flops / run.processes.count,
                peak=self._peak,
                **found,
            )
        )

"""The training loop: one function for every run.

Every batch is a pure function of (seed, stage, step), so a resumed run sees the same samples and masks.
"""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import Config, StageConfig, dump_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.samples import SAMPLES, open_sample
from atmorep_lite.data.sampling import Neighbourhoods, load_field
from atmorep_lite.errors import UserError
from atmorep_lite.losses import check_losses
from atmorep_lite.masking import draw_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import load_state, save_model, save_state, write_atomically
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.schedule import cosine
from atmorep_lite.training.step import first_guess_loss, hide, masked_loss


@dataclass(frozen=True)
class Progress:
    """Where a run is; given to ``report`` after every step."""

    stage: int
    part: str
    step: int
    steps: int
    loss: float
    validation: float | None
    seconds: float
    seconds_left: float


def open_source(name: str, period: tuple[str, str] | None = None) -> xr.Dataset:
    """A shipped sample by name, or a path or URL; cut to ``period`` (first and last time, inclusive)."""
    dataset = open_sample(name) if name in SAMPLES else open_dataset(name)
    if period is not None:
        dataset = dataset.sel(time=slice(*period))
        if dataset.sizes["time"] == 0:
            raise UserError(f"{name} holds nothing in the period {period[0]} to {period[1]}")
    return dataset


def fit_normalizer(dataset: xr.Dataset, config: Config) -> Normalizer:
    """Statistics of every field and level of the model."""
    fits = [Normalizer.fit(load_field(dataset, f), config.data.normalization) for f in config.model.fields]
    return Normalizer(
        *(xr.merge([getattr(fit, kind) for fit in fits], join="outer") for kind in ("mean", "std"))
    )


def training_data(config: Config) -> tuple[Neighbourhoods, Normalizer]:
    """The normalised training record in memory, and its statistics."""
    dataset = open_source(config.data.train, config.data.train_period)
    normalizer = fit_normalizer(dataset, config)
    return Neighbourhoods(dataset, config.model, normalizer), normalizer


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> AtmoRep | None:
    """Train a model, from the beginning or from where ``run_dir`` left off.

    ``run_dir`` receives ``config.yaml``, ``log.csv``, the training state ``state.pt`` every
    ``training.checkpoint_every`` steps, and the model folder's files at the end.  Ctrl-C or SIGTERM saves the
    state after the step in hand.

    Returns
    -------
    The trained model, or None if the run was stopped and can be resumed.

    Raises
    ------
    UserError
        Bad configuration or data; ``run_dir`` holds another run and ``resume`` was not asked for; nothing to
        resume.
    """
    check_losses(config.training.loss)
    run_dir = Path(run_dir)
    state_path = run_dir / "state.pt"
    state = load_state(state_path) if resume else None
    if state is None and any((run_dir / name).exists() for name in ("state.pt", "model.safetensors")):
        raise UserError(
            f"{run_dir} holds a run already; continue it with --resume or choose another --run-dir"
        )
    if state is not None and state["config"] != dump_config(config):
        raise UserError(
            f"the run in {run_dir} was started with another configuration; resume it with its own config.yaml"
        )

    data, normalizer = training_data(config)
    validation = Neighbourhoods(
        open_source(config.data.validation, config.data.validation_period), config.model, normalizer
    )
    torch.manual_seed(config.training.seed)
    model = AtmoRep(config.model)
    if config.model.predict == "departure":
        for name, table in data.typical_departures().items():
            model.departure_scale[name].data.copy_(table)
    first_stage = 0
    if state is not None:
        model.load_state_dict(state["model"])
        first_stage = state["stage"]
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir / "config.yaml", lambda path: path.write_text(dump_config(config)))

    done = None if state is None else (state["stage"], state["step"])
    with _denormals_flushed(), _stop_requests() as stop_requested, _Log(run_dir / "log.csv", done) as log:

        def tell(progress: Progress) -> None:
            report(progress)
            log.write(progress)

        for index in range(first_stage, len(config.training.stages)):
            begun = state if state is not None and state["stage"] == index else None
            if not _run_stage(
                index, config, model, data, validation, begun, state_path, stop_requested, tell
            ):
                return None
    model.run_config, model.normalizer = config, normalizer
    save_model(run_dir, model)
    return model.eval()


def _run_stage(
    index: int,
    config: Config,
    model: AtmoRep,
    data: Neighbourhoods,
    validation: Neighbourhoods,
    begun: dict | None,
    state_path: Path,
    stop_requested: Callable[[], bool],
    report: Callable[[Progress], object],
) -> bool:
    stage, training = config.training.stages[index], config.training
    model.train()
    parameters = trainable(model, stage.part)
    optimizers = build_optimizers(parameters, stage, training)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    first = 0
    if begun is not None:
        first = begun["step"]
        for optimizer, saved in zip(optimizers, begun["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def save(step: int) -> None:
        save_state(
            state_path,
            {
                "stage": index,
                "step": step,
                "config": dump_config(config),
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            },
        )

    started = time.monotonic()
    for step in range(first, stage.steps):
        factor = cosine(step, stage.steps, training.warmup)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        loss, _ = training_loss(model, data, config, stage, index, step)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss became {loss.item()} in stage {index} at step {step}; lower the learning rate "
                f"({stage.learning_rate:g}) or look for extreme values in the data"
            )
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), training.clip)
        for optimizer in optimizers:
            optimizer.step()
        seconds = time.monotonic() - started
        done = step + 1
        left = seconds / (done - first) * (stage.steps - done)
        due = done % training.checkpoint_every == 0 or done == stage.steps
        held_out = validation_loss(model, validation, config, stage) if due else None
        report(Progress(index, stage.part, done, stage.steps, float(loss.detach()), held_out, seconds, left))
        stopping = stop_requested()
        if due or stopping:
            save(done)
        if stopping:
            return False
    return True


@torch.no_grad()
def validation_loss(
    model: AtmoRep, data: Neighbourhoods, config: Config, stage: StageConfig, batches: int = 4
) -> float:
    """Mean loss over a few batches of the validation record, the same ones every time."""
    model.eval()
    with torch.random.fork_rng():
        losses = [training_loss(model, data, config, stage, -1, k)[0] for k in range(batches)]
    model.train()
    return float(torch.stack(losses).mean())


def training_loss(
    model: AtmoRep, data: Neighbourhoods, config: Config, stage: StageConfig, index: int, step: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one step's batch, which depends on (seed, stage, step) and nothing else."""
    rng = np.random.default_rng((config.training.seed, index + 1, step))
    torch.manual_seed(int(rng.integers(2**31)))
    batch = data.batch(data.draw(stage.batch_size, rng))
    forecast = config.masking.forecast if stage.forecast is None else stage.forecast
    masks = draw_masks(config.model.fields, stage.batch_size, config.masking, rng, forecast=forecast)
    tokens = hide(model, batch, masks, config.masking, rng)
    if stage.part == "grid_skip":
        return first_guess_loss(model, tokens, batch, short_leads=stage.short_leads)
    return masked_loss(model, tokens, batch, config.training.loss)


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Treat numbers below 1e-38 as 0 meanwhile: they make a step on a CPU up to three times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a question to ask between steps; a second Ctrl-C stops at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, as in some notebooks: leave signals alone
        old = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Log:
    """``log.csv``: one row per step.  A resumed run drops rows after its (stage, step), written anew."""

    columns = ("stage", "part", "step", "loss", "validation", "seconds")

    def __init__(self, path: Path, done: tuple[int, int] | None) -> None:
        kept = []
        if done is not None and path.exists():
            rows = [row for row in csv.reader(path.read_text().splitlines()) if len(row) == len(self.columns)]
            kept = [row for row in rows[1:] if (int(row[0]), int(row[2])) <= done]
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerows((self.columns, *kept))

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, p: Progress) -> None:
        held_out = "" if p.validation is None else f"{p.validation:.6g}"
        self._rows.writerow((p.stage, p.part, p.step, f"{p.loss:.6g}", held_out, f"{p.seconds:.2f}"))
        self._file.flush()

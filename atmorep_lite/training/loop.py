"""The training loop: one function for every run.

Every sample is a pure function of its key (:mod:`atmorep_lite.masking.keys`), so a resumed run sees the same
samples and masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
import xarray as xr

from atmorep_lite.config import Config, StageConfig, dump_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.prepared import is_prepared, open_prepared, statistics
from atmorep_lite.data.samples import SAMPLES, open_sample
from atmorep_lite.data.sampling import Batch, Neighbourhoods, load_field
from atmorep_lite.errors import UserError
from atmorep_lite.losses import check_losses
from atmorep_lite.masking import Key, Purpose, batch_keys, check_masking, draw_masks, generator
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import load_state, save_model, save_state, write_atomically
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.regression import fit_regression
from atmorep_lite.training.schedule import cosine
from atmorep_lite.training.session import Log, Progress, denormals_flushed, stop_requests
from atmorep_lite.training.step import first_guess_loss, hide, masked_loss, spoil
from atmorep_lite.transfer import merge_normalizers, start_model


def open_source(name: str, period: tuple[str | None, str | None] | None = None) -> xr.Dataset:
    """A shipped sample by name, or a path or URL; cut to ``period`` (first and last time, inclusive)."""
    if name in SAMPLES:
        dataset = open_sample(name)
    else:
        dataset = open_prepared(name) if is_prepared(name) else open_dataset(name)
    if period is not None:
        try:
            dataset = dataset.sel(time=slice(*period))
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{period[0]} to {period[1]} is no period; write dates like 2001-01-31 or 2001-01-31T12:00"
            ) from error
        if dataset.sizes["time"] == 0:
            raise UserError(f"{name} holds nothing in the period {period[0]} to {period[1]}")
    return dataset


def fit_normalizer(dataset: xr.Dataset, config: Config, known: Normalizer | None = None) -> Normalizer:
    """Statistics of every field and level of the model; those that are ``known`` are taken over."""
    if "prepared" in dataset.attrs:
        kind = dataset.attrs["prepared"]["kind"]
        if kind not in ("given", config.data.normalization):
            raise UserError(
                f"{config.data.train} was prepared with normalization {kind}, but data.normalization is "
                f"{config.data.normalization}; make them equal"
            )
        return statistics(dataset)
    fits = [] if known is None else [known]
    for f in config.model.fields:
        if known is None or f.name not in known.mean:
            fits.append(Normalizer.fit(load_field(dataset, f), config.data.normalization))
    return merge_normalizers(fits)


def training_data(config: Config, known: Normalizer | None = None) -> tuple[Neighbourhoods, Normalizer]:
    """The normalised training record in memory, and its statistics; those that are ``known`` stay."""
    dataset = open_source(config.data.train, config.data.train_period)
    normalizer = fit_normalizer(dataset, config, known)
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
    for stage in config.training.stages:
        check_masking(config.model.fields, config.masking, forecast=stage.forecast)
    run_dir = Path(run_dir)
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"{run_dir} is a file; choose a folder for the run")
    state_path = run_dir / "state.pt"
    state = load_state(state_path) if resume else None
    if state is None and any((run_dir / name).exists() for name in ("state.pt", "model.safetensors")):
        raise UserError(
            f"{run_dir} holds a run already; continue it with --resume or choose another --run-dir"
        )
    if state is not None and state["config"] != dump_config(config):
        raise UserError(
            f"the run in {run_dir} was started with another configuration; resume it with its own: "
            f"atmorep-lite train {run_dir / 'config.yaml'} --run-dir {run_dir} --resume"
        )

    start = config.training.start
    torch.manual_seed(config.training.seed)
    model = AtmoRep(config.model) if start is None else start_model(start, config.model)
    carried = set() if model.normalizer is None else set(model.normalizer.mean)
    data, normalizer = training_data(config, model.normalizer)
    validation = Neighbourhoods(
        open_source(config.data.validation, config.data.validation_period), config.model, normalizer
    )
    if config.model.predict == "departure":
        for name, table in data.typical_departures().items():
            if name not in carried:
                model.departure_scale[name].data.copy_(table)
    first_stage = 0
    if state is not None:
        model.load_state_dict(state["model"])
        first_stage = state["stage"]
    model.checkpointing = config.training.checkpointing
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir / "config.yaml", lambda path: path.write_text(dump_config(config)))

    done = None if state is None else (state["stage"], state["step"])
    with denormals_flushed(), stop_requests() as stop_requested, Log(run_dir / "log.csv", done) as log:

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
    if stage.part == "regression":
        started, steps = time.monotonic(), stage.steps
        fit_regression(model, (_batch(data, config, stage, index, step)[1] for step in range(steps)))
        score = validation_loss(model, validation, config, stage)
        seconds = time.monotonic() - started
        report(Progress(index, stage.part, steps, steps, score, score, seconds, 0.0))
        return True
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
    """The loss of one step's batch, which depends on (seed, stage, step) and nothing else.

    A stage is an epoch, and all of it is drawn by one process (rank 0).  Stage -1 is validation.
    """
    keys, batch = _batch(data, config, stage, index, step)
    torch.manual_seed(int(generator(keys[0], Purpose.NETWORK).integers(2**31)))
    masks, drawn = draw_masks(
        config.model.fields, keys, config.masking, tokens=batch.tokens, forecast=stage.forecast
    )
    tokens = spoil(model, hide(batch.tokens, masks), batch, drawn, keys, config.masking)
    if stage.part in ("grid_skip", "regression"):
        return first_guess_loss(
            model, tokens, batch, short_leads=stage.short_leads, root_errors=stage.root_errors
        )
    return masked_loss(
        model, tokens, batch, config.training.loss, config.training.weights, short_leads=stage.short_leads
    )


def _batch(
    data: Neighbourhoods, config: Config, stage: StageConfig, index: int, step: int
) -> tuple[list[Key], Batch]:
    """The samples of one step, and their keys."""
    keys = batch_keys(config.training.seed, epoch=index + 1, rank=0, step=step, batch_size=stage.batch_size)
    return keys, data.batch([data.draw(1, generator(key, Purpose.PLACE))[0] for key in keys])

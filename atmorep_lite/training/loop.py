"""A training run: data, model and checkpoints are made ready, then :mod:`.stages` does the steps.

Every sample is a pure function of its key (:mod:`atmorep_lite.masking.keys`), so a resumed run sees the same
samples and masks, on any number of processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import xarray as xr
import yaml

from atmorep_lite.config import Config, dump_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.data.source import open_source
from atmorep_lite.data.timing import shared_times
from atmorep_lite.errors import UserError
from atmorep_lite.losses import check_losses
from atmorep_lite.masking import check_masking
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.batch_loss import training_loss, validation_loss
from atmorep_lite.training.checkpoint import (
    load_model,
    load_normalizer,
    save_model,
    save_normalizer,
    write_atomically,
)
from atmorep_lite.training.failures import told_plainly
from atmorep_lite.training.guard import Guard
from atmorep_lite.training.optimizer import trainable
from atmorep_lite.training.parts import keys_of
from atmorep_lite.training.processes import Processes, processes
from atmorep_lite.training.record import fit_normalizer
from atmorep_lite.training.regression import check_regression
from atmorep_lite.training.resume.provenance import check_same_data, other_code, provenance
from atmorep_lite.training.resume.run_folder import check_folder, finished, locked
from atmorep_lite.training.tuning.freeze import held
from atmorep_lite.training.tuning.lora import adapt, merge, save_corrections
from atmorep_lite.training.watch.session import Progress, denormals_flushed, stop_requests
from atmorep_lite.training.watch.trackers import open_trackers
from atmorep_lite.training.watch.validation import climate_of
from atmorep_lite.transfer import start_model
from atmorep_lite.transfer_statistics import fill_departures

if TYPE_CHECKING:
    from atmorep_lite.training.resume.states import Saved

#: What a resumed run may do otherwise: none of these changes a sample, a mask or what a step is.
FREE = {
    "data.workers",
    "training.checkpoint_every",
    "training.checkpointing",
    "training.compile",
    "training.guard",
    "training.keep",
    "training.parallel",
    "training.trackers",
    "training.validate_every",
}

__all__ = ["fit_normalizer", "open_source", "train", "training_data", "training_loss", "validation_loss"]


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> AtmoRep | None:
    """Train a model, from the beginning or from where ``run_dir`` left off.

    Started by ``torchrun``, all processes call it alike; the first one writes, prints and reports.

    ``run_dir`` receives ``config.yaml``, ``normalization.nc``, what the trackers write (``log.csv`` and
    others), ``checkpoints/`` every ``training.checkpoint_every`` steps and after every stage, and the weights
    at the end.  Ctrl-C or SIGTERM saves a checkpoint after the step in hand.

    Returns
    -------
    The trained model, or None if the run was stopped and can be resumed.

    Raises
    ------
    UserError
        Bad configuration or data; ``run_dir`` holds another run and ``resume`` was not asked for; nothing to
        resume; a run that diverges; no memory, no space, data that vanish, a process that is lost.
    """
    from atmorep_lite.training.resume.states import States
    from atmorep_lite.training.stages import Run, run_stages  # not with the package: they take a while

    run_dir = Path(run_dir)
    _check(config)
    check_folder(run_dir, resume=resume)
    with processes() as group, told_plainly(run_dir), denormals_flushed(), ExitStack() as stack:
        _check_shares(config, group)
        stack.enter_context(locked(run_dir, group))
        if resume and finished(run_dir):
            if changed := _difference((run_dir / "config.yaml").read_text(), config):
                raise UserError(
                    f"the run in {run_dir} is finished, with another {changed}; train on from it in another "
                    f"--run-dir with 'training.start={{models: [{run_dir}]}}'"
                )
            _say(f"the run in {run_dir} is finished already", group)
            return load_model(run_dir)
        states = stack.enter_context(
            States(run_dir / "checkpoints", group, keep=config.training.keep, report=_say)
        )
        saved = states.newest() if resume else None
        if saved is not None and (changed := _difference(saved.plain["config"], config)):
            raise UserError(
                f"the run in {run_dir} was started with another configuration, of {changed}; resume it with "
                f"its own, {run_dir / 'config.yaml'}: only {', '.join(sorted(FREE))} may change"
            )
        model, normalizer, records = _begin(config, None if saved is None else load_normalizer(run_dir))
        data, validation = (Neighbourhoods(record, config.model, normalizer) for record in records.values())
        if saved is None and config.model.predict == "departure":
            fill_departures(model, data.typical_departures())
        adapt(model, config.training)
        check_stages(model, config)
        model.checkpointing = config.training.checkpointing
        origin = provenance(
            config,
            records,
            processes=group.count,
            device=str(group.device),
            position=(0, 0) if saved is None else saved.position,
            earlier=None if saved is None else saved.plain["provenance"],
        )
        if saved is not None:
            check_same_data(saved.plain["provenance"], origin)
        for sentence in (
            None if saved is None else other_code(saved.plain["provenance"], origin),
            shared_times(data.time, validation.time),
        ):
            if sentence is not None:
                _say(sentence, group)
        if group.is_first:
            write_atomically(run_dir / "config.yaml", lambda path: path.write_text(dump_config(config)))
            save_normalizer(run_dir, normalizer)
        run = Run(
            config=config,
            model=model.to(group.device),
            data=data,
            validation=validation,
            climate=climate_of(data) if "global" in config.data.normalization else None,
            processes=group,
            folder=run_dir,
            states=states,
            plain={"config": dump_config(config), "provenance": origin},
            guard=Guard(config.training.guard, None if saved is None else saved.plain["guard"], group),
            report=_listeners(stack, config, run_dir, saved, report) if group.is_first else _ignore,
            stop_requested=stack.enter_context(stop_requests()),
        )
        whole = run_stages(run, saved)
        states.wait()  # while requests to stop are still caught
        if not whole:
            return None
        model.cpu()
        model.run_config, model.normalizer = config, normalizer
        if group.is_first and config.training.lora is not None:
            save_corrections(run_dir / "corrections.safetensors", model.state_dict(), config.training.lora)
        merge(model)
        if group.is_first:
            save_model(run_dir, model, origin)
        group.barrier()
    return model.eval()


def training_data(config: Config, known: Normalizer | None = None) -> tuple[Neighbourhoods, Normalizer]:
    """The normalised training record, and its statistics; those that are ``known`` stay."""
    dataset = open_source(config.data.train, config.data.train_period)
    normalizer = fit_normalizer(dataset, config, known)
    return Neighbourhoods(dataset, config.model, normalizer), normalizer


def _difference(saved: str, config: Config) -> str:
    """The first key by which a configuration differs from that of a run (as text), but for :data:`FREE`."""
    one, two = (_flat(yaml.safe_load(text)) for text in (saved, dump_config(config)))
    changed = [key for key in {**one, **two} if one.get(key) != two.get(key)]
    return next((key for key in changed if not any(f"{key}.".startswith(f"{free}.") for free in FREE)), "")


def _flat(tree: object, path: str = "") -> dict[str, object]:
    """A nested dictionary or list by paths: ``training.stages.0.steps``."""
    if not isinstance(tree, dict | list):
        return {path: tree}
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    inner = [_flat(value, f"{path}.{key}" if path else str(key)) for key, value in entries]
    return {key: value for part in inner for key, value in part.items()}


def _check(config: Config) -> None:
    """Refuse what the configuration alone shows to be impossible."""
    check_losses(config.training.loss)
    for stage in config.training.stages:
        check_masking(config.model.fields, config.masking, forecast=stage.forecast)


def check_stages(model: AtmoRep, config: Config) -> None:
    """Refuse a stage that could not learn, before the ones ahead of it are trained."""
    names = held(model, config.training)
    for stage in config.training.stages:
        if stage.part == "regression":
            check_regression(model)
        else:
            trainable(model, stage.part, held=names)


def _check_shares(config: Config, group: Processes) -> None:
    """Every process and micro-batch gets equally much of every batch, or the run is refused."""
    for stage in config.training.stages:
        if stage.part != "regression":
            keys_of(config, stage, 0, 0, (0, group.count * config.training.accumulate))


def _begin(config: Config, known: Normalizer | None) -> tuple[AtmoRep, Normalizer, dict[str, xr.Dataset]]:
    """The model, its statistics (those of a run that goes on are ``known``) and the datasets."""
    start = config.training.start
    torch.manual_seed(config.training.seed)
    model = AtmoRep(config.model) if start is None or known is not None else start_model(start, config.model)
    records = {
        "train": open_source(config.data.train, config.data.train_period),
        "validation": open_source(config.data.validation, config.data.validation_period),
    }
    return model, known or fit_normalizer(records["train"], config, model.normalizer), records


def _listeners(
    stack: ExitStack,
    config: Config,
    run_dir: Path,
    saved: Saved | None,
    report: Callable[[Progress], None],
) -> Callable[[Progress], None]:
    """``report`` and the trackers as one."""
    done = None if saved is None else (saved.position.stage, saved.position.step)
    track = stack.enter_context(open_trackers(run_dir, config, done))

    def both(progress: Progress) -> None:
        report(progress)
        track(progress)

    return both


def _ignore(progress: Progress) -> None:
    """What processes other than the first report."""


def _say(sentence: str, group: Processes | None = None) -> None:
    if group is None or group.is_first:
        warnings.warn(sentence, stacklevel=3)

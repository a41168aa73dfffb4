"""Does coupling help?  Three networks of equal tasks, data and steps; only where attention may look differs.

    python benchmarks/coupling.py [output.csv]      (about 12 CPU-minutes)

*Coupled*: every field listens to the four others, ``COUPLING_HEADS`` heads each.  *Own field only*: the same
network, parameter for parameter, but these heads listen to the field itself.  *One sequence*: a single
transformer, half as wide again, that reads the tokens of all fields as one sequence; fewer parameters, and a
step takes about as long.  None has the convolutional skip, which sees all fields.  One row is written per run
as soon as it is done, and runs that the output holds are not repeated, so a study can be stopped and resumed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

import atmorep_lite as ar
from atmorep_lite.attention import locality_bias, locality_slopes
from atmorep_lite.config import FieldConfig, ModelConfig, StageConfig, TrainingConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, load_field
from atmorep_lite.model.layers import DecoderLayer, EncoderLayer
from atmorep_lite.stencils import fit_hidden_field
from atmorep_lite.tokens import FieldTokens, detokenize, token_positions
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.schedule import cosine
from atmorep_lite.training.step import hide, masked_loss

NAMES = ("vorticity", "u_component_of_wind", "v_component_of_wind", "temperature", "specific_humidity")
LEVELS = (500, 850)
NUM_TOKENS, TOKEN_SIZE = (3, 4, 4), (4, 4, 4)
WIDTH, WIDTH_OF_ONE_SEQUENCE, HEAD = 64, 96, 32
ENCODER_LAYERS, COUPLING_HEADS, LOCALITY = 2, 1, 4.0
STEPS, BATCH, RATE = 200, 8, 3e-3
SEEDS = (0, 1, 2)
KINDS = ("coupled", "own field only", "one sequence")
TASKS = {"forecast": 0.3, "random": 0.3, "field": 0.3, "level": 0.1}
HIDDEN_STEPS, HIDDEN_LEVEL = 8, 1
LEADS = {"3 h": 0, "6 h": 1, "12 h": 3, "24 h": 7}
PLACES, EACH = 64, 16
OUTPUT = Path(__file__).parent / "coupling.csv"
Masks = dict[str, Tensor]


def configuration(width: int) -> ModelConfig:
    """A model without the convolutional skip, every field coupled to all others."""
    fields = tuple(
        FieldConfig(
            name=name,
            levels=LEVELS,
            embed_dim=width,
            num_tokens=NUM_TOKENS,
            token_size=TOKEN_SIZE,
            coupled_to=tuple(other for other in NAMES if other != name),
        )
        for name in NAMES
    )
    heads = {"heads": width // HEAD, "coupling_heads": COUPLING_HEADS}
    layers = {"encoder_layers": ENCODER_LAYERS, "decoder_layers": 1, "members": 4}
    return ModelConfig(fields=fields, predict="departure", dropout=0.0, locality=LOCALITY, **heads, **layers)


class OneSequence(ar.AtmoRep):
    """The tokens of all fields in one sequence; embeddings and tails stay one per field."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        shared = config.fields[0].model_copy(update={"coupled_to": ()})
        self.encoders = nn.ModuleDict(
            {"all": nn.ModuleList(EncoderLayer(shared, config) for _ in range(ENCODER_LAYERS))}
        )
        self.decoders = nn.ModuleDict({"all": nn.ModuleList([DecoderLayer(shared, config)])})

    def encode(
        self, tokens: Mapping[str, FieldTokens], trace: object = None, near: object = None
    ) -> dict[str, list[Tensor]]:
        """The last layer's output for each field."""
        states = [self.embeddings[name](tokens[name]) for name in self.config.names]
        place = torch.cat([token_positions(tokens[name].info).flatten(1, 4) for name in self.config.names], 1)
        heads, decoder = self.config.heads, self.decoders["all"][0]
        near, own, encoded = (
            locality_bias(place, place, locality_slopes(self.config.locality, count))
            for count in (heads, decoder.self_heads, decoder.cross_heads)
        )
        x = torch.cat(states, 1)
        for block in self.encoders["all"]:
            x = block(x, {}, {"self": near})
        x = decoder(x, x, {"self": own, "encoder": encoded})
        parts = x.split([state.shape[1] for state in states], 1)
        return {name: [part] for name, part in zip(self.config.names, parts, strict=True)}

    def decode(
        self, name: str, tokens: FieldTokens, encoded: list[Tensor], *_: object, **options: Any
    ) -> Tensor:
        """What ``encode`` found, of the tokens ``wanted`` if that is given."""
        (x,), wanted = encoded, options.get("wanted")
        return x if wanted is None else x.gather(1, wanted[..., None].expand(-1, -1, x.shape[-1]))


def listen_to_own_field(model: ar.AtmoRep) -> None:
    """Let every coupling head read the field that it belongs to."""

    def own(block: nn.Module, given: tuple) -> tuple:
        state, others, *rest = given
        return state, dict.fromkeys(others, state), *rest

    for block in model.modules():
        if isinstance(block, EncoderLayer):
            block.register_forward_pre_hook(own)


def build(kind: str, seed: int, departures: Mapping[str, Tensor]) -> ar.AtmoRep:
    """An untrained network."""
    torch.manual_seed(seed)
    one = kind == "one sequence"
    model = OneSequence(configuration(WIDTH_OF_ONE_SEQUENCE)) if one else ar.AtmoRep(configuration(WIDTH))
    if kind == "own field only":
        listen_to_own_field(model)
    for name, table in departures.items():
        model.departure_scale[name].data.copy_(table)
    return model


def no_mask(batch: int) -> Masks:
    return {name: torch.zeros((batch, len(LEVELS), *NUM_TOKENS), dtype=torch.bool) for name in NAMES}


def at_random(rate: float, batch: int, rng: np.random.Generator) -> Masks:
    """``rate`` of the tokens of every field and level, each drawn apart."""
    count = int(np.prod(NUM_TOKENS))
    shape = (batch, len(LEVELS), count)
    ranks = {name: rng.random(shape).argsort(-1).argsort(-1) for name in NAMES}
    wide = (batch, len(LEVELS), *NUM_TOKENS)
    return {name: torch.from_numpy(rank < np.ceil(rate * count)).view(wide) for name, rank in ranks.items()}


def future(batch: int) -> Masks:
    masks = no_mask(batch)
    for mask in masks.values():
        mask[:, :, -(HIDDEN_STEPS // TOKEN_SIZE[0]) :] = True
    return masks


def training_masks(batch: int, rng: np.random.Generator) -> Masks:
    """Every sample draws its own task; beside a hidden field or level few tokens of the others are hidden."""
    samples = []
    for task in rng.choice(list(TASKS), batch, p=list(TASKS.values())):
        whole = task in ("field", "level")
        masks = future(1) if task == "forecast" else at_random(rng.random() * (0.2 if whole else 0.9), 1, rng)
        if whole:
            chosen = masks[NAMES[rng.integers(len(NAMES))]]
            chosen[:, slice(None) if task == "field" else rng.integers(len(LEVELS))] = True
        samples.append(masks)
    return {name: torch.cat([masks[name] for masks in samples]) for name in NAMES}


def train(model: ar.AtmoRep, data: Neighbourhoods, seed: int) -> None:
    """The recipe of the preset ``demo``: Muon, warm-up and cosine, CRPS."""
    stage = StageConfig(part="all", steps=STEPS, batch_size=BATCH, learning_rate=RATE)
    training = TrainingConfig(stages=(stage,), optimizer="muon")
    parameters = trainable(model, "all")
    optimizers = build_optimizers(parameters, stage, training)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for step in range(STEPS):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * cosine(step, STEPS, training.warmup)
        rng = np.random.default_rng((seed, step))
        batch = data.batch(data.draw(BATCH, rng))
        loss, _ = masked_loss(model, hide(batch.tokens, training_masks(BATCH, rng)), batch, training.loss)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), training.clip)
        for optimizer in optimizers:
            optimizer.step()


def tests(batch: int, rng: np.random.Generator) -> dict[str, tuple[Masks, Sequence[str]]]:
    """By task: what is hidden, and which fields are scored."""
    out: dict[str, tuple[Masks, Sequence[str]]] = {
        "forecast": (future(batch), NAMES),
        "random": (at_random(0.5, batch, rng), NAMES),
    }
    for name in NAMES:
        whole, level = no_mask(batch), no_mask(batch)
        whole[name][:] = True
        level[name][:, HIDDEN_LEVEL] = True
        out[f"field {name}"], out[f"level {name}"] = (whole, (name,)), (level, (name,))
    return out


@torch.inference_mode()
def score(model: ar.AtmoRep, batches: list[Batch], *, fill: bool = False) -> dict[str, float]:
    """Root mean square error of the ensemble mean over hidden points, by task.

    Forecasts are divided by persistence, all else by the size of the anomalies (the error of climatology) at
    the same points; means over fields of such ratios.  ``fill`` scores the fill in time instead.
    """
    model.eval()
    sums: dict[tuple[str, str], np.ndarray] = {}
    for number, batch in enumerate(batches):
        for task, (masks, scored) in tests(EACH, np.random.default_rng((9, number))).items():
            tokens = hide(batch.tokens, masks)
            first = model.first_guess(tokens, batch.static)
            found = None if fill else model(tokens, batch.static)
            for name in scored:
                truth = batch.tokens[name].values
                guess = first[name].values if found is None else found[name].mean
                unit = first[name].values - truth if task == "forecast" else truth
                where = masks[name][..., None]
                squares = [
                    detokenize((s.square() * where), TOKEN_SIZE).sum((0, 1, 3, 4)).numpy()
                    for s in (guess - truth, unit)
                ]
                sums[task, name] = sums.get((task, name), 0) + np.stack(squares)
    out = {}
    for lead, step in LEADS.items():
        steps = [sums["forecast", name][:, step - HIDDEN_STEPS] for name in NAMES]
        out[f"forecast {lead}"] = float(np.mean([(error / unit) ** 0.5 for error, unit in steps]))
    ratios = {key: float(np.divide(*s.sum(1)) ** 0.5) for key, s in sums.items()}
    out["random"] = float(np.mean([ratios["random", name] for name in NAMES]))
    return out | {task: ratio for (task, _), ratio in ratios.items() if task[:5] in ("field", "level")}


def stencils(
    record: xr.Dataset, weather: xr.Dataset, normalizer: Normalizer, places: list
) -> dict[str, float]:
    """Ridge regression on 3 x 3 points of what is visible at the same time, for hidden fields and levels."""

    def flat(dataset: xr.Dataset) -> xr.Dataset:
        parts = {(n, p): dataset[n].sel(level=[p]).assign_coords(level=[0]) for n in NAMES for p in LEVELS}
        return xr.Dataset({f"{n} {p}": part for (n, p), part in parts.items()})

    past, now, config = flat(record), flat(weather), configuration(WIDTH)
    truth = Neighbourhoods(weather, config, normalizer).batch(places).tokens
    out = {}
    for task, levels in (("field", LEVELS), ("level", LEVELS[HIDDEN_LEVEL:])):
        for name in NAMES:
            targets = {f"{name} {level}": level for level in levels}
            seen = [str(other) for other in past if other not in targets]
            restored = weather[list(NAMES)].sel(level=list(LEVELS)).copy(deep=True)
            for target, level in targets.items():
                found = fit_hidden_field(past, target, seen, [0]).recover(now)
                restored[name].loc[{"level": level}] = found.isel(level=0, drop=True)
            guess = Neighbourhoods(restored, config, normalizer).batch(places).tokens[name].values
            parts = (guess - truth[name].values, truth[name].values)
            error, unit = (x[:, -len(levels) :].square().mean() for x in parts)
            out[f"{task} {name}"] = float((error / unit).sqrt())
    return out


def main(output: Path = OUTPUT) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = configuration(WIDTH)
    record, weather = ar.open_sample("train"), ar.open_sample("test").load()
    fits = [Normalizer.fit(load_field(record, field), "anomaly") for field in config.fields]
    normalizer = Normalizer(
        *(xr.merge([getattr(fit, kind) for fit in fits], join="outer") for kind in ("mean", "std"))
    )
    data, unseen = (Neighbourhoods(part, config, normalizer) for part in (record, weather))
    departures = data.typical_departures()
    places = unseen.draw(PLACES, np.random.default_rng(1))
    batches = [unseen.batch(places[i : i + EACH]) for i in range(0, PLACES, EACH)]
    rows = pd.read_csv(output).to_dict("records") if output.exists() else []
    done = {(row["kind"], row["seed"]) for row in rows}

    def add(kind: str, seed: int, scores: dict[str, float], parameters: int = 0, seconds: float = 0) -> None:
        first = {"kind": kind, "seed": seed, "parameters": parameters, "cpu_seconds": seconds}
        rows.append(first | scores)
        pd.DataFrame(rows).to_csv(output, index=False, float_format="%.4g")
        print(f"{kind}, seed {seed}, {seconds:.0f} s", flush=True)

    if ("fill in time", 0) not in done:
        add("fill in time", 0, score(build("coupled", 0, departures), batches, fill=True))
    if ("stencil", 0) not in done:
        thinned = record[list(NAMES)].isel(time=slice(None, None, 12)).load()
        add("stencil", 0, stencils(thinned, weather, normalizer, places))
    for seed, kind in product(SEEDS, KINDS):
        if (kind, seed) in done:
            continue
        model = build(kind, seed, departures)
        started = time.process_time()
        train(model, data, seed)
        seconds = time.process_time() - started
        add(kind, seed, score(model, batches), sum(p.numel() for p in model.parameters()), seconds)
    scores = pd.DataFrame(rows).drop(columns="seed").groupby("kind", sort=False)
    print(pd.concat({"mean": scores.mean(), "spread": scores.std()}).T.round(3).to_string())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

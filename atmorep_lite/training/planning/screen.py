"""A plan of a run as one screen of text and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atmorep_lite.training.planning.plan import Plan

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def screen(plan: Plan) -> list[RenderableType]:
    """What the terminal shows: data, network, memory, stages, and what to mend."""
    from rich.markup import escape

    shown: list[RenderableType] = []
    lines = []
    for data in plan.data:
        mark = "" if data.usable else "[red]missing[/red] "
        words = data.words if data.usable else "see below"
        lines.append(f"[bold]{data.role:11}[/bold]{escape(data.source)}: {mark}{escape(words)}")
    lines.append(
        f"[bold]{'network':11}[/bold]{_count(plan.parameters)} parameters"
        + (f", {_count(plan.grid_skip)} of them in the grid-scale skip" if plan.grid_skip else "")
    )
    shown += ["\n".join(lines), _network(plan), ""]
    memory = plan.memory
    kinds = ("program", "weights", "gradients", "optimizers", "ema", "activations", "data")
    held = " + ".join(f"{kind} {_bytes(getattr(memory, kind))}" for kind in kinds if getattr(memory, kind))
    others = "" if plan.processes == 1 else f" in each of {plan.processes} processes ({plan.parallel})"
    shown += [
        f"[bold]{'memory':11}[/bold]{_bytes(memory.total)} of {_bytes(memory.available)}{others}: {held}\n"
        f"[bold]{'disk':11}[/bold]{_bytes(plan.disk)} of {_bytes(plan.disk_free)} free; "
        f"a checkpoint is {_bytes(plan.checkpoint)}",
        "",
        _stages(plan),
        f"[dim]Time: {plan.efficiency:.0%} of {_rate(plan.peak)} ({plan.device}) in each process; "
        "expect half to twice. "
        f"Data: {_bytes(plan.bytes_per_sample)} a sample, {_reading(plan)}.[/dim]",
    ]
    shown += [f"[yellow]warning[/yellow]    {escape(words)}" for words in plan.warnings]
    shown += [f"[red]to mend[/red]    {escape(words)}" for words in plan.problems]
    if not plan.problems:
        shown.append("[green]ready[/green]      the same command without --dry-run starts the run")
    return shown


def _table(*titles: str, left: tuple[str, ...] = ()) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="left" if title in left else "right")
    return table


def _network(plan: Plan) -> Table:
    table = _table("field", "tokens", "embedding", "encoder", "decoder", "tails", left=("field",))
    for w in plan.weights:
        table.add_row(
            w.field, f"{w.tokens:,}", *(_count(n) for n in (w.embedding, w.encoder, w.decoder, w.tails))
        )
    return table


def _stages(plan: Plan) -> Table:
    titles = (
        "stage",
        "learns",
        "steps",
        "batch",
        "at once",
        "rate",
        "hidden",
        "samples",
        "work/sample",
        "time",
    )
    table = _table(*titles, left=("learns",))
    for number, s in enumerate(plan.stages):
        rate = "-" if s.part == "regression" else f"{s.learning_rate:.1e}"
        table.add_row(
            str(number), s.part, f"{s.steps:,}", str(s.batch_size), str(s.at_once), rate, f"{s.hidden:.0%}",
            f"{s.samples:,}", _work(s.flops_per_sample), duration(s.seconds),
        )  # fmt: skip
    if len(plan.stages) > 1:
        samples = sum(s.samples for s in plan.stages)
        table.add_row("all", "", "", "", "", "", "", f"{samples:,}", "", duration(plan.seconds))
    return table


def _reading(plan: Plan) -> str:
    rate = max((s.samples / s.seconds for s in plan.stages if s.seconds), default=0.0) * plan.bytes_per_sample
    return f"{_bytes(rate)}/s at this speed"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for limit, unit, length in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:,.0f} days"


def _scaled(value: float, units: tuple[str, ...], base: float = 1e3) -> str:
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"
        value /= base
    raise AssertionError("units are never empty")


def _bytes(value: float) -> str:
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def _work(value: float) -> str:
    return _scaled(value / 1e6, ("MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def _rate(value: float) -> str:
    return _scaled(value / 1e9, ("GFLOP/s", "TFLOP/s", "PFLOP/s"))


def _count(value: float) -> str:
    return f"{value:,}" if value < 1e5 else _scaled(value / 1e3, ("k", "M", "G"))

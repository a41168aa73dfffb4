"""Checkpoints: what is saved is what was there, whole or not at all, for any number of processes."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner

from atmorep_lite.errors import UserError
from atmorep_lite.training.processes import processes
from atmorep_lite.training.resume import files as state_files
from atmorep_lite.training.resume.contents import restore, training_state
from atmorep_lite.training.resume.files import PLAIN, SUMS, Position, Writer, find_fault
from atmorep_lite.training.resume.states import Saved, States
from tests.training.together import together

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@dataclass(frozen=True)
class Here:
    """Stands for the processes of a run: rank ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def group() -> Here:
    """The processes of :func:`tests.training.together.together`."""
    return Here(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.ModuleDict({"first": nn.Linear(4, 6), "second": nn.Linear(6, 2)})


def apply(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    assert isinstance(model, nn.ModuleDict)
    return model["second"](torch.tanh(model["first"](x)))


def muon_and_adamw(model: nn.Module) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(others, lr=0.01)]


def step(model: nn.Module, optimizers: list[torch.optim.Optimizer], number: int) -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    apply(model, x).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


def run(model: nn.Module, optimizers: list[torch.optim.Optimizer], numbers: range) -> list[torch.Tensor]:
    for number in numbers:
        step(model, optimizers, number)
    return [p.detach().clone() for p in model.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("done", [0, 1, 3])
def test_training_goes_on_exactly(tmp_path: Path, done: int) -> None:
    """Two optimizers, one step before they remember anything, too; into new objects."""
    model = small_model()
    expected = run(model, muon_and_adamw(model), range(6))
    model = small_model()
    optimizers = muon_and_adamw(model)
    run(model, optimizers, range(done))
    with States(tmp_path, Here()) as states:
        states.save(Position(0, done), training_state(model, optimizers), {"seed": 7})
    model = small_model(seed=1)
    optimizers = muon_and_adamw(model)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    with States(tmp_path, Here()) as states:
        saved = states.newest()
        assert saved is not None and saved.position == (0, done) and saved.plain == {"seed": 7}
        restore(states, saved, model, optimizers)
    now = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert all(a is b for a, b in zip(groups, now, strict=True)), "a schedule holds on to them"
    assert same(run(model, optimizers, range(done, 6)), expected)


def test_what_is_saved_is_the_state_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights change while the checkpoint is being written; the call returns before it is."""
    gate = threading.Event()
    write = state_files.Writer.write_data

    def slow(self, plan, planner):
        assert gate.wait(20)
        return write(self, plan, planner)

    monkeypatch.setattr(state_files.Writer, "write_data", slow)
    model = small_model()
    optimizers = muon_and_adamw(model)
    run(model, optimizers, range(2))
    then = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    average = {"w": torch.ones(3)}
    with States(tmp_path, Here()) as states:
        states.save(Position(0, 2), training_state(model, optimizers, ema=average), {})
        assert not (tmp_path / "0-000002").exists() and not states.failed()
        run(model, optimizers, range(2, 5))
        average["w"].zero_()
        gate.set()
        states.wait()
        saved = states.newest()
        assert saved is not None
        other, again = small_model(seed=3), {"w": torch.zeros(3)}
        restore(states, saved, other, muon_and_adamw(other), ema=again)
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in then.items())
    assert torch.equal(again["w"], torch.ones(3))


def test_a_slow_checkpoint_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = state_files.Writer.write_data

    def slow(self, plan, planner):
        time.sleep(0.2)
        return write(self, plan, planner)

    monkeypatch.setattr(state_files.Writer, "write_data", slow)
    with States(tmp_path, Here(), keep=5) as states:
        for number in range(3):
            states.save(Position(0, number), {"x": torch.full((2,), float(number))}, {})
        assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == ["0-000000", "0-000001"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0-000000", "0-000001", "0-000002"]


def test_names_with_dots_and_odd_tensors(tmp_path: Path) -> None:
    """{a: {b.c}} and {a.b: {c}} differ; scalars, empty tensors, other types, a slice of a larger one."""
    state = {
        "a": {"b.c": torch.tensor(1.5)},
        "a.b": {"c": torch.tensor([2], dtype=torch.int64)},
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "half": {"x": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T},
        "part": torch.arange(100.0)[10:12],
        "nothing": {},
    }
    with States(tmp_path, Here()) as states:
        states.save(Position(1, 5), state, {})
        states.wait()
        saved = states.newest()
        assert saved is not None
        blank = {
            k: torch.zeros_like(v)
            if isinstance(v, torch.Tensor)
            else {n: torch.zeros_like(t) for n, t in v.items()}
            for k, v in state.items()
        }
        states.load(saved, blank)
        contents = states.contents(saved)
    assert contents["a", "b.c"] == (torch.Size([]), torch.float32) and len(contents) == 6
    assert blank["a"]["b.c"] == 1.5 and blank["a.b"]["c"] == 2 and torch.equal(blank["part"], state["part"])
    assert torch.equal(blank["half"]["x"], state["half"]["x"]) and torch.equal(blank["flags"], state["flags"])


def test_a_state_holds_tensors_only(tmp_path: Path) -> None:
    with States(tmp_path, Here()) as states, pytest.raises(TypeError, match=r"optimizers\.w is a float"):
        states.save(Position(0, 1), {"optimizers": {"w": 1.0}}, {})


def write_some(folder: Path, count: int = 3, keep: int = 3) -> None:
    with States(folder, Here(), keep=keep) as states:
        for number in range(1, count + 1):
            states.save(Position(0, 100 * number), {"x": torch.full((50,), float(number))}, {"n": number})


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    write_some(tmp_path, count=5, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-000400", "0-000500"]
    with States(tmp_path, Here(), keep=1) as states:
        states.save(Position(1, 0), {"x": torch.zeros(1)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["1-000000"], "the next stage comes after"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", PLAIN, SUMS])
@pytest.mark.parametrize("damage", [flip, halve, Path.unlink])
def test_a_damaged_one_is_told_and_the_one_before_is_used(tmp_path: Path, name: str, damage) -> None:
    write_some(tmp_path)
    damage(tmp_path / "0-000300" / name)
    told: list[str] = []
    with States(tmp_path, Here(), report=told.append) as states:
        saved = states.newest()
        assert saved is not None and saved.position == (0, 200) and saved.plain == {"n": 2}
        assert len(told) == 1 and "0-000300 is damaged (" in told[0]
        assert name in told[0] or name == SUMS
        x = torch.zeros(50)
        states.load(saved, {"x": x})
        assert x.eq(2).all()
        states.save(Position(0, 250), {"x": x}, {"n": 2.5})  # the run goes on from there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-000200", "0-000250"]


def test_a_damaged_one_is_replaced_when_the_run_comes_by(tmp_path: Path) -> None:
    write_some(tmp_path)
    halve(tmp_path / "0-000300" / "__0_0.distcp")
    with States(tmp_path, Here(), keep=3) as states:
        states.save(Position(0, 300), {"x": torch.zeros(50)}, {})
    assert find_fault(tmp_path / "0-000300") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-000100", "0-000200", "0-000300"]


def test_none_is_whole(tmp_path: Path) -> None:
    with States(tmp_path / "not" / "there", Here()) as states:
        assert states.newest() is None
    write_some(tmp_path, count=2)
    for path in tmp_path.glob("*/__0_0.distcp"):
        halve(path)
    with (
        States(tmp_path, Here(), report=lambda text: None) as states,
        pytest.raises(UserError, match=r"none of the checkpoints in .* is whole \(2 tried\); restore"),
    ):
        states.newest()


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    write_some(tmp_path, count=1)
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("no sha256sum here")
    command = [program, "--check", "--strict", SUMS]
    done = subprocess.run(command, cwd=tmp_path / "0-000100", capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.count(": OK") == 3


def test_what_was_left_unfinished_is_removed_and_never_used(tmp_path: Path) -> None:
    write_some(tmp_path, count=1)
    shutil.copytree(tmp_path / "0-000100", tmp_path / ".0-000200.unfinished")
    with States(tmp_path, Here()) as states:
        saved = states.newest()
        assert saved is not None and saved.position == (0, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["0-000100"]


def failing(number: int):
    def fail(self, plan, planner):
        (Path(self.path) / "__0_0.distcp").write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_is_told_and_older_checkpoints_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some(tmp_path, count=2)
    with monkeypatch.context() as patch:
        patch.setattr(state_files.Writer, "write_data", failing(errno.ENOSPC))
        with States(tmp_path, Here()) as states:
            states.save(Position(0, 300), {"x": torch.zeros(50)}, {})
            while not states.failed():
                time.sleep(0.01)
            with pytest.raises(UserError) as caught:
                states.save(Position(0, 400), {"x": torch.zeros(50)}, {})
            assert "\n" not in str(caught.value)
            assert "0-000300 could not be written (No space left on device); free some space" in str(
                caught.value
            )
            assert "continue with --resume from 0-000200" in str(caught.value)
            states.save(Position(0, 400), {"x": torch.zeros(50)}, {})
            with pytest.raises(UserError, match="0-000400 could not be written"):
                states.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-000100", "0-000200"]
    assert all(find_fault(path) is None for path in tmp_path.iterdir())


def test_a_failure_on_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a run as its error; behind another error as a sentence."""
    monkeypatch.setattr(state_files.Writer, "write_data", failing(errno.EIO))
    with (
        pytest.raises(UserError, match=r"\(Input/output error\); mend that and start again"),
        States(tmp_path, Here()) as states,
    ):
        states.save(Position(0, 1), {"x": torch.zeros(5)}, {})
    told: list[str] = []
    with pytest.raises(ZeroDivisionError), States(tmp_path, Here(), report=told.append) as states:
        states.save(Position(0, 1), {"x": torch.zeros(5)}, {})
        raise ZeroDivisionError
    assert len(told) == 1 and "could not be written" in told[0]


def test_another_model(tmp_path: Path) -> None:
    write_some(tmp_path, count=1)
    with States(tmp_path, Here()) as states:
        saved = states.newest()
        assert saved is not None
        for state in ({"x": torch.zeros(51)}, {"y": torch.zeros(50)}):
            with pytest.raises(UserError, match="does not fit this model") as caught:
                states.load(saved, state)
            assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


class Malicious:
    """Runs a command when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


class DottedName:
    """Reaches ``os.system`` through a module that a table of contents may name."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def content(self) -> bytes:
        command = f"touch {self.witness}".encode()
        where, what = b"torch.distributed.checkpoint.metadata", b"os.system"
        parts = [b"\x8c" + bytes([len(text)]) + text for text in (where, what, command)]
        return b"\x80\x04" + parts[0] + parts[1] + b"\x93" + parts[2] + b"\x85R."


@pytest.mark.parametrize("dotted", [False, True])
def test_a_table_of_contents_that_would_run_code_is_refused(tmp_path: Path, dotted: bool) -> None:
    write_some(tmp_path / "run", count=1)
    witness = tmp_path / "witness"
    path = tmp_path / "run" / "0-000100" / ".metadata"
    path.write_bytes(DottedName(witness).content() if dotted else pickle.dumps(Malicious(witness)))
    with States(tmp_path / "run", Here()) as states, pytest.raises(UserError, match="does not fit"):
        states.load(Saved(Position(0, 100), tmp_path / "run" / "0-000100", {}), {"x": torch.zeros(50)})
    assert not witness.exists()
    pickle.loads(path.read_bytes())
    assert witness.exists(), "the file was harmless, so this test showed nothing"


def test_an_object_in_the_place_of_a_tensor_is_refused(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    writer, planner = Writer(tmp_path / "0-000100", "{}", 2), DefaultSavePlanner(flatten_state_dict=False)
    dcp.save({"x": Malicious(witness)}, storage_writer=writer, planner=planner, no_dist=True)
    with States(tmp_path, Here()) as states, pytest.raises(UserError, match=r"does not fit.*x is no tensor"):
        states.load(Saved(Position(0, 100), tmp_path / "0-000100", {}), {"x": torch.zeros(50)})
    assert not witness.exists()


def _sharded_and_plain(rows: int = 10) -> dict:
    """A state of one plain and one distributed tensor; the latter is divided among the processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    whole = torch.arange(3.0 * rows).reshape(rows, 3)
    here = group()
    if here.count == 1:
        return {"plain": torch.arange(4.0), "shared": whole}
    mesh = init_device_mesh("cpu", (here.count,))
    return {"plain": torch.arange(4.0), "shared": distribute_tensor(whole, mesh, [Shard(0)])}


def _write_together(folder: Path) -> None:
    with processes(), States(folder, group()) as states:
        for number in (1, 2):
            states.save(Position(0, number), _sharded_and_plain(), {"processes": group().count})
            x = torch.ones(1)
            for _ in range(20):  # the main thread talks meanwhile
                torch.distributed.all_reduce(x)
            assert x == 2.0**20


def _read_together(folder: Path) -> tuple:
    told: list[str] = []
    with processes(), States(folder, group(), report=told.append) as states:
        saved = states.newest()
        assert saved is not None
        state = {name: torch.zeros_like(tensor) for name, tensor in _sharded_and_plain().items()}
        states.load(saved, state)
        shared = state["shared"].full_tensor() if group().count > 1 else state["shared"]
    return saved.position.step, told, state["plain"].tolist(), shared.tolist()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("of_two")
    together(2, _write_together, folder / "checkpoints")
    return folder / "checkpoints"


def test_two_processes_write_their_shares(of_two: Path) -> None:
    sizes = [path.stat().st_size for path in (of_two / "0-000002").glob("*.distcp")]
    assert len(sizes) == 2 and min(sizes) > 0
    assert sorted(path.name for path in of_two.iterdir()) == ["0-000001", "0-000002"]
    assert find_fault(of_two / "0-000002") is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_processes_reads(of_two: Path, tmp_path: Path, count: int) -> None:
    folder = shutil.copytree(of_two, tmp_path / "checkpoints")
    if count > 1:
        halve(folder / "0-000002" / "__1_0.distcp")  # of the second process
    for rank, (step, told, plain, shared) in enumerate(together(count, _read_together, folder)):
        assert step == (1 if count > 1 else 2) and plain == [0, 1, 2, 3]
        assert shared == torch.arange(30.0).reshape(10, 3).tolist()
        assert len(told) == (1 if count > 1 and rank == 0 else 0), "told once, by the first process"


def _fill_the_disk(folder: Path) -> str:
    """The disk of the second process is full."""
    with processes(), States(folder, group()) as states:
        states.save(Position(0, 1), _sharded_and_plain(), {})
        states.wait()
        if group().rank == 1:
            state_files.Writer.write_data = failing(errno.ENOSPC)  # type: ignore[method-assign]
        states.save(Position(0, 2), _sharded_and_plain(), {})
        try:
            states.wait()
        except UserError as error:
            return str(error)
    return "nothing"


def test_a_full_disk_of_one_process_stops_all(tmp_path: Path) -> None:
    sentences = together(2, _fill_the_disk, tmp_path / "checkpoints")
    assert len(set(sentences)) == 1 and "0-000002 could not be written (No space left" in sentences[0]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["0-000001"]

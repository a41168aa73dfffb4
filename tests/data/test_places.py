"""Places of samples: functions of their keys, uniform in time, area-weighted, windows shared as asked."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atmorep_lite.data.loader import steps_ahead
from atmorep_lite.data.places import Place, Places, is_global, window_key
from atmorep_lite.masking import Key, Purpose, batch_keys, generator

GLOBE = np.arange(0, 360, 22.5)
NORTH = np.linspace(78.75, -78.75, 8)
SOUND = np.ones(50, bool)
PLACES = Places.fitting((6, 4, 8), SOUND, NORTH, GLOBE)

crops_and_windows = {"crops": st.integers(1, 5), "windows": st.integers(1, 9)}


def keys(first: int, count: int, *, seed: int = 3, epoch: int = 1) -> list[Key]:
    return [Key(seed, epoch, n) for n in range(first, first + count)]


def test_one_crop_is_every_samples_own_draw() -> None:
    some = keys(7, 40)
    assert PLACES.draw_at(some) == [PLACES.draw(1, generator(k, Purpose.PLACE))[0] for k in some]
    assert PLACES.draw_at(some) == PLACES.draw_at(some, windows=5)


def test_a_plain_draw_is_the_one_it_has_always_been() -> None:
    """First steps, rows and columns as ``Generator`` gives them in this order."""
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    weight = np.convolve(np.cos(np.deg2rad(NORTH)), np.ones(4), "valid")
    expected = zip(
        again.integers(45, size=9), again.choice(5, 9, p=weight / weight.sum()), again.integers(16, size=9),
        strict=True,
    )  # fmt: skip
    assert PLACES.draw(9, rng) == [Place(int(s), int(r), int(c)) for s, r, c in expected]


@given(
    first=st.integers(0, 2**33), count=st.integers(1, 30), batch=st.integers(1, 4), parts=st.integers(1, 3),
    **crops_and_windows,
)  # fmt: skip
def test_places_do_not_depend_on_batches_processes_or_restarts(
    first: int, count: int, batch: int, parts: int, crops: int, windows: int
) -> None:
    """One by one, backwards; and in steps shared by processes, from a step in the middle of an epoch."""
    together = PLACES.draw_at(keys(first, count), crops=crops, windows=windows)
    alone = [PLACES.draw_at([k], crops=crops, windows=windows)[0] for k in reversed(keys(first, count))]
    assert together == alone[::-1]
    size = batch * parts
    begun = first // size
    steps = range(begun, begun + 3)
    of_steps = [
        place
        for step in steps
        for part in range(parts)
        for place in PLACES.draw_at(
            batch_keys(3, epoch=1, step=step, batch_size=size, part=(part, parts)),
            crops=crops,
            windows=windows,
        )
    ]
    assert of_steps == PLACES.draw_at(keys(begun * size, 3 * size), crops=crops, windows=windows)


@given(
    seed=st.integers(0, 2**40), epoch=st.integers(0, 2**20), group=st.integers(0, 2**20), **crops_and_windows
)
def test_a_group_uses_each_of_its_windows_equally_often(
    seed: int, epoch: int, group: int, crops: int, windows: int
) -> None:
    size = windows * crops
    used = Counter(window_key(k, crops, windows) for k in keys(group * size, size, seed=seed, epoch=epoch))
    assert set(used.values()) == {crops}
    assert set(used) == {Key(seed, epoch, n) for n in range(group * windows, (group + 1) * windows)}


@given(**crops_and_windows, first=st.integers(0, 10**6))
def test_samples_of_one_window_begin_together_at_places_of_their_own(
    crops: int, windows: int, first: int
) -> None:
    some = keys(first, 3 * crops * windows)
    own = PLACES.draw_at(some)
    shared = PLACES.draw_at(some, crops=crops, windows=windows)
    assert [(p.row, p.column) for p in shared] == [(p.row, p.column) for p in own]
    if crops > 1:
        begins: dict[Key, set[int]] = {}
        for key, place in zip(some, shared, strict=True):
            begins.setdefault(window_key(key, crops, windows), set()).add(place.step)
        assert all(len(steps) == 1 for steps in begins.values())


def test_windows_are_mixed_anew_in_every_group_epoch_and_run() -> None:
    crops, windows, size = 4, 16, 64

    def order(seed: int, epoch: int, group: int) -> tuple[int, ...]:
        some = keys(group * size, size, seed=seed, epoch=epoch)
        return tuple(window_key(k, crops, windows).sample - group * windows for k in some)

    orders = {order(s, e, g) for s in range(3) for e in range(3) for g in range(5)}
    assert len(orders) == 45
    neighbours = np.mean([a == b for one in orders for a, b in pairwise(one)])
    assert neighbours == pytest.approx((crops - 1) / (size - 1), abs=0.02)


@pytest.mark.parametrize("crops", [1, 4])
def test_chances_are_the_same_for_any_number_of_crops(crops: int) -> None:
    places = PLACES.draw_at(keys(0, 9_000), crops=crops, windows=32)
    steps = np.bincount(_of_windows(crops), minlength=45)
    assert stats.chisquare(steps).pvalue > 1e-3
    edge = np.deg2rad(90 - 22.5 * np.arange(9))
    area = np.sin(edge[:-4]) - np.sin(edge[4:])
    rows = np.bincount([p.row for p in places], minlength=5)
    assert stats.chisquare(rows, 9_000 * area / area.sum()).pvalue > 1e-3
    assert stats.chisquare(np.bincount([p.column for p in places], minlength=16)).pvalue > 1e-3


def _of_windows(crops: int) -> list[int]:
    """The first step of every window once: those that share it are not independent."""
    some = keys(0, 9_000)
    shared = PLACES.draw_at(some, crops=crops, windows=32)
    return list({window_key(k, crops, 32): p.step for k, p in zip(some, shared, strict=True)}.values())


@given(
    extent=st.tuples(st.integers(1, 12), st.integers(1, 8), st.integers(1, 16)),
    bad=st.sets(st.integers(0, 49)),
    region=st.booleans(), crops=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=50)
def test_no_cube_leaves_the_record_or_holds_a_bad_time(
    extent: tuple[int, int, int], bad: set[int], region: bool, crops: int
) -> None:
    longitude = GLOBE[:16] if not region else 0.5 * GLOBE
    sound = SOUND.copy()
    sound[list(bad)] = False
    places = Places.fitting(extent, sound, NORTH, longitude)
    steps, height, width = extent
    allowed = [s for s in range(50 - steps + 1) if not bad & set(range(s, s + steps))]
    assert places.starts.tolist() == allowed
    for place in places.draw_at(keys(0, 20), crops=crops, windows=3) if allowed else ():
        assert place.step in allowed and 0 <= place.row <= 8 - height
        assert 0 <= place.column < (16 if is_global(longitude) else 16 - width + 1)


def test_a_record_shorter_than_a_cube_has_no_place() -> None:
    assert len(Places.fitting((6, 4, 8), np.ones(3, bool), NORTH, GLOBE).starts) == 0


def draws_of_a_process(rank: int, processes: int, answers) -> None:
    def make(step: int) -> list[tuple[int, int]]:
        part = batch_keys(3, epoch=1, step=step, batch_size=8, part=(rank, processes))
        masks = [int(generator(k, Purpose.MASK).bit_generator.random_raw()) for k in part]
        return list(zip([k.sample for k in part], masks, strict=True))

    with steps_ahead(make, range(20), workers=2) as made:
        answers.put((rank, list(made)))


def test_no_sample_is_drawn_by_two_of_two_processes_with_two_workers_each() -> None:
    """Really started afresh, and their workers too: what each drew is collected and compared."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    ranks = [context.Process(target=draws_of_a_process, args=(r, 2, answers)) for r in range(2)]
    for process in ranks:
        process.start()
    try:
        of_rank = dict(answers.get(timeout=120) for _ in ranks)
    finally:
        for process in ranks:
            process.join(timeout=20)
            process.kill()
    steps = [of_rank[0][k] + of_rank[1][k] for k in range(20)]
    everything = [sample for step in steps for sample in step]
    assert [number for number, _ in everything] == list(range(160)), "each sample once, in order"
    assert len({mask for _, mask in everything}) == 160, "and no random numbers twice"

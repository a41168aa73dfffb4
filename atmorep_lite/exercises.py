"""Checking answers in the exercises of the book: one function, which never raises for what a student enters.

>>> answer = ...
>>> check(answer, 2 / 3, hint="The weights are as 1 : 2.")
Not yet: the dots are still there; replace them, run that cell, then this one.
False
>>> check(0.6, 2 / 3, hint="The weights are as 1 : 2.")
Not yet: The weights are as 1 : 2.
False
>>> check(0.6667, 2 / 3)
Right.
True

In a notebook a semicolon after the call keeps the returned value from being shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

DOTS = "the dots are still there; replace them, run that cell, then this one."
FLOAT_TOLERANCE = 1e-3  # relative; lets 0.6667 pass for 2/3


def check(
    given: object,
    expected: object | Callable[[Any], object],
    *,
    rtol: float | None = None,
    atol: float = 1e-8,
    hint: str = "",
) -> bool:
    """Say whether an answer is right: print "Right." or "Not yet: ..." with what is wrong and the hint.

    Parameters
    ----------
    given
        The answer. Where the dots of the exercise are still in it (`...`), or None, it is missing.
    expected
        What the answer must be: a number, truth value or text; an array, tensor, xarray or pandas object, or
        nested sequences of numbers, all of the same shape as the answer; a set; a mapping of such things. Or
        a function that gets the answer and returns whether it is right; if it raises, the answer is not.
    rtol, atol
        Numbers differ by at most ``atol + rtol * abs(expected)``. By default `rtol` is 0 where whole numbers
        are expected and 0.001 elsewhere. NaN equals NaN.
    hint
        A sentence for those whose answer is not right yet; kept back while there is no answer.

    Returns
    -------
    bool
        Whether the answer is right. Text is compared without regard to case and to spaces around it; arrays
        of xarray are aligned by the names of their dimensions.
    """
    try:
        wrong = _difference(given, expected, rtol, atol)
    except Exception as error:  # whatever a student enters must not end a lecture with a traceback
        wrong = "" if "ellipsis" in str(error) else f"it stopped with {type(error).__name__}: {error}."
    if wrong is None:
        print("Right.")
        return True
    clue = "" if wrong == DOTS else f"Hint: {hint}" if wrong and hint else hint
    print("Not yet:", " ".join(filter(None, (wrong, clue))) or "this is not the expected answer.")
    return False


def _difference(given: Any, expected: Any, rtol: float | None, atol: float) -> str | None:
    """None if the answer is as expected; else what is wrong, empty if that would give the answer away."""
    if _has_dots(given):
        return DOTS
    if callable(expected):
        verdict = np.asarray(_plain(expected(given)))
        return None if verdict.dtype == bool and verdict.all() else ""
    if isinstance(expected, str):
        if not isinstance(given, str):
            return f"a text in quotes is expected, this is {_kind(given)}."
        return None if given.strip().casefold() == expected.strip().casefold() else ""
    if isinstance(expected, Mapping):
        return _mapping_difference(given, expected, rtol, atol)
    if isinstance(expected, Set):
        return None if isinstance(given, Set | Sequence) and set(given) == set(expected) else ""
    dims = getattr(expected, "dims", None)
    if dims and set(dims) == set(getattr(given, "dims", ())):
        given = given.transpose(*dims)
    wanted, found = _as_array(expected), _as_array(given)
    if wanted is None or found is None or wanted.dtype.kind not in "biufcmM":
        return _sequence_difference(given, expected, rtol, atol)
    if (wanted.dtype == bool) != (found.dtype == bool):
        return f"{_kind(expected)} is expected, this is {_kind(given)}."
    if found.shape != wanted.shape:
        return f"the shape is {found.shape}, expected is {wanted.shape}."
    if wanted.dtype.kind in "bmM":
        return None if bool((found == wanted).all()) else ""
    if rtol is None:
        rtol = 0.0 if wanted.dtype.kind in "iu" else FLOAT_TOLERANCE
    return None if np.allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True) else ""


def _mapping_difference(given: Any, expected: Any, rtol: float | None, atol: float) -> str | None:
    """The first difference between two mappings (dictionaries, xarray datasets)."""
    if not isinstance(given, Mapping):
        return f"{_kind(expected)} is expected, this is {_kind(given)}."
    if set(given) != set(expected):
        return f"the names are {sorted(map(str, given))}, expected are {sorted(map(str, expected))}."
    differences = (_difference(given[name], expected[name], rtol, atol) for name in expected)
    return next((found for found in differences if found is not None), None)


def _sequence_difference(given: Any, expected: Any, rtol: float | None, atol: float) -> str | None:
    """The first difference between things that are no arrays of numbers: sequences, or any two objects."""
    if not isinstance(expected, Sequence | np.ndarray):
        if _as_array(expected) is not None:
            return f"{_kind(expected)} is expected, this is {_kind(given)}."
        return None if bool(given == expected) else ""
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str):
        return f"a sequence of {len(expected)} is expected, this is {_kind(given)}."
    if len(given) != len(expected):
        return f"the length is {len(given)}, expected is {len(expected)}."
    differences = (_difference(a, b, rtol, atol) for a, b in zip(given, expected, strict=True))
    return next((found for found in differences if found is not None), None)


def _has_dots(value: Any) -> bool:
    """Whether an answer is missing, or has the dots of the exercise in it."""
    if value is ... or value is None:
        return True
    if isinstance(value, Mapping):
        value = [value[name] for name in value]
    return isinstance(value, list | tuple | Set) and any(map(_has_dots, value))


def _plain(value: Any) -> Any:
    """A tensor as an array, whatever its device, precision and gradient; anything else unchanged."""
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    return (value.double() if value.is_floating_point() else value).numpy()


def _as_array(value: Any) -> np.ndarray | None:
    """Numbers, truth values or dates as an array; None for all that is something else."""
    value = _plain(value)
    if isinstance(value, list | tuple):
        value = [_as_array(item) for item in value]
        if any(item is None for item in value):
            return None
    try:
        array = np.asarray(value)
        if array.dtype == object:  # fractions and such
            array = array.astype(float)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biufcmM" else None


def _kind(value: Any) -> str:
    """What to call a value in a sentence."""
    array = _as_array(value)
    if array is not None and array.ndim:
        return "an array or list of numbers"
    if array is None:
        name = type(value).__name__
        return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
    return "True or False" if array.dtype == bool else "a number"

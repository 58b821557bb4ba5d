"""Texts of a column -> times in nanoseconds, token counts and hashed ids; whole batches at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulator.records import IntArray
from simulator.trace_files.rows import MAX_TOKENS, BadValueError, first_index

NS_PER_UNIT: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
# A time since 1970 tells its unit by its size; below the first bound it is seconds.
UNIT_BY_SIZE: Final = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"))
# Since 1970 in seconds, and not since the start of a recording: later than 2001.
EPOCH_NS: Final = 1_000_000_000 * NS_PER_UNIT["s"]
MAX_NS: Final = 4.6e18  # so that the difference of two fits 64 bits
TIME_NEED: Final = "a time (a number or ISO 8601)"
# A pyarrow.StringArray; the stubs know too little of what its functions return.
Texts = Any
BoolArray = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Clock:
    """Reads the times of one file; the first batch settles how, unless the format does.

    Attributes:
        unit: A key of NS_PER_UNIT, `iso` or `iso with zone`; None until it is known.
    """

    unit: str | None = None

    def to_ns(self, texts: Texts, field_name: str) -> tuple[IntArray, BoolArray]:
        """(rows,) nanoseconds, 0 where there is none, and whether there is one.

        Raises:
            BadValueError: At the first text that is no time.
        """
        known = np.asarray(pc.is_valid(texts))
        if self.unit is None:
            self.unit = _guess(texts)
        if self.unit in NS_PER_UNIT:
            return _numbers_to_ns(texts, field_name, NS_PER_UNIT[self.unit]), known
        zone = "UTC" if self.unit == "iso with zone" else None
        stamps = _cast(texts, pa.timestamp("ns", zone), field_name, f"{TIME_NEED}, as above")
        return _integers(stamps.cast(pa.int64())), known


def _guess(texts: Texts) -> str | None:
    given = texts.drop_null()
    if len(given) == 0:
        return None
    first = str(given[0])
    try:
        float(first)
    except ValueError:
        return "iso with zone" if first.endswith("Z") or "+" in first[10:] else "iso"
    numbers = np.abs(np.array(_floats(given)))
    largest = float(numbers[np.isfinite(numbers)].max(initial=0.0))
    return next((unit for bound, unit in UNIT_BY_SIZE if largest >= bound), "s")


def _floats(texts: Texts) -> list[float]:
    numbers = []
    for text in texts.to_pylist():
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(0.0)
    return numbers


def _numbers_to_ns(texts: Texts, field_name: str, ns_per_unit: int) -> IntArray:
    need = TIME_NEED
    try:
        exact = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        exact = None
    values = _cast(texts, pa.float64(), field_name, need).fill_null(0.0).to_numpy()
    bad = ~(np.abs(values) * ns_per_unit < MAX_NS)
    if bad.any():
        index = first_index(bad)
        raise BadValueError(index, field_name, texts[index], need)
    if exact is not None:  # a float does not hold all digits of nanoseconds since 1970
        return _integers(exact) * ns_per_unit
    rounded: IntArray = np.rint(values * ns_per_unit).astype(np.int64)
    return rounded


def to_counts(
    texts: Texts, field_name: str, *, high: int = MAX_TOKENS
) -> tuple[IntArray, BoolArray]:
    """(rows,) whole numbers from 0 on, 0 where there is none, and whether there is one.

    Raises:
        BadValueError: At the first text that is no such number.
    """
    need = f"a whole number from 0 to {high}"
    known = np.asarray(pc.is_valid(texts))
    try:
        numbers = _integers(texts.cast(pa.int64()))
        bad = (numbers < 0) | (numbers > high)
    except pa.ArrowInvalid:
        values = _cast(texts, pa.float64(), field_name, need).fill_null(0.0).to_numpy()
        bad = ~((values >= 0) & (values <= high) & (values == np.rint(values)))
        numbers = np.where(bad, 0.0, values).astype(np.int64)
    if bad.any():
        index = first_index(bad)
        raise BadValueError(index, field_name, texts[index], need)
    return numbers, known


def to_ids(texts: Texts) -> IntArray:
    """(rows,) a number per text, the same for the same text; it does not tell the text."""
    return to_codes(texts, _hashed)


def _hashed(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def to_codes(texts: Texts, code_of: Callable[[str], int]) -> IntArray:
    """(rows,) the code of each text."""
    encoded = texts.fill_null("").dictionary_encode()
    codes = [code_of(name) for name in encoded.dictionary.to_pylist()]
    of_row: IntArray = np.array(codes, dtype=np.int64)[np.asarray(encoded.indices)]
    return of_row


def as_texts(values: Texts) -> Texts:
    """Trimmed texts; what is empty is missing."""
    texts: Texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    is_empty = pc.equal(pc.utf8_length(texts), pa.scalar(0))
    return pc.if_else(is_empty, pa.scalar(None, pa.string()), texts)


def _integers(values: Texts) -> IntArray:
    numbers: IntArray = np.asarray(values.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    return numbers


def _cast(texts: Texts, kind: pa.DataType, field_name: str, need: str) -> Any:
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        pass
    # The cast does not say where it failed: halve until it is one text.
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            texts.slice(low, middle - low).cast(kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    raise BadValueError(low, field_name, texts[low], need)

"""How vectors are stored: as float32, as float16, or as int8 with a scale for each."""

import numpy as np
import torch


def stored_type(dtype: str, dimension: int) -> np.dtype:
    """The NumPy type of one stored vector. In int8 it takes D + 4 bytes."""
    if dtype != "int8":
        return np.dtype((dtype, (dimension,)))
    return np.dtype([("numbers", np.int8, (dimension,)), ("scale", np.float32)])


def is_stored(vectors: np.ndarray) -> bool:
    """Whether an array is what `to_stored` makes."""
    if vectors.dtype.names == ("numbers", "scale"):
        dimensions = vectors.dtype["numbers"].shape or (0,)
        return vectors.ndim == 1 and vectors.dtype == stored_type("int8", dimensions[0])
    return vectors.ndim == 2 and vectors.dtype in (np.float32, np.float16)


def to_stored(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """(N, D) float32 vectors as they are stored.

    In int8, the number of largest magnitude is 127 or -127, and a scale gives its size back.
    """
    if dtype != "int8":
        with np.errstate(over="ignore"):  # to infinity, which the caller looks for
            return vectors.astype(dtype)
    scales = np.abs(vectors).max(axis=1) / 127
    stored = np.empty(len(vectors), stored_type(dtype, vectors.shape[1]))
    stored["numbers"] = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
    stored["scale"] = scales
    return stored


def from_stored(stored: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
    """(N, D) float32; `into` is filled with them and returned."""
    if into is None:
        into = np.empty((len(stored), dimension_of(stored)), np.float32)
    if stored.dtype.names:
        np.multiply(stored["numbers"], stored["scale"][:, None], out=into)
    elif stored.dtype == np.float16:  # by torch, which takes a tenth of NumPy's time
        torch.from_numpy(into).copy_(torch.from_numpy(np.ascontiguousarray(stored)))
    else:
        into[:] = stored
    return into


def dimension_of(stored: np.ndarray) -> int:
    """D of the vectors."""
    if stored.dtype.names is None:
        return stored.shape[1]
    return int(stored.dtype["numbers"].shape[0])

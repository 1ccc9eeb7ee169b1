"""The errors that the user can fix: bad input, and a disk that takes no more."""

import errno
import os

NAMES = ("ENOSPC", "EFBIG", "EROFS", "EACCES", "EDQUOT")  # Windows lacks the last
FULL: tuple[int, ...] = tuple(getattr(errno, n) for n in NAMES if hasattr(errno, n))


class InputError(ValueError):
    """Bad input: the message names the file, line or key and says what to do about it."""


def of_the_disk(error: BaseException) -> str | None:
    """What the system said if something could not be written, else None.

    Libraries in C++, Rust and Java put it into the text of errors of their own.
    """
    said = [os.strerror(code) for code in FULL]
    if isinstance(error, OSError) and error.errno is not None and error.errno in FULL:
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    return next((words for words in said if words in str(error)), None)

"""Errors that the user can fix: bad input, and a full or read-only disk."""

import errno
import os

NAMES = ("ENOSPC", "EFBIG", "EROFS", "EACCES", "EDQUOT")  # Windows lacks the last
DISK_ERRORS = tuple(getattr(errno, name) for name in NAMES if hasattr(errno, name))


class InputError(ValueError):
    """Bad input: the message names the file, line or key and says how to fix it."""


def disk_error_message(error: BaseException) -> str | None:
    """The operating system's message if a file could not be written, else None.

    C++, Rust and Java libraries raise errors of their own that contain the message.
    """
    if isinstance(error, OSError) and error.errno is not None and error.errno in DISK_ERRORS:
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    messages = map(os.strerror, DISK_ERRORS)
    return next((message for message in messages if message in str(error)), None)

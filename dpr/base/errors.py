"""The one kind of error that the user can fix."""


class InputError(ValueError):
    """Bad input: the message names the file, line or key and says what to do about it."""

"""Cleaning of text, the same for every collection."""

import ftfy

_CONFIG = ftfy.TextFixerConfig(explain=False)


def clean(text: str | None) -> str:
    """Repair mojibake and other damage with ftfy; runs of white space become one space."""
    return " ".join(ftfy.fix_text(text or "", _CONFIG).split())

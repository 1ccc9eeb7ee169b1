"""Cleaning of text, the same for every source."""

import ftfy

_CONFIG = ftfy.TextFixerConfig(explain=False)


def clean(text: str | None) -> str:
    """Repair mojibake and other damage with ftfy; runs of white space become one space."""
    return " ".join(ftfy.fix_text(text or "", _CONFIG).split())


def is_repaired(raw: str | None, cleaned: str) -> bool:
    """Whether cleaning changed more than white space."""
    return " ".join((raw or "").split()) != cleaned

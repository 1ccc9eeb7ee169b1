"""Cleaning of text, the same for every source."""

import ftfy

_CONFIG = ftfy.TextFixerConfig(explain=False)


def clean(text: str | None) -> str:
    """Repair mojibake and other damage with ftfy; runs of white space become one space."""
    text = text or ""
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = ftfy.fix_text(text, _CONFIG)  # slow; it changes nothing in plain ASCII
    return " ".join(text.split())


def is_repaired(raw: str | None, cleaned: str) -> bool:
    """Whether cleaning changed more than white space."""
    return " ".join((raw or "").split()) != cleaned

"""The words of a query in a passage: which they are, and the part of the passage that has most."""

import re
from collections.abc import Iterator

# The commonest words of English say nothing about a passage.
COMMON = """
    a an and are as at be but by can did do does for from had has have how if in into is it its
    not of on or such that the their then there these they this to was what when which who why
    will with
"""
SHORTEST, ENDING = 4, 3  # letters that a word keeps at least, and that it may lose at its end


class Words:
    """The words of a query. Words with the same beginning are the same: wound, wounds, wounded."""

    def __init__(self, query: str):
        found = {word.casefold() for word in re.findall(r"\w+", query)} - set(COMMON.split())
        either = "|".join(_stem(word) for word in sorted(found))
        self.pattern = re.compile(rf"\b(?:{either})", re.IGNORECASE) if found else None

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """(part, whether it is a word of the query), which together are the text."""
        at = 0
        for match in self.pattern.finditer(text) if self.pattern else ():
            if match.start() > at:
                yield text[at : match.start()], False
            yield match[0], True
            at = match.end()
        if at < len(text):
            yield text[at:], False

    def snippet(self, text: str, length: int = 280) -> str:
        """The part of about this length, whole words, with most different words of the query."""
        if len(text) <= length or self.pattern is None:
            return _cut(text, 0, length)
        found = [(m.start(), m[0].casefold()[:SHORTEST]) for m in self.pattern.finditer(text)]
        starts = [max(0, start - 40) for start, _ in found] or [0]

        def words_from(start: int) -> int:
            return len({word for at, word in found if start <= at < start + length - 20})

        return _cut(text, max(starts, key=words_from), length)


def _stem(word: str) -> str:
    """A pattern for the word with other endings; of a short one only the plural."""
    stem = re.escape(word[: max(SHORTEST, len(word) - ENDING)])
    return stem + (r"\w*" if len(word) >= SHORTEST else r"s?\b")


def _cut(text: str, start: int, length: int) -> str:
    start = min(start, max(0, len(text) - length))
    end = start + length
    if start:
        space = text.find(" ", start, end)
        start = space + 1 if space >= 0 else start
    if end < len(text):
        end = text.rfind(" ", start, end + 1) if " " in text[start : end + 1] else end
    return "… " * (start > 0) + text[start:end] + " …" * (end < len(text))

"""When two texts count as the same."""


def folded(text: str) -> str:
    """The text without differences of case and white space."""
    return " ".join(text.casefold().split())

"""Texts to token ids, and token ids to padded batches of similar length."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import tokenizers

from dpr.base.errors import InputError
from dpr.encoders.spec import ROLES, EncoderSpec, Role, read_spec
from dpr.records.types import Query

TOKENIZED_AT_ONCE = 1_000  # texts; the tokenizer's own output is large
Tokens = np.ndarray  # (T,) int32 token ids of one text, with special tokens, truncated


class Tokenizer:
    """The tokenizers of an encoder, with its prefixes and lengths.

    It needs neither torch nor transformers, which take seconds to load.
    """

    def __init__(self, backends: Mapping[Role, tokenizers.Tokenizer], spec: EncoderSpec):
        self.backends, self.spec = backends, spec
        for backend in backends.values():
            backend.no_padding()

    @classmethod
    def open(cls, folder: Path) -> "Tokenizer":
        """The tokenizers of a saved encoder. Raises InputError if one is missing or damaged."""
        spec = read_spec(folder)
        opened = cache(_opened)
        return cls({r: opened(folder / spec.side(r).modules[0]) for r in ROLES}, spec)

    def tokenize(self, texts: list[str], role: Role, max_length: int | None = None) -> list[Tokens]:
        """Token ids of each text, with the role's prefix, truncated to `limit` tokens."""
        limit = self.limit(role, max_length)
        if limit is None:
            self.backends[role].no_truncation()
        else:
            direction = self.spec.side(role).truncation_side
            self.backends[role].enable_truncation(limit, direction=direction)
        return self._token_ids(texts, role)

    def limit(self, role: Role, max_length: int | None = None) -> int | None:
        """The most tokens of a text and its prefix, which takes none from the text; None: all.

        The text has the role's length, or `max_length` if that is shorter.
        """
        lengths = [n for n in (self.spec.side(role).max_length, max_length) if n is not None]
        return min(lengths) + self.prefix_tokens(role) if lengths else None

    def prefix_tokens(self, role: Role) -> int:
        self.backends[role].no_truncation()
        [with_prefix] = self._token_ids(["a"], role)
        [without] = self._token_ids(["a"], role, prefix="")
        return max(0, len(with_prefix) - len(without))

    def prompt_length(self, role: Role) -> int:
        """Leading tokens that a pooling without `include_prompt` leaves out; else 0.

        As sentence-transformers counts them: the prefix alone, without a closing special token.
        """
        side = self.spec.side(role)
        if side.include_prompt or not side.prefix:
            return 0
        self.backends[role].no_truncation()
        encoded = self.backends[role].encode(side.prefix, add_special_tokens=side.special_tokens)
        return len(encoded.ids) - sum(encoded.special_tokens_mask[-1:])

    def count(self, texts: list[str], role: Role) -> list[int]:
        """Tokens of each text before truncation, without the role's prefix.

        `tokenize` truncates a text that has more than the role's length.
        """
        prefix = self.prefix_tokens(role)
        self.backends[role].no_truncation()
        return [len(ids) - prefix for ids in self._token_ids(texts, role)]

    def _token_ids(self, texts: list[str], role: Role, prefix: str | None = None) -> list[Tokens]:
        side, backend = self.spec.side(role), self.backends[role]
        prefix = side.prefix if prefix is None else prefix
        tokens: list[Tokens] = []
        for start in range(0, len(texts), TOKENIZED_AT_ONCE):
            batch = [prefix + text for text in texts[start : start + TOKENIZED_AT_ONCE]]
            encoded = backend.encode_batch_fast(batch, add_special_tokens=side.special_tokens)
            tokens += [np.array(text.ids, dtype=np.int32) for text in encoded]
        return tokens


def _opened(folder: Path) -> tokenizers.Tokenizer:
    file = folder / "tokenizer.json"
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower one
        raise InputError(f"{file}: cannot be read ({error}); make it again") from None


def tokenize_queries(
    tokenizer: Tokenizer, queries: Sequence[Query], prompts: Sequence[str] | None
) -> list[Tokens]:
    """Token ids of each training query, after the prompt of its source.

    Args:
        prompts: one per source, which replaces the encoder's query prefix; None keeps that.
    Raises:
        InputError: for prompts, if the pooling leaves out a prompt: it has one length for all.
    """
    if prompts is None:
        return tokenizer.tokenize([query.text for query in queries], "query")
    if not tokenizer.spec.query.include_prompt:
        raise InputError(
            "params.yaml: data.prompts: the pooling of this model leaves out its prompt, which is "
            "then the same for all queries; set null, and model.query_prefix to the prompt"
        )
    tokens: dict[int, Tokens] = {}
    for source, prompt in enumerate(prompts, start=1):
        rows = [row for row, query in enumerate(queries) if query.mixture_source == source]
        side = replace(tokenizer.spec.query, prefix=prompt)
        with_prompt = Tokenizer(tokenizer.backends, replace(tokenizer.spec, query=side))
        of_source = with_prompt.tokenize([queries[row].text for row in rows], "query")
        tokens.update(zip(rows, of_source, strict=True))
    return [tokens[row] for row in range(len(queries))]


def padded(tokens: list[Tokens], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """B texts -> (B, T) int64 token ids, padded on the right, and (B, T) int64 mask.

    A text of no tokens gets one of padding: some tokenizers add no special token to an empty text.
    """
    input_ids = np.full((len(tokens), max([1, *map(len, tokens)])), padding)
    mask = np.zeros_like(input_ids)
    mask[:, 0] = 1
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask


def token_batches(tokens: list[Tokens], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of texts in batches of similar length, longest first.

    A batch holds at most `batch_tokens` tokens, padding included, but at least one text.
    """
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
    while order:
        size = max(1, batch_tokens // max(1, len(tokens[order[0]])))
        yield order[:size]
        order = order[size:]

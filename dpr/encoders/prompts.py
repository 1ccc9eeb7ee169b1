"""Training queries to tokens: sources of a mixture may have prompts of their own."""

from collections.abc import Sequence
from dataclasses import replace

from dpr.encoders.tokens import Tokenizer, Tokens
from dpr.records.types import Query


def tokenize_queries(
    tokenizer: Tokenizer, queries: Sequence[Query], prompts: Sequence[str] | None
) -> list[Tokens]:
    """Token ids of each query, after the prompt of its source.

    Args:
        prompts: one a source, in place of the encoder's query prefix; None: that, for all.
    """
    if prompts is None:
        return tokenizer.tokenize([query.text for query in queries], "query")
    tokens: dict[int, Tokens] = {}
    for source, prompt in enumerate(prompts, start=1):
        own = [i for i, query in enumerate(queries) if query.source == source]
        with_prompt = Tokenizer(tokenizer.backend, replace(tokenizer.spec, query_prefix=prompt))
        made = with_prompt.tokenize([queries[i].text for i in own], "query")
        tokens.update(zip(own, made, strict=True))
    return [tokens[i] for i in range(len(queries))]

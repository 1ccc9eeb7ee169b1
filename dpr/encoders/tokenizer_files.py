"""The tokenizer of a model, and its files: tokenizer.json counts, as it stands.

transformers 5 rebuilds a tokenizer from the vocabulary in that file, by the class that
`tokenizer_class` or else `model_type` names, and loses the rest. Under BERT's class each word of a
Unigram model is `<unk>`, and a cased WordPiece model is lower-cased.
(https://github.com/huggingface/transformers/issues/45701)
"""

import json
import unicodedata
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dpr.base.files import read_json, write_json
from dpr.encoders.model_folder import AS_IT_STANDS, UnusableModel, read_object

FILE, ABOUT, OLDER = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
SPECIAL = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
CALLED = ("padding_side", "truncation_side", "model_input_names", "model_max_length")
# Keys of it that some classes of transformers prefer to those of tokenizer.json.
PREFERRED = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "add_prefix_space": "add_prefix_space",
}
# Scripts, cases, accents, spaces and lengths, by which two tokenizers show that they differ.
PLAIN_TEXTS = (
    "",
    "a",
    "Dense retrieval compares the vectors of a query and a passage.",
    "Thirty-two patients (aged 40-65) were followed for 5 years; 12 of them died, p < 0.05.",
    "What's the U.S. FDA's view on mRNA-1273 and SARS-CoV-2?",
    "interleukin-6 IL6 il-6 TNF-α 5μg/mL H2O CO₂ x² 650841823",  # noqa: RUF001
    "pneumonoultramicroscopicsilicovolcanoconiosis " + "antidisestablishment" * 12,
    "naïve café résumé Ångström São José İstanbul",
    "Die Größe der Straße; Łódź, žluťoučký kůň",
    "Москва — столица, ёлка йод",
    "Η Αθήνα είναι πόλη",  # noqa: RUF001
    "糖尿病患者的治疗。東京での試験データ",
    "당뇨병 환자의 치료",
    "مرض السكري وعلاجه",
    "סוכרת מסוג 2",
    "मधुमेह का उपचार",
    "โรคเบาหวาน",
    "đái tháo đường típ 2",
    "emoji 😀👍🏽 ❤️ … “quotes” ‘single’",  # noqa: RUF001
    "tabs\tand\nlines\r\n and\u00a0no-break \u200bzero\ufeffwidth",
    "def f(x): return x['key'] != {**kw}  # $100,000.00 50% @user",
    "https://example.org/a_b?c=d&e=%20f foo.bar@example.org",
    "Ｆｕｌｌｗｉｄｔｈ ﬁligature ① ½ ™",  # noqa: RUF001
)
TEXTS = [
    variant
    for text in PLAIN_TEXTS
    for variant in (
        *(text, text.upper(), text.title(), unicodedata.normalize("NFD", text)),
        f"  {text.replace(' ', '  ')} ",
    )
]


def complete(tokenizer: Any, folder: Path, lower_case: bool, append_eos: bool) -> None:
    """Add the tokens that the model was trained with and that transformers 5 leaves out.

    Args:
        tokenizer: of transformers, read from this folder.
        lower_case: whether it lower-cases each text, unlike its file.
        append_eos: end each text with the EOS token.
    Raises:
        UnusableModel: for files that contradict each other, or no tokenizer of that library.
    """
    about = (read_object(folder / OLDER) or {}) | (read_object(folder / ABOUT) or {})
    if not getattr(tokenizer, "is_fast", False):
        raise UnusableModel(
            f"it has no tokenizer of the tokenizers library (a {FILE}, or files that one can be "
            "made from)"
        )
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    if (folder / FILE).exists():
        _refuse_contradiction(backend, about)
        if not lower_case:
            in_file = PreTrainedTokenizerFast(tokenizer_file=str(folder / FILE))
            _require_equal(tokenizer, in_file, folder)
    if append_eos and tokenizer.eos_token is None:
        raise UnusableModel("its tokenizer has no EOS token; set model.append_eos to false")
    _add_around(
        tokenizer,
        bos=bool(about.get("add_bos_token") and tokenizer.bos_token),
        eos=bool(append_eos or (about.get("add_eos_token") and tokenizer.eos_token)),
    )


def finish_saved(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let transformers take the saved tokenizer.json as it stands.

    Raises:
        UnusableModel: if it would still tokenize differently.
    """
    about = read_json(folder / ABOUT)
    kept = {key: about[key] for key in (*CALLED, *SPECIAL) if about.get(key) is not None}
    write_json(folder / ABOUT, kept | {"tokenizer_class": AS_IT_STANDS})
    again = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    _require_equal(again, tokenizer, folder)


def _require_equal(
    by_transformers: PreTrainedTokenizerBase, in_file: PreTrainedTokenizerBase, folder: Path
) -> None:
    ids = (one(TEXTS, verbose=False)["input_ids"] for one in (by_transformers, in_file))
    differs = next((text for text, a, b in zip(TEXTS, *ids, strict=True) if a != b), None)
    if differs is not None:
        model_type = (read_object(folder / "config.json") or {}).get("model_type")
        raise UnusableModel(
            f"transformers tokenizes {differs[:40]!r} differently than {FILE}, since it has its "
            f"own class for a {model_type}, whatever {ABOUT} names; take a different model"
        )


def _add_around(tokenizer: Any, bos: bool, eos: bool) -> None:
    """Begin and end each text with these tokens, unless the tokenizer does.

    transformers 4 did so for the keys add_bos_token and add_eos_token; transformers 5 does not.
    This replaces the post-processor, since a second one would not see the tokens of the first.
    """
    backend = tokenizer.backend_tokenizer
    encoded = backend.encode("a")
    added = encoded.special_tokens_mask
    start, end = added.index(0), len(added) - added[::-1].index(0)
    before, after = encoded.tokens[:start], encoded.tokens[end:]
    first = [tokenizer.bos_token] if bos and before[:1] != [tokenizer.bos_token] else []
    last = [tokenizer.eos_token] if eos and after[-1:] != [tokenizer.eos_token] else []
    if first or last:
        tokens = {*first, *before, *after, *last}
        backend.post_processor = TemplateProcessing(
            single=[*first, *before, "$A", *after, *last],
            special_tokens=[(token, backend.token_to_id(token)) for token in tokens],
        )


def _refuse_contradiction(backend: tokenizers.Tokenizer, about: dict[str, Any]) -> None:
    """Where the two files disagree, the model may have been trained by either."""
    state = json.loads(backend.to_str())
    steps = [*_steps(state["normalizer"]), *_steps(state["pre_tokenizer"])]
    claims = [(key, step[own]) for key, own in PREFERRED.items() for step in steps if own in step]
    for key, in_file in claims:
        if None not in (in_file, about.get(key)) and about[key] != in_file:
            raise UnusableModel(
                f"{ABOUT} says {key}: {json.dumps(about[key])}, {FILE} {json.dumps(in_file)}; in a "
                "local folder, set both to the value of the model's training"
            )


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer of tokenizer.json as a list: the parts of a sequence."""
    inner = (part or {}).get("normalizers") or (part or {}).get("pretokenizers")
    if inner is None:
        return [part] if part else []
    return [step for each in inner for step in _steps(each)]

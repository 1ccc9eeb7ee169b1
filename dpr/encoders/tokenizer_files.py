"""The tokenizer of a model, and its files: tokenizer.json counts, as it stands.

transformers 5 rebuilds a tokenizer from the vocabulary in that file, by the class that
`tokenizer_class` or else `model_type` names, and loses the rest. Under BERT's class each word of a
Unigram model is `<unk>`, and a cased WordPiece model is lower-cased.
(https://github.com/huggingface/transformers/issues/45701)
"""

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dpr.base.errors import InputError
from dpr.base.files import read_json, write_json
from dpr.encoders.recorded import Files
from dpr.encoders.tokens import add_around, added_around

FILE, ABOUT, OLDER = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
SPECIAL = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
# The remaining keys of tokenizer_config.json that decide how transformers calls a tokenizer.
CALLED = ("padding_side", "truncation_side", "model_input_names")
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


def read_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id; without a tokenizer.json, the one of transformers.

    Raises:
        OSError, ValueError: for one that is missing, damaged, or contradicted by
            tokenizer_config.json.
    """
    files = Files(str(source), revision)
    path, about = files.path(FILE), (files.json(OLDER) or {}) | (files.json(ABOUT) or {})
    if path is None:
        rebuilt: Any = _of_transformers(source, revision)
        if not rebuilt.is_fast:
            return rebuilt
        return _wrapped(rebuilt.backend_tokenizer, _about(rebuilt))
    try:
        rebuilt = _of_transformers(source, revision)
    except Exception:  # TypeError, among others, for a class that does not fit the file
        rebuilt = None
    backend = _opened(path)
    tokenizer = _wrapped(backend, _about(rebuilt) if rebuilt else about)
    if rebuilt and (differs := _first_difference(tokenizer, rebuilt)) is not None:
        _refuse_contradiction(backend, about)
        print(
            f"{source}: transformers does not read {FILE} as it stands, and tokenizes "
            f"{differs[:40]!r} differently; the file counts",
            file=sys.stderr,
        )
    _add_recorded(tokenizer, about, source)
    return tokenizer


def read_saved(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that `save_tokenizer` wrote. Raises ValueError if it is damaged."""
    return _wrapped(_opened(folder / FILE), read_json(folder / ABOUT))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
    """Write a tokenizer beside the config.json of its transformer.

    Raises:
        InputError: if transformers, and so sentence-transformers, would tokenize differently.
    """
    backend = tokenizer.backend_tokenizer
    _free(backend)
    backend.save(str(folder / FILE))
    # This class takes the file as it stands.
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    write_json(folder / ABOUT, _about(tokenizer) | about)
    differs = _first_difference(tokenizer, _of_transformers(folder))
    if differs is not None:
        model_type = read_json(folder / "config.json").get("model_type")
        raise InputError(
            f"params.yaml: model.name: transformers tokenizes {differs[:40]!r} differently than "
            f"{FILE}, since it has its own class for a {model_type}, whatever {ABOUT} names; take "
            "a different model"
        )


def same_tokens(one: PreTrainedTokenizerBase, two: PreTrainedTokenizerBase) -> bool:
    return one.get_vocab() == two.get_vocab() and _first_difference(one, two) is None


def _of_transformers(source: str | Path, revision: str | None = None) -> Any:
    return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


def _first_difference(one: PreTrainedTokenizerBase, two: PreTrainedTokenizerBase) -> str | None:
    """The first text with different ids; None if there is none."""
    ids = (tokenizer(TEXTS, verbose=False)["input_ids"] for tokenizer in (one, two))
    return next((text for text, a, b in zip(TEXTS, *ids, strict=True) if a != b), None)


def _opened(path: str | Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise ValueError(f"{FILE} cannot be read ({error})") from None


def _free(backend: tokenizers.Tokenizer) -> None:
    """Drop the truncation and padding of the last call."""
    backend.no_truncation()
    backend.no_padding()


def _about(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {key: value for key in (*CALLED, *SPECIAL) if (value := getattr(tokenizer, key))}


def _wrapped(backend: tokenizers.Tokenizer, about: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer in transformers' interface, with the special tokens of its vocabulary."""
    _free(backend)
    tokens = {key: about[key] for key in SPECIAL if about.get(key)}
    named = {key: t["content"] if isinstance(t, dict) else t for key, t in tokens.items()}
    known = {key: token for key, token in named.items() if backend.token_to_id(token) is not None}
    called = {key: about[key] for key in CALLED if about.get(key)}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **called, **known)


def _add_recorded(
    tokenizer: PreTrainedTokenizerBase, about: dict[str, Any], source: str | Path
) -> None:
    """Add the tokens of add_bos_token and add_eos_token, with which the model was trained.

    transformers 4 did so; transformers 5 does not.
    """
    backend = tokenizer.backend_tokenizer
    before = added_around(backend)
    names = [name for name in ("bos", "eos") if about.get(f"add_{name}_token")]
    add_around(backend, **{name: getattr(tokenizer, f"{name}_token") for name in names})
    if added_around(backend) != before:
        keys = " and ".join(f"add_{name}_token" for name in names)
        print(f"{source}: {ABOUT} says {keys}, so it is added", file=sys.stderr)


def _refuse_contradiction(backend: tokenizers.Tokenizer, about: dict[str, Any]) -> None:
    """Where the two files disagree, the model may have been trained by either."""
    state = json.loads(backend.to_str())
    steps = [*_steps(state["normalizer"]), *_steps(state["pre_tokenizer"])]
    claims = [(key, step[own]) for key, own in PREFERRED.items() for step in steps if own in step]
    for key, in_file in claims:
        if None not in (in_file, about.get(key)) and about[key] != in_file:
            raise ValueError(
                f"{ABOUT} says {key}: {json.dumps(about[key])}, {FILE} {json.dumps(in_file)}; in a "
                "local folder, set both to the value of the model's training"
            )


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer of tokenizer.json as a list: the parts of a sequence."""
    inner = (part or {}).get("normalizers") or (part or {}).get("pretokenizers")
    if inner is None:
        return [part] if part else []
    return [step for each in inner for step in _steps(each)]

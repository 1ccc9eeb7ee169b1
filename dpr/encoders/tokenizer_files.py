"""Texts on which two tokenizers show that they differ: scripts, cases, accents, spaces, lengths.

Which tokenizer a model has, and its files: that of tokenizer.json, as it stands.

transformers 5 makes a tokenizer anew from the vocabulary in that file, by the class that
`tokenizer_class` or else `model_type` names; what the class does not know is lost. Under BERT's
each word of a Unigram model is `<unk>`, and a cased WordPiece model is lower-cased.
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

_TEXTS = (
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
    changed
    for text in _TEXTS
    for changed in (
        text,
        text.upper(),
        text.title(),
        f"  {text.replace(' ', '  ')} ",
        unicodedata.normalize("NFD", text),
    )
]


FILE, ABOUT, OLDER = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
SPECIAL = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
# What else of tokenizer_config.json decides how transformers calls a tokenizer.
CALLED = ("padding_side", "truncation_side", "model_input_names")
# Its keys that some classes of transformers prefer to those of tokenizer.json.
PREFERRED = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "add_prefix_space": "add_prefix_space",
}


def read_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id; without a tokenizer.json, what transformers makes.

    Raises:
        OSError, ValueError: for one that is missing, damaged, or contradicted by
            tokenizer_config.json.
    """
    files = Files(str(source), revision)
    path, about = files.path(FILE), (files.json(OLDER) or {}) | (files.json(ABOUT) or {})
    if path is None:
        theirs: Any = _of_transformers(source, revision)
        return _wrapped(theirs.backend_tokenizer, _about(theirs)) if theirs.is_fast else theirs
    try:
        theirs = _of_transformers(source, revision)
    except Exception:  # TypeError, among others, for a class that does not fit the file
        theirs = None
    backend = _opened(path)
    tokenizer = _wrapped(backend, _about(theirs) if theirs else about)
    if theirs and (differs := _first_difference(tokenizer, theirs)) is not None:
        _refuse_contradiction(backend, about)
        print(
            f"{source}: transformers does not read {FILE} as it stands, and makes other tokens of "
            f"{differs[:40]!r}, for one; taken is the file",
            file=sys.stderr,
        )
    _add_asked(tokenizer, about, source)
    return tokenizer


def read_saved(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that `save_tokenizer` wrote. Raises ValueError if it is damaged."""
    return _wrapped(_opened(folder / FILE), read_json(folder / ABOUT))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
    """Write a tokenizer beside the config.json of its transformer.

    Raises:
        InputError: if transformers, and so sentence-transformers, would read another one.
    """
    backend = tokenizer.backend_tokenizer
    _free(backend)  # do not save what the last call set
    backend.save(str(folder / FILE))
    # The class without a recipe of its own, which takes the file as it stands.
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    write_json(folder / ABOUT, _about(tokenizer) | about)
    theirs = _of_transformers(folder)
    if (differs := _first_difference(tokenizer, theirs)) is not None:
        raise InputError(
            f"params.yaml: model.name: transformers makes other tokens of {differs[:40]!r} than "
            f"{FILE} says, since it takes a class of its own for a {_kind(folder)}, whatever "
            f"{ABOUT} names; take another model"
        )


def _kind(folder: Path) -> str:
    return str(read_json(folder / "config.json").get("model_type"))


def _of_transformers(source: str | Path, revision: str | None = None) -> Any:
    return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


def same_tokens(one: PreTrainedTokenizerBase, two: PreTrainedTokenizerBase) -> bool:
    return one.get_vocab() == two.get_vocab() and _first_difference(one, two) is None


def _first_difference(one: PreTrainedTokenizerBase, two: PreTrainedTokenizerBase) -> str | None:
    """The first text of which they make different ids; None if there is none."""
    ids = (tokenizer(TEXTS, verbose=False)["input_ids"] for tokenizer in (one, two))
    return next((text for text, a, b in zip(TEXTS, *ids, strict=True) if a != b), None)


def _opened(path: str | Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise ValueError(f"{FILE} cannot be read ({error})") from None


def _free(backend: tokenizers.Tokenizer) -> None:
    backend.no_truncation()
    backend.no_padding()


def _about(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {key: found for key in (*CALLED, *SPECIAL) if (found := getattr(tokenizer, key))}


def _wrapped(backend: tokenizers.Tokenizer, about: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers calls it, with those special tokens that it has."""
    _free(backend)
    tokens = {key: about[key] for key in SPECIAL if about.get(key)}
    named = {key: t["content"] if isinstance(t, dict) else t for key, t in tokens.items()}
    known = {key: token for key, token in named.items() if backend.token_to_id(token) is not None}
    called = {key: about[key] for key in CALLED if about.get(key)}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **called, **known)


def _add_asked(
    tokenizer: PreTrainedTokenizerBase, about: dict[str, Any], source: str | Path
) -> None:
    """What the config asks for, transformers 4 added and 5 leaves out if the file does not say so.

    A model that was trained with it needs it.
    """
    backend = tokenizer.backend_tokenizer
    before = added_around(backend)
    asked = [name for name in ("bos", "eos") if about.get(f"add_{name}_token")]
    add_around(backend, **{name: getattr(tokenizer, f"{name}_token") for name in asked})
    if added_around(backend) != before:
        added = " and ".join(f"add_{name}_token" for name in asked)
        print(f"{source}: {ABOUT} says {added}, so it is added", file=sys.stderr)


def _refuse_contradiction(backend: tokenizers.Tokenizer, about: dict[str, Any]) -> None:
    """Where the two files say different things, a model may have been trained by either."""
    state = json.loads(backend.to_str())
    steps = [*_steps(state["normalizer"]), *_steps(state["pre_tokenizer"])]
    claims = [(key, step[own]) for key, own in PREFERRED.items() for step in steps if own in step]
    for key, in_file in claims:
        if None not in (in_file, about.get(key)) and about[key] != in_file:
            raise ValueError(
                f"{ABOUT} says {key}: {json.dumps(about[key])}, {FILE} {json.dumps(in_file)}; in a "
                f"local folder, set the first to what the model was trained with, and make {FILE} "
                "say the same"
            )


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer of tokenizer.json as a list: the parts of a sequence."""
    inner = (part or {}).get("normalizers") or (part or {}).get("pretokenizers")
    if inner is None:
        return [part] if part else []
    return [step for each in inner for step in _steps(each)]

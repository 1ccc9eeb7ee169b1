"""Texts on which two tokenizers show that they differ: scripts, cases, accents, spaces, lengths."""

import unicodedata

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

"""Families of models: tiny ones of random weights, each saved as its family is.

That is, with the head that it was pretrained with, which an encoder does not read.
"""

import json
from typing import NamedTuple

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


class Family(NamedTuple):
    head: str  # the class that a published model of the family was saved by
    around: str  # what its tokenizer adds to a text
    config: dict = {}  # noqa: RUF012


DECODER = {"num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 2, "bos_token_id": 0}
DECODERS = {
    "qwen2": Family("Qwen2ForCausalLM", "$A", {"num_key_value_heads": 2}),
    "qwen3": Family("Qwen3ForCausalLM", "$A </s>", DECODER),
    "llama": Family("LlamaForCausalLM", "<s> $A", DECODER),
    "mistral": Family("MistralForCausalLM", "<s> $A", DECODER),
}
ENCODERS = {
    "bert": Family("BertForMaskedLM", "<s> $A </s>"),
    "roberta": Family("RobertaForMaskedLM", "<s> $A </s>"),
    "distilbert": Family(
        "DistilBertForMaskedLM",
        "<s> $A </s>",
        {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    ),
    "modernbert": Family("ModernBertForMaskedLM", "<s> $A </s>", {"global_attn_every_n_layers": 2}),
    "mpnet": Family("MPNetForMaskedLM", "<s> $A </s>"),
    "deberta-v2": Family(
        "DebertaV2ForMaskedLM",
        "<s> $A </s>",
        {
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "xlm-roberta": Family("XLMRobertaForMaskedLM", "<s> $A </s>"),
    "t5": Family("T5ForConditionalGeneration", "$A </s>", {"d_kv": 8, "d_ff": 64}),
}
GEMMA = Family(
    "Gemma3TextModel",
    "<s> $A </s>",
    DECODER
    | {"use_bidirectional_attention": True, "layer_types": ["sliding_attention", "full_attention"]},
)
FAMILIES = DECODERS | ENCODERS | {"gemma3_text": GEMMA}
TOKENIZERS = {  # as they record it
    "qwen3": {"tokenizer_class": "Qwen2Tokenizer"},
    "mistral": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_eos_token": False},
}


def make_tokenizer(name):
    """Byte-level BPE, as Qwen, Llama 3 and ModernBERT have it; that of Llama 2 for Mistral."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=name == "mistral"))
    if name == "mistral":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(" ".join(TEXTS).split(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=FAMILIES[name].around, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def make_folder(folder, name, **tokenizer_config):
    """A model of a family as it is published: config.json, tokenizer.json, model.safetensors."""
    family = FAMILIES[name]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokenizer = make_tokenizer(name)
    sizes |= {"intermediate_size": 64, "vocab_size": tokenizer.get_vocab_size(), "pad_token_id": 1}
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **(sizes | family.config))
    getattr(transformers, family.head)(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    about |= {
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "padding_side": "left" if name in DECODERS else "right",
    }
    about |= TOKENIZERS.get(name, {})
    (folder / "tokenizer_config.json").write_text(json.dumps(about | tokenizer_config))
    return str(folder)

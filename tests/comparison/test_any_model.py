"""What sentence-transformers loads: its vectors, a step of training, saved and loaded again."""

import json
import shutil

import numpy as np
import peft
import pytest
import torch
import transformers
from family_helpers import FAMILIES, TEXTS, make_folder, make_tokenizer
from helpers import PARAMS, settings
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling, StaticEmbedding

from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.encoders.pretrained import pretrained
from dpr.training import parameters

WIDTH = 32
CTRANSLATE2 = {"bert", "roberta", "distilbert", "xlm-roberta"}


def opened(name, **changes):
    return pretrained(PARAMS.model.model_copy(update={"name": str(name)} | changes), None)[0]


def transformer(folder, family="xlm-roberta", **tokenizer_config):
    folder.mkdir(parents=True)
    made = Transformer(make_folder(folder, family, **tokenizer_config), max_seq_length=24)
    torch.manual_seed(len(folder.name))
    for weights in made.parameters():  # far from those of any second model
        weights.data.add_(0.02 * torch.randn_like(weights))
    return made


def static(seed):
    torch.manual_seed(seed)
    return StaticEmbedding(make_tokenizer("xlm-roberta"), embedding_dim=WIDTH)


def chain(work, *head, family="xlm-roberta", **tokenizer_config):
    return [transformer(work / family, family, **tokenizer_config), *head]


def gemma(work):
    """As EmbeddingGemma: attention in both directions, mean, two Dense layers, norm 1."""
    layers = Dense(WIDTH, 96, bias=False, activation_function=torch.nn.Identity())
    last = Dense(96, WIDTH, bias=False, activation_function=torch.nn.Identity())
    return chain(work, Pooling(WIDTH), layers, last, Normalize(), family="gemma3_text")


def shared_side(work):
    shared = transformer(work / "shared")
    heads = [[shared, Pooling(WIDTH), Dense(WIDTH, 16)] for _ in range(2)]
    return [Router.for_query_document(*heads)]


def two_models(work):
    query = [transformer(work / "small", "bert"), Pooling(WIDTH, "cls")]
    passage = [transformer(work / "large", "xlm-roberta"), Pooling(WIDTH)]
    return [Router.for_query_document(query, passage)]


HEADS = {
    "dense": lambda work: chain(work, Pooling(WIDTH), Dense(WIDTH, 20)),
    "layer norm": lambda work: chain(work, Pooling(WIDTH), LayerNorm(WIDTH), Normalize()),
    "weighted": lambda work: chain(work, Pooling(WIDTH, "weightedmean")),
    "square root": lambda work: chain(work, Pooling(WIDTH, "mean_sqrt_len_tokens")),
    "concatenated": lambda work: chain(work, Pooling(WIDTH, ("cls", "mean", "max", "lasttoken"))),
    "static": lambda work: [static(1)],
    "static and dense": lambda work: [static(1), Dense(WIDTH, 16)],
    "router of two models": two_models,
    "router with a shared side": shared_side,
    "static queries": lambda work: [
        Router.for_query_document([static(2)], [transformer(work / "p"), Pooling(WIDTH)])
    ],
    "left truncation": lambda work: chain(work, Pooling(WIDTH), truncation_side="left"),
    "prompt left out": lambda work: chain(
        work,
        Pooling(WIDTH, ("cls", "mean", "max", "lasttoken", "weightedmean"), include_prompt=False),
    ),
    "embedding gemma": gemma,
}
PROMPTS = {"query": "heart of: ", "document": "liver: "}


def write(model, folder, **prompts):
    model = SentenceTransformer(modules=model, device="cpu", prompts=prompts or None)
    model.save_pretrained(str(folder), create_model_card=False)


def require_same_vectors(folder, tmp_path, engine=None):
    """Vectors of ours and theirs; a step of training; saved, loaded, and by our engines."""
    kwargs = {"dtype": torch.float32}
    theirs = SentenceTransformer(str(folder), device="cpu", model_kwargs=kwargs)
    kwargs = {"normalize_embeddings": True}
    expected = {
        "query": theirs.encode_query(TEXTS, **kwargs),
        "passage": theirs.encode_document(TEXTS, **kwargs),
    }
    encoder = opened(folder)
    for role, vectors in expected.items():
        np.testing.assert_allclose(embed(encoder, role), vectors, atol=1e-5)
    assert np.abs(expected["passage"][0] - expected["passage"][1]).max() > 0.003

    parameters.prepare(encoder, settings(dropout=0.0))
    optimizer = torch.optim.AdamW(parameters.groups(encoder, 1e-2, 0.01))
    queries, passages = (encoder(encoder.tokenize(TEXTS, role), role) for role in expected)
    torch.nn.functional.cross_entropy(queries @ passages.T, torch.arange(len(TEXTS))).backward()
    trained = [weights for weights in encoder.parameters() if weights.requires_grad]
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in trained)
    optimizer.step()
    encoder.eval()
    after = {role: embed(encoder, role) for role in expected}
    assert all(np.abs(after[role] - expected[role]).max() > 1e-3 for role in expected)

    saved = tmp_path / "saved"
    checkpoint.save(encoder, saved)
    again, as_model = checkpoint.load(saved), opened(saved)
    theirs = SentenceTransformer(str(saved), device="cpu")
    of_theirs = {"query": theirs.encode_query(TEXTS), "passage": theirs.encode_document(TEXTS)}
    exact = Embedder(
        saved,
        PARAMS.encode.model_copy(update={"precision": "fp32"}),
        torch.device("cpu"),
        tmp_path / "scratch",
    )
    for role in expected:
        # In training, attention is computed in another order.
        np.testing.assert_allclose(embed(again, role), after[role], atol=1e-6)
        np.testing.assert_array_equal(embed(as_model, role), embed(again, role))
        np.testing.assert_allclose(of_theirs[role], after[role], atol=1e-5)
        np.testing.assert_allclose(exact.embed_texts(TEXTS, role), after[role], atol=1e-5)
    assert engine in (None, exact.engine)


def embed(encoder, role):
    return encoder.embed(encoder.tokenize(TEXTS, role), role, 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_transformer(family, tmp_path):
    (tmp_path / "model").mkdir()
    folder = make_folder(tmp_path / "model", family, model_max_length=24)
    engine = "ctranslate2" if family in CTRANSLATE2 else "torch"
    require_same_vectors(folder, tmp_path, engine)


@pytest.mark.parametrize("prompts", [{}, PROMPTS], ids=["without prompts", "with prompts"])
@pytest.mark.parametrize("head", HEADS)
def test_a_model_of_modules(head, prompts, tmp_path):
    write(HEADS[head](tmp_path), tmp_path / "model", **prompts)
    torch_alone = {"static", "static and dense", "static queries", "embedding gemma"}
    require_same_vectors(
        tmp_path / "model", tmp_path, "torch" if head in torch_alone else "ctranslate2"
    )


def legacy_transformer_folder(folder):
    """As before 2.0: the transformer has a folder of its own."""
    moved = folder / "0_Transformer"
    moved.mkdir()
    for file in list(folder.iterdir()):
        if file.is_file() and file.name not in (
            "modules.json",
            "config_sentence_transformers.json",
        ):
            file.rename(moved / file.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0] |= {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps(modules))


def bin_alone(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def sharded(folder):
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


def left_pooling_flags(folder):
    """The keys that sentence-transformers wrote until version 5."""
    flags = {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(flags))


@pytest.mark.parametrize(
    "change", [legacy_transformer_folder, bin_alone, sharded, left_pooling_flags]
)
def test_files_of_older_versions(change, tmp_path):
    write(chain(tmp_path, Pooling(WIDTH)), tmp_path / "model")
    change(tmp_path / "model")
    require_same_vectors(tmp_path / "model", tmp_path, "ctranslate2")


def test_weights_of_bf16_are_read_in_fp32_or_as_they_are(tmp_path):
    write(chain(tmp_path, Pooling(WIDTH), Dense(WIDTH, 16), family="qwen3"), tmp_path / "model")
    folder = tmp_path / "model"
    transformers.AutoModel.from_pretrained(folder, dtype="bfloat16").save_pretrained(folder)
    require_same_vectors(folder, tmp_path, "torch")
    half = opened(folder, dtype="bfloat16")
    theirs = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "bfloat16"})
    expected = theirs.encode_document(TEXTS, normalize_embeddings=True, convert_to_tensor=True)
    np.testing.assert_allclose(embed(half, "passage"), expected.float().numpy(), atol=0.02)


def test_outputs_of_ours_start_the_next_training(tmp_path):
    """Tied, separate, a query encoder trained alone after that, and LoRA merged."""
    write(chain(tmp_path, Pooling(WIDTH), Dense(WIDTH, 16)), tmp_path / "model", **PROMPTS)
    kinds = {
        "tied": (opened(tmp_path / "model"), "both", 0),
        "separate": (opened(tmp_path / "model", tied=False), "both", 0),
        "query": (opened(tmp_path / "model"), "query", 0),
        "lora": (opened(tmp_path / "model"), "both", 4),
    }
    for name, (encoder, roles, lora_rank) in kinds.items():
        encoder = parameters.for_roles(encoder, roles)
        parameters.prepare(encoder, settings(roles=roles, lora_rank=lora_rank, dropout=0.0))
        for weights in encoder.parameters():
            if weights.requires_grad:
                weights.data += 0.01
        parameters.merge(encoder)
        checkpoint.save(encoder, tmp_path / name)
        if name != "query":
            require_same_vectors(tmp_path / name, tmp_path / f"{name} again")
    again = opened(tmp_path / "query")
    assert not again.spec.tied
    before = checkpoint.load(tmp_path / "query")
    np.testing.assert_array_equal(embed(again, "query"), embed(before, "query"))
    np.testing.assert_array_equal(
        embed(again, "passage"), embed(opened(tmp_path / "model"), "passage")
    )


@pytest.mark.parametrize("place", ["named", "beside"])
@pytest.mark.parametrize("modules", [True, False], ids=["with modules", "alone"])
def test_adapter(tmp_path, place, modules):
    base = tmp_path / "base"
    write(chain(tmp_path, Pooling(WIDTH, "cls")), base)
    model = SentenceTransformer(str(base), device="cpu")
    torch.manual_seed(5)
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    adapted = peft.get_peft_model(model[0].model, config)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    if modules:
        for name in ("modules.json", "1_Pooling"):
            copy = shutil.copytree if (base / name).is_dir() else shutil.copy
            copy(base / name, tmp_path / "adapter" / name)
    about = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    about["base_model_name_or_path"] = str(base) if place == "named" else "/gone/base"
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(about))
    model[0].model = adapted
    expected = model.encode(TEXTS, normalize_embeddings=True)
    encoder = opened(tmp_path / "adapter")
    np.testing.assert_allclose(embed(encoder, "query"), expected, atol=1e-5)
    without = opened(base)
    assert np.abs(embed(without, "query") - expected).max() > 0.01


def test_lora_of_a_transformer_that_both_roles_share(tmp_path):
    write(shared_side(tmp_path), tmp_path / "model")
    encoder = opened(tmp_path / "model")
    parameters.prepare(encoder, settings(lora_rank=2, dropout=0.0))
    for weights in encoder.parameters():
        if weights.requires_grad:
            weights.data += 0.01
    merged = embed(encoder, "query")
    parameters.merge(encoder)
    np.testing.assert_allclose(embed(encoder, "query"), merged, atol=1e-5)
    assert not any("lora" in name for name, _ in encoder.named_parameters())
    checkpoint.save(encoder, tmp_path / "saved")
    np.testing.assert_allclose(embed(opened(tmp_path / "saved"), "query"), merged, atol=1e-5)

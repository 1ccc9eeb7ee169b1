"""init: the encoder before training, which is also the system zero_shot.

Reads the model that model.name names. Makes data/encoders/zero_shot. It is apart from training, so
that training parameters do not rerun its encoding and search.

    python -m stages.init
"""

from dpr.base import runtime
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.spec import EncoderSpec
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    spec = EncoderSpec(
        similarity=settings.similarity,
        pooling=settings.model.pooling,
        tied=settings.model.tied,
        query_max_length=settings.model.query_max_length,
        passage_max_length=settings.model.passage_max_length,
        query_prefix=settings.model.query_prefix,
        passage_prefix=settings.model.passage_prefix,
        append_eos=settings.model.append_eos,
    )
    encoder = pretrained(
        settings.model.name,
        spec,
        settings.model.query_name,
        settings.model.respect_modules,
        settings.model.revision,
        settings.model.query_revision,
        settings.model.dtype,
    )
    checkpoint.save(encoder, "data/encoders/zero_shot")
    parameters, spec = sum(p.numel() for p in encoder.parameters()), encoder.spec
    return (
        f"{settings.model.name}, {parameters:,} parameters, {encoder.dimension} dimensions; "
        f"prompts {spec.query_prefix!r} and {spec.passage_prefix!r}"
    )


if __name__ == "__main__":
    run(main)

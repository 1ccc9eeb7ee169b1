"""The trained encoder of an experiment or Git revision, as the start of a training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import temporary_folder
from stages.run import SCRATCH

PREFIX = "exp:"
ENCODER = "data/encoders/dense"


@contextmanager
def model_folder(name: str | None) -> Iterator[str | None]:
    """The name itself; for `exp:NAME`, a temporary folder with that revision's encoder.

    Raises:
        InputError: for an unknown revision, or if DVC's cache lacks its encoder.
    """
    if not (name and name.startswith(PREFIX)):
        yield name
        return
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    revision = name.removeprefix(PREFIX)
    with temporary_folder(SCRATCH / "init") as work:
        try:
            files = DVCFileSystem(os.environ.get("DVC_ROOT", "."), rev=revision)
            files.get(ENCODER, str(work / "encoder"), recursive=True)
        except (DvcException, SCMError, OSError) as error:
            raise InputError(
                f"params.yaml: model.name: {name}: no such experiment or Git revision, or this DVC "
                f"cache lacks its {ENCODER} ({error}); `dvc exp show` lists the experiments, "
                "`dvc exp pull` and `dvc pull` fetch them"
            ) from None
        yield str(Path(work) / "encoder")

"""The keys of params.yaml, their types and their ranges: decided here alone.

Every key is required, so that no default hides in the code.
"""

from dpr.settings.groups import (
    INDEX_KINDS,
    Bm25Settings,
    DataSettings,
    EncodeSettings,
    Group,
    IndexSettings,
    MedlineSettings,
    Pooling,
    SearchSettings,
)
from dpr.settings.training import VALIDATION_DEPTH, MineSource, TeacherSettings, TrainSettings
from dpr.settings.whole import ROUNDS, Round, Settings, load_settings

__all__ = [
    "INDEX_KINDS",
    "ROUNDS",
    "VALIDATION_DEPTH",
    "Bm25Settings",
    "DataSettings",
    "EncodeSettings",
    "Group",
    "IndexSettings",
    "MedlineSettings",
    "MineSource",
    "Pooling",
    "Round",
    "SearchSettings",
    "Settings",
    "TeacherSettings",
    "TrainSettings",
    "load_settings",
]

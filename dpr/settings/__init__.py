"""The keys of params.yaml, their types and their ranges.

Every key is required, so that the code hides no default.
"""

# ruff: noqa: F401  (the rest of dpr imports these names from here)

from dpr.settings.groups import (
    INDEX_KINDS,
    TRAINED,
    Bm25Settings,
    DataSettings,
    EncodeSettings,
    Group,
    IndexSettings,
    MedlineSettings,
    ModelSettings,
    PassageSettings,
    Pooling,
    RerankSettings,
    RerankTrainSettings,
    Rm3Settings,
    SearchSettings,
)
from dpr.settings.load import load_settings
from dpr.settings.training import (
    MIN_TEMPERATURE,
    VALIDATION_DEPTH,
    MineRanker,
    TeacherSettings,
    TrainSettings,
)
from dpr.settings.whole import ROUNDS, Round, Settings

"""What processor this is, for reports and logs: never for a tracked file."""

import platform
from pathlib import Path

UNITS = {  # flag in /proc/cpuinfo -> what reports call it
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_vnni": "VNNI",
    "amx_tile": "AMX",
}


def processor() -> str:
    """Name, family, model and vector units, such as `AMD EPYC, family 25, model 17 (AVX2, ...)`."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    rows = (line.partition(":") for line in info.read_text().partition("\n\n")[0].splitlines())
    values = {key.strip(): value.strip() for key, _, value in rows}
    flags = values.get("flags", "").split()
    units = ", ".join(name for flag, name in UNITS.items() if flag in flags)
    name = values.get("model name", platform.machine())
    if "cpu family" not in values:
        return name
    return f"{name}, family {values['cpu family']}, model {values['model']} ({units})"

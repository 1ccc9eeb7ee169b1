"""Print what each stage cost when it last ran here: `python -m stages`."""

import json
import sys

from stages import COSTS

if not COSTS.exists():
    sys.exit(f"{COSTS}: no stage has run here yet; `make repro` runs them")
costs = map(json.loads, COSTS.read_text(encoding="utf-8").splitlines())
print("| stage | seconds | peak GiB |\n|---|---|---|")
for cost in {cost["stage"]: cost for cost in costs}.values():
    print(f"| {cost['stage']} | {cost['seconds']:.0f} | {cost['peak_gib']:.1f} |")

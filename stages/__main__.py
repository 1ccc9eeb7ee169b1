"""Print what each stage cost in its last run, from .scratch/costs.jsonl."""

import json

from stages import COSTS

print(f"{'stage':<18} {'seconds':>8} {'peak GiB':>9}")
for line in COSTS.read_text(encoding="utf-8").splitlines():
    cost = json.loads(line)
    print(f"{cost['stage']:<18} {cost['seconds']:>8} {cost['peak_gib']:>9}")

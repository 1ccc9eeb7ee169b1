"""Every stage is killed by SIGKILL, before file operations and at random moments, and run again."""

import random
import signal
import time

import pytest
from graph_helpers import STEPS
from staged import IDS, check_left, check_whole, made, run, start, without_outs

EACH = 5  # kills of a stage before a file operation, and as many at random moments


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_a_killed_stage_ends_with_the_same_bytes(stages_done, tmp_path, step):
    expected, rng = made(stages_done, *step), random.Random(str(step))
    folder, count = tmp_path / "copy", tmp_path / "count"
    without_outs(stages_done, folder, *step)
    started = time.monotonic()
    run(folder, *step, DPR_COUNT_IN=str(count))
    seconds, operations = time.monotonic() - started, int(count.read_text())
    points = [{"DPR_KILL_AT": str(rng.randint(1, operations))} for _ in range(EACH)]
    for point in [*points, *[{}] * EACH]:
        without_outs(stages_done, folder, *step)
        process = start(folder, *step, **point)
        if not point:
            time.sleep(rng.uniform(0.3 * seconds, seconds))
            process.send_signal(signal.SIGKILL)
        process.communicate()
        check_left(folder, step, expected, point)
        run(folder, *step)
        check_whole(folder, step, expected)

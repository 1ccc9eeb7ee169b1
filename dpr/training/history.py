"""What a training records: its steps, its validations, and which of them is the best."""

from typing import NamedTuple


class Step(NamedTuple):
    """One step, counted from 1; the gradient norm is the one before clipping."""

    step: int
    loss: float
    lr: float
    gradient_norm: float
    temperature: float


class Validation(NamedTuple):
    """The encoder after a step; 0 is the one before the training."""

    step: int
    loss: float
    score: float  # what chooses the best
    measured: dict[str, float] = {}  # by name; of a mixture also for each source  # noqa: RUF012


class History(NamedTuple):
    steps: list[Step]
    validations: list[Validation]

    @property
    def best(self) -> Validation:
        """The validation with the highest score; of equal ones the first."""
        return max(self.validations, key=lambda v: v.score)

    def described(self, measure: str) -> str:
        best, before = self.best, self.validations[0]
        scores = f"{measure} {best.score:.4f}, before {before.score:.4f}"
        if self.steps and not best.step:
            kept = "training did not help: the encoder that it began with is kept"
            return f"{len(self.steps)} steps; {kept}; validation {scores}"
        return f"{len(self.steps)} steps; best after {best.step}: validation {scores}"

    def validations_since_best(self) -> int:
        """How many validations have followed the best one."""
        return sum(v.step > self.best.step for v in self.validations)

"""Training a dual encoder with in-batch negatives.

`pairs` reads the training pairs (`texts`, `passages`) and draws each `batch`. The `trainer` takes
steps: `gradients` of the `loss`, AdamW over the `parameters`, a `schedule` of the learning rate.
`validation` scores each checkpoint, `snapshot` resumes a killed training, `log` reports.
"""

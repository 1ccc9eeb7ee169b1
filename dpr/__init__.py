"""Dense passage retrieval: sources, encoders, training, indexes, runs and measures.

A package for each concept; pyproject.toml says which may import which. `settings`, `similarity` and
`measures` are for all of them. Nothing here knows of DVC.
"""

import ast
import sys

if sys.version_info >= (3, 14):
    # ir_measures 0.4.3 reads a measure's parameters by names that Python 3.14 removed.
    ast.Num = ast.Str = ast.NameConstant = ast.Constant
    ast.Constant.n = ast.Constant.s = property(lambda node: node.value)

"""A case as a call that a student can copy: response_mask(["user", "hi"])."""
import json
import math

import torch

WIDE, LONG = 96, 2000                       # letters of a line, of a call


def call(name: str, args: tuple) -> str:
    """"" where an argument cannot be written down (a function), or only at great length."""
    if any(callable(x) for x in args):
        return ""
    words = [written(x) for x in args]
    line = f"{name}({', '.join(words)})"
    if len(line) > WIDE:
        line = f"{name}(\n    " + ",\n    ".join(words) + ")"
    return line if len(line) <= LONG else ""


def written(x) -> str:
    """An argument in Python. Floats have five digits."""
    if isinstance(x, torch.Tensor):
        return f"torch.tensor({written(x.tolist())})"
    if isinstance(x, float):
        return repr(float(f"{x:.5g}")) if math.isfinite(x) else f'float("{x}")'
    if isinstance(x, str):
        return json.dumps(x, ensure_ascii=False)
    if isinstance(x, dict):
        return "{" + ", ".join(f"{written(key)}: {written(y)}" for key, y in x.items()) + "}"
    if isinstance(x, (list, tuple, set)):
        inner = ", ".join(map(written, sorted(x) if isinstance(x, set) else x))
        left, right = {list: "[]", tuple: "()", set: "{}"}[type(x)]
        return left + inner + "," * (type(x) is tuple and len(x) == 1) + right
    return repr(x)

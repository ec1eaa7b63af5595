"""Logits by mlx-lm on the CPU in float32, for kl.ts: JSON lines {"model", "ids", "out"} on stdin.

Writes each model's logits after each of its ids to `out`, in float32, and a line of JSON: the
vocabulary's size, or what went wrong.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

load = mx.load


def load_float32(path: str, *args, **kwargs) -> dict[str, mx.array]:
    """Weights in float32 before mlx-lm changes any: it adds 1 to some norms."""
    halves = (mx.bfloat16, mx.float16)
    weights = load(path, *args, **kwargs)
    return {name: w.astype(mx.float32) if w.dtype in halves else w for name, w in weights.items()}


mx.load = load_float32

for line in sys.stdin:
    request = json.loads(line)
    try:
        model, _ = load_model(Path(request["model"]))
        model.set_dtype(mx.float32)
        logits = model(mx.array(request["ids"])[None])[0].astype(mx.float32)
        mx.eval(logits)
        np.array(logits).tofile(request["out"])
        answer = {"vocabulary": logits.shape[-1]}
    except Exception as error:  # of one model; the others go on
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)

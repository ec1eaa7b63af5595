"""Computes logits with mlx-lm in float32, for kl.ts.

Reads JSON lines {"model", "ids", "out"} from stdin. For each line, writes the logits after each id
to `out`, in float32, and prints a line of JSON with the vocabulary's size, or with the error.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

load = mx.load


def load_float32(path: str, *args, **kwargs) -> dict[str, mx.array]:
    """Converts weights to float32 before mlx-lm changes any: it adds 1 to some norms."""
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
    except Exception as error:  # Only this model failed; the others still run.
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)

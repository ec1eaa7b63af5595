"""Loads safetensors directories with mlx-lm, and their tokenizers with Hugging Face's tokenizers,
for synth_peers_test.ts.

Each line of stdin is JSON {"directory", "text"}. The answer to each is a line of JSON with the ids
of the text, the shape of the logits and whether they are finite, or with the error.
"""

import json
import sys

import mlx.core as mx
from mlx_lm import load
from tokenizers import Tokenizer

for line in sys.stdin:
    request = json.loads(line)
    try:
        ids = Tokenizer.from_file(request["directory"] + "/tokenizer.json").encode(request["text"]).ids
        model, tokenizer = load(request["directory"])
        logits = model(mx.array(tokenizer.encode(request["text"]))[None])[0]
        mx.eval(logits)
        finite = bool(mx.isfinite(logits).all())
        answer = {"ids": ids, "shape": list(logits.shape), "finite": finite}
    except Exception as error:  # Only this directory failed; the others are still loaded.
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)

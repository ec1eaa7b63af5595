"""Loads directories of safetensors by mlx-lm, and their tokenizers by Hugging Face's, for
synth_peers_test.ts: lines of JSON {"directory", "text"} on stdin, each answered by the ids of the
text and the shape of the logits, or by what went wrong."""

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
    except Exception as error:  # of one directory; the others go on
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)

"""Recomputes the figures of reports from their JSON, by other code than that which made them.

python3 recompute.py REPORT.json… (or "-"): prints how many figures of each report it recomputed, and exits
with 1 at the first that does not. It needs nothing but Python.
"""

import json
import math
import re
import sys
from bisect import bisect_left
from statistics import mean, median, pstdev, stdev

ELEMENT = {"f16": 2, "f32": 4}
BLOCK = 16
RELATIVE = 1e-9


class Report:
    def __init__(self, data):
        self.data = data
        self.suite = data["suite"]
        self.run = data["run"]
        self.model = data["environment"]["model"]
        self.kinds = self.model["layerKinds"]
        self.element = ELEMENT[data["environment"]["engine"]["kvType"]]
        self.limits = data["limits"]
        self.results = {
            (r["metric"], frozenset(r["settings"].items())): r for r in data["results"]
        }
        self.checked = set()

    def key(self, metric, **settings):
        return (metric, frozenset(settings.items()))

    def has(self, metric, **settings):
        return self.key(metric, **settings) in self.results

    def value(self, metric, **settings):
        return self.results[self.key(metric, **settings)]["value"]

    def samples(self, metric, **settings):
        return self.results[self.key(metric, **settings)]["samples"]

    def settings_of(self, metric):
        return [dict(s) for m, s in self.results if m == metric]

    def agree(self, expected, metric, **settings):
        key = self.key(metric, **settings)
        found = self.results[key]["value"]
        self.same(expected, found, f"{metric} {settings}")
        self.checked.add(key)

    def agree_samples(self, expected, metric, **settings):
        key = self.key(metric, **settings)
        found = self.results[key]["samples"]
        if len(found) != len(expected):
            fail(self, f"{metric} {settings}: {len(found)} samples, not {len(expected)}")
        for a, b in zip(expected, found):
            self.same(a, b, f"a sample of {metric} {settings}")
        self.checked.add(key)

    def agree_limit(self, expected, metric, **settings):
        found = self.results[self.key(metric, **settings)].get("limit")
        if self.limits is None:
            if found is not None:
                fail(self, f"{metric} {settings} has a limit without a probe")
            return
        self.same(expected, found, f"the limit of {metric} {settings}")

    def same(self, expected, found, name):
        if not math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=1e-9):
            fail(self, f"{name}: {found} in the report, {expected} recomputed")

    def runs(self, case):
        """The servings of a case, a list for each repetition."""
        found = [r for r in self.data["runs"] if r["case"] == case]
        if not found:
            fail(self, f"there is no run of {case}")
        return [
            [r for r in found if r["repetition"] == i]
            for i in range(max(r["repetition"] for r in found) + 1)
        ]


def fail(report, what):
    sys.exit(f"{report.suite}: {what}")


# Of one request.


def ttft(r):
    return r["times"][0] - r["submitted"]


def e2e(r):
    return r["times"][-1] - r["submitted"]


def tpot(r):
    return (e2e(r) - ttft(r)) / (len(r["times"]) - 1)


def rate(r):
    return 1000 / tpot(r)


def gaps(r):
    return [b - a for a, b in zip(r["times"], r["times"][1:])]


# Of requests that were served together.


def seconds(requests):
    first = min(r["submitted"] for r in requests)
    return (max(r["times"][-1] for r in requests) - first) / 1000


def tokens(requests):
    return sum(len(r["times"]) for r in requests)


def throughput(requests):
    return tokens(requests) / seconds(requests)


# Statistics.


def median_interval(samples):
    """Hettmansperger and Sheather: between two pairs of order statistics, by exact coverages."""
    n = len(samples)
    if n < 6:
        return None
    x = sorted(samples)

    def coverage(d):
        return 1 - 2 * sum(math.comb(n, k) for k in range(d)) / 2**n

    d = max(d for d in range(1, n // 2 + 1) if coverage(d) >= 0.95)
    part = (coverage(d) - 0.95) / (coverage(d) - coverage(d + 1))
    inner = (n - d) * part / (d + (n - 2 * d) * part)
    return [
        (1 - inner) * x[d - 1] + inner * x[d],
        (1 - inner) * x[n - d] + inner * x[n - d - 1],
    ]


def percentile(values, p):
    """Between the two values next to rank (n - 1) p, as numpy does it."""
    x = sorted(values)
    rank = (len(x) - 1) * p / 100
    low = math.floor(rank)
    high = min(low + 1, len(x) - 1)
    return x[low] + (rank - low) * (x[high] - x[low])


def statistics(report):
    for r in report.data["results"]:
        name = f"{r['metric']} {r['settings']}"
        if "samples" not in r:
            continue
        s = r["samples"]
        if r.get("paired"):
            logs = [math.log(v) for v in s]
            value = math.exp(median(logs))
            interval = median_interval(logs)
            interval = interval and [math.exp(v) for v in interval]
        else:
            value, interval = median(s), median_interval(s)
        report.same(value, r["value"], name)
        if (interval is None) != ("interval" not in r):
            fail(report, f"{name}: an interval of {len(s)} samples")
        for a, b in zip(interval or [], r.get("interval", [])):
            report.same(a, b, f"the interval of {name}")
        report.checked.add((r["metric"], frozenset(r["settings"].items())))


def ratios(above, below, factor=1):
    return [factor * a / b for a, b in zip(above, below)]


# Limits.


def positions(kind, length):
    return min(length, kind.get("window", math.inf))


def kv_read(report, length):
    return sum(
        k["layers"] * 2 * k["kvHeads"] * k["headDim"] * report.element * positions(k, length)
        for k in report.kinds
    )


def attention(report, length):
    return sum(
        4 * k["layers"] * k["heads"] * k["headDim"] * positions(k, length) for k in report.kinds
    )


def states(report):
    """Bytes of a sequence's states, which a token reads and writes, and operations of a token."""
    own = report.model.get("states", {"bytes": 0, "operations": 0})
    return 2 * own["bytes"], own["operations"]


def decode_limit(report, requests, prompt, answer):
    if report.limits is None:
        return None
    model, position = report.model, prompt + answer / 2
    memory = report.limits["bandwidth"] * 1e9 / (
        model["readBytes"] / requests + kv_read(report, position) + states(report)[0]
    )
    arithmetic = report.limits["flops"] * 1e9 / (
        2 * model["readWeights"] + attention(report, position) + states(report)[1]
    )
    return min(memory, arithmetic)


def prefill_limit(report, prompt, requests=1, depth=0):
    if report.limits is None:
        return None
    model = report.model
    head = model["vocabSize"] * model["dim"]
    products = 2 * (prompt * (model["readWeights"] - head) + head)
    looking = sum(attention(report, i) for i in range(depth + 1, depth + prompt + 1))
    looking += prompt * states(report)[1]
    return min(
        report.limits["bandwidth"] * 1e9 * prompt * requests / model["readBytes"],
        report.limits["flops"] * 1e9 * prompt / (products + looking),
    )


def work_limit(report, requests, prompt, answer, together):
    if report.limits is None:
        return None
    at_once = requests if together else 1
    least = requests * (
        prompt / prefill_limit(report, prompt, at_once)
        + (answer - 1) / decode_limit(report, at_once, prompt, answer)
    )
    return requests * answer / least


def limits(report):
    given = report.limits
    if given is None:
        return
    for name, probe in given["probes"].items():
        if not (name == "bandwidth" and given["source"] == "given"):
            report.same(median(probe["samples"]), given[name], name)
        for a, b in zip(median_interval(probe["samples"]) or [], probe.get("interval", [])):
            report.same(a, b, f"the interval of {name}")
    run, model = report.run, report.model
    position = run["promptTokens"] + run["maxTokens"] / 2
    report.same(position, given["position"], "position")
    report.same(kv_read(report, position), given["kvReadBytes"], "kvReadBytes")
    read = model["readBytes"] + kv_read(report, position) + states(report)[0]
    report.same(read, given["bytesPerToken"], "bytesPerToken")
    operations = 2 * model["readWeights"] + attention(report, position) + states(report)[1]
    report.same(operations, given["operationsPerToken"], "operationsPerToken")
    report.same(given["bandwidth"] * 1e9 / read, given["memoryBound"], "memoryBound")
    report.same(given["flops"] * 1e9 / operations, given["arithmeticBound"], "arithmeticBound")


def achieved(report, prompt, answer, alone=None):
    """The table of what was reached; `alone` are the settings of its measures."""
    if report.limits is None:
        return
    settings = alone or {}
    least = decode_limit(report, 1, prompt, answer)
    report.agree(
        100 * report.value("decode_throughput", **settings) / least,
        "of_limit",
        of="decode_throughput",
    )
    report.agree(100 * 1000 / least / report.value("tpot", **settings), "of_limit", of="tpot")
    soonest = 1000 * prompt / prefill_limit(report, prompt)
    report.agree(100 * soonest / report.value("ttft", **settings), "of_limit", of="ttft")


# Suites.


def alone(report, case, **settings):
    """TTFT, TPOT and decode throughput of single requests: the median over those of a repetition."""
    runs = report.runs(case)

    def each(of):
        return [median(of(r) for s in servings for r in s["requests"]) for servings in runs]

    for metric, of in (("ttft", ttft), ("tpot", tpot), ("decode_throughput", rate)):
        if report.has(metric, **settings):
            report.agree_samples(each(of), metric, **settings)
    return runs


def latency(report):
    run = report.run
    prompt, answer = run["promptTokens"], run["maxTokens"]
    runs = alone(report, "prompts")
    requests = [r for servings in runs for s in servings for r in s["requests"]]
    per_run = [[r for s in servings for r in s["requests"]] for servings in runs]
    report.agree_samples([median(e2e(r) for r in own) for own in per_run], "e2e")
    report.agree_samples(
        [median(1000 * r["promptTokens"] / ttft(r) for r in own) for own in per_run],
        "prefill_throughput",
    )
    report.agree_samples(
        [
            median(1000 * (r["promptTokens"] + len(r["times"])) / e2e(r) for r in own)
            for own in per_run
        ],
        "total_throughput",
    )
    report.agree_limit(decode_limit(report, 1, prompt, answer), "decode_throughput")
    report.agree_limit(prefill_limit(report, prompt), "prefill_throughput")
    all_gaps = [gap for r in requests for gap in gaps(r)]
    for p in (50, 95, 99):
        enough = len(all_gaps) * min(p, 100 - p) / 100 >= 5
        if enough != report.has("itl", percentile=p):
            fail(report, f"percentile {p} of {len(all_gaps)} gaps")
        if enough:
            report.agree(percentile(all_gaps, p), "itl", percentile=p)
    if report.has("tpot", sampling="default"):
        alone(report, "sampled", sampling="default")
    by_text = report.runs("prompts by text")
    for i in range(len(run["promptTexts"])):
        own = [servings[0]["requests"][i] for servings in by_text]
        for metric, of in (("ttft", ttft), ("tpot", tpot), ("decode_throughput", rate)):
            report.agree_samples([of(r) for r in own], metric, prompt=i + 1)
        report.agree(own[0]["promptTokens"], "prompt_tokens", prompt=i + 1)
        report.agree(len(own[0]["times"]), "output_tokens", prompt=i + 1)
    for s in report.settings_of("ttft"):
        if "context" in s:
            alone(report, f"context of {s['context']}", **s)
    alone(report, "text", consumer="text")
    whole = sum(e2e(r) for r in requests) / 1000
    first = sum(ttft(r) for r in requests) / 1000
    made, asked = tokens(requests), sum(r["promptTokens"] for r in requests)
    report.agree(len(requests), "requests_served")
    report.agree(asked, "prompt_tokens")
    report.agree(made, "output_tokens")
    report.agree(whole, "total_time")
    report.agree(mean(ttft(r) for r in requests), "ttft_mean")
    report.agree(mean(tpot(r) for r in requests), "tpot_mean")
    report.agree((made - len(requests)) / (whole - first), "decode_throughput_mean")
    report.agree((asked + made) / whole, "total_throughput_mean")
    achieved(report, prompt, answer)


def throughputs(report):
    run = report.run
    prompt, answer = run["promptTokens"], run["maxTokens"]
    rates = {}
    for way in ("single", "sequential", "concurrent", "staggered"):
        count = 1 if way == "single" else run["prompts"]
        at = {"arrival": way, "requests": count}
        served = [servings[0]["requests"] for servings in report.runs(way)]
        rates[way] = [throughput(r) for r in served]
        report.agree_samples(rates[way], "throughput", **at)
        limit = work_limit(report, count, prompt, answer, way != "sequential")
        report.agree_limit(limit, "throughput", **at)
        if limit is not None:
            report.agree(100 * median(rates[way]) / limit, "utilization", **at)
        if way != "sequential":
            report.agree_samples([seconds(r) for r in served], "duration", **at)
            report.agree(tokens(served[0]), "output_tokens", **at)
            report.agree_samples([count / seconds(r) for r in served], "request_throughput", **at)
            report.agree_samples(ratios(rates[way], rates["single"]), "batching_speedup", **at)
    report.agree_samples(ratios(rates["concurrent"], rates["sequential"]), "concurrent_speedup")
    single = {"arrival": "single", "requests": 1}
    alone(report, "single", **single)
    achieved(report, prompt, answer, alone=single)
    for s in report.settings_of("throughput"):
        if "context" in s:
            served = [v[0]["requests"] for v in report.runs(f"context of {s['context']}")]
            report.agree_samples([throughput(r) for r in served], "throughput", **s)
            report.agree_samples([seconds(r) for r in served], "duration", **s)
            report.agree_limit(work_limit(report, 1, s["context"], answer, True), "throughput", **s)


def scalability(report):
    rates = {}
    for s in report.settings_of("throughput"):
        count = s["requests"]
        rates[count] = [throughput(v[0]["requests"]) for v in report.runs(f"{count} at once")]
        report.agree_samples(rates[count], "throughput", requests=count)
        run = report.run
        limit = work_limit(report, count, run["promptTokens"], run["maxTokens"], True)
        report.agree_limit(limit, "throughput", requests=count)
    for count, own in rates.items():
        report.agree_samples(ratios(own, rates[1], 100 / count), "efficiency", requests=count)
    best = max(rates, key=lambda count: median(rates[count]))
    report.agree(median(rates[best]), "best_throughput")
    report.agree(best, "best_requests")


def prefix_cache(report):
    tests = ["First request", "Same prompt", "Different prompt", "Same beginning",
             "Return to prompt 1"]
    cached = report.runs("with a cache")
    for i, test in enumerate(tests):
        report.agree_samples([ttft(v[i]["requests"][0]) for v in cached], "ttft", test=test)
    without = [ttft(v[0]["requests"][0]) for v in report.runs("without a cache")]
    hits = [median(ttft(v[i]["requests"][0]) for i in (1, 4)) for v in cached]
    report.agree_samples(without, "uncached_ttft")
    report.agree_samples(hits, "cached_ttft")
    report.agree_samples(ratios(without, hits), "cached_speedup")
    length = cached[0][0]["requests"][0]["promptTokens"]
    full, part = length // BLOCK, (length - 1) // BLOCK // 2
    # The last token of a prompt is always computed.
    report.agree(2 * min(BLOCK * full, length - 1) + BLOCK * part, "tokens_saved")
    saved = 2 * full + part
    report.agree(saved, "block_hits")
    blocks = report.value("block_hits") + report.value("block_misses")
    report.agree(100 * saved / blocks, "cache_hit_rate")
    report.agree(3, "request_hits")
    report.agree(2, "request_misses")
    report.agree(60, "request_hit_rate")


def paged_cache(report):
    times = {}
    for arrival in ("sequential", "concurrent"):
        for cache, name in (("no cache", "No cache"), ("paged cache", "Paged cache")):
            at = {"cache": cache, "arrival": arrival}
            rounds = [
                [r for s in servings for r in s["requests"]]
                for servings in report.runs(f"{name}, {arrival}")
            ]
            times[cache] = [seconds(r) for r in rounds]
            report.agree_samples(times[cache], "duration", **at)
            report.agree_samples([throughput(r) for r in rounds], "throughput", **at)
        report.agree_samples(ratios(times["no cache"], times["paged cache"]), "cache_speedup", **at)
        requests = rounds[0]
        shared = (requests[0]["promptTokens"] - 10) // BLOCK
        hits = len(requests) - 1
        report.agree(hits, "request_hits", **at)
        report.agree(hits * shared, "block_hits", **at)
        report.agree(hits * shared * BLOCK, "tokens_saved", **at)
        # Those that the first request has, and what each other one has of its own.
        length = requests[0]["promptTokens"] + len(requests[0]["times"]) - 1
        whole = math.ceil(length / BLOCK)
        report.agree(whole + hits * (whole - shared), "blocks_allocated", **at)
        report.agree(shared, "blocks_shared", **at)


def scenarios(report):
    rows = [s for s in report.settings_of("ttft") if "baseline" not in s]
    decoded, first = [], []
    for s in rows:
        alone(report, s["scenario"], **s)
        requests = [v[0]["requests"][0] for v in report.runs(s["scenario"])]
        report.agree_samples(
            [1000 * r["promptTokens"] / ttft(r) for r in requests], "prefill_throughput", **s
        )
        limit = decode_limit(report, 1, s["promptTokens"], s["maxTokens"])
        report.agree_limit(limit, "decode_throughput", **s)
        decoded.append([rate(r) for r in requests])
        first.append((s["promptTokens"], median(ttft(r) for r in requests)))
    if len(rows) > 1:
        speeds = [median(own) for own in decoded]
        report.agree(100 * pstdev(speeds) / mean(speeds), "decode_throughput_cv")
        x, y = mean(a for a, _ in first), mean(b for _, b in first)
        slope = sum((a - x) * (b - y) for a, b in first) / sum((a - x) ** 2 for a, _ in first)
        report.agree(slope, "prefill_scaling")
    if report.run["repetitions"] > 1:
        report.agree(mean(100 * pstdev(own) / mean(own) for own in decoded), "repetitions_cv")
    if rows:
        achieved(report, rows[0]["promptTokens"], rows[0]["maxTokens"], alone=rows[0])
    for s in report.settings_of("step_throughput"):
        end = s.get("token", s.get("tokens"))
        start = end - 1 if "token" in s else 32 * ((end - 1) // 32)
        times = [v[0]["requests"][0]["times"] for v in report.runs("S6")]
        spans = [t[end] - t[start] for t in times]
        report.agree_samples([1000 * (end - start) / d for d in spans if d > 0],
                             "step_throughput", **s)
    for s in report.settings_of("ttft_ratio"):
        own = {k: v for k, v in s.items() if k != "baseline"}
        report.agree_samples(ratios(report.samples("ttft", **s), report.samples("ttft", **own)),
                             "ttft_ratio", **s)
        for metric in ("decode_throughput", "prefill_throughput"):
            pair = report.samples(metric, **own), report.samples(metric, **s)
            report.agree_samples(ratios(*pair), f"{metric}_ratio", **s)


def memory(report):
    token = {
        i: 2 * k["layers"] * k["kvHeads"] * k["headDim"] * report.element
        for i, k in enumerate(report.kinds)
    }
    report.agree(sum(token.values()), "kv_bytes_per_token")
    for s in report.settings_of("kv_projection"):
        blocks = math.ceil(s["context"] / BLOCK)
        total = 0
        for i, k in enumerate(report.kinds):
            seen = k.get("window")
            # A window may begin and end within a block.
            held = blocks if seen is None else min(blocks, math.ceil((seen - 1) / BLOCK) + 2)
            total += held * BLOCK * token[i]
        report.agree(total, "kv_projection", **s)
    if report.has("device_memory", purpose="total"):
        parts = ("weights", "KV cache", "scratch", "readback")
        total = sum(report.value("device_memory", purpose=p) for p in parts)
        report.agree(total, "device_memory", purpose="total")
    for s in report.settings_of("memory_savings"):
        used, without = report.value("blocks_used", **s), report.value("blocks_without", **s)
        if len(report.kinds) == 1 or "reserved" in s:
            report.agree(100 * (1 - used / without), "memory_savings", **s)
        if "reserved" in s:
            report.agree(s["sequences"] * math.ceil(s["reserved"] / BLOCK), "blocks_without", **s)


def detokenizer(report):
    averages = []
    for s in report.settings_of("streaming_speedup"):
        fast = report.samples("detokenize_time", way="streaming", tokens=s["tokens"])
        slow = report.samples("detokenize_time", way=s["over"], tokens=s["tokens"])
        report.agree_samples(ratios(slow, fast), "streaming_speedup", **s)
        if s["over"] == "decode()":
            averages.append(report.value("streaming_speedup", **s))
    report.agree(mean(averages), "streaming_speedup_mean")
    report.agree(1000 * report.value("creation_time", creations=100) / 100, "creation_time_each")
    names = {"naive": "Naive decode()", "streaming": "Streaming (new instance)",
             "pooled": "Streaming (pooled)"}
    rates = {w: [throughput(v[0]["requests"]) for v in report.runs(n)] for w, n in names.items()}
    for way, own in rates.items():
        report.agree_samples(own, "throughput", way=way)
        if way != "naive":
            report.agree_samples(ratios(own, rates["naive"]), "detokenizer_impact", way=way)


def breakdown(report):
    run = report.run
    requests = [v[0]["requests"][0] for v in report.runs("request")]
    steps = [tpot(r) for r in requests]
    report.agree_samples(steps, "decode_step")
    alone(report, "request")
    achieved(report, run["promptTokens"], run["maxTokens"])
    operations = [s for s in report.settings_of("operation_share")]
    whole = sum(
        report.value("operation_calls", **s) * report.value("operation_time", **s)
        for s in operations
    )
    for s in operations:
        one = report.value("operation_calls", **s) * report.value("operation_time", **s)
        report.agree(100 * one / whole, "operation_share", **s)
    sampling = 0
    if report.has("operation_time", operation="sampling"):
        sampling = report.value("operation_time", operation="sampling")
    report.agree_samples([s - sampling for s in steps], "operation_time",
                         operation="decode forward")
    report.agree_samples([ttft(r) - sampling for r in requests], "operation_time",
                         operation="prefill")
    step = median(steps)
    if report.has("kernels_of_step"):
        share = report.value("kernels_share") / 100
        report.agree(share * step, "kernels_of_step")
        report.agree(step * (1 - min(1, share)), "idle_time_per_token")
    for phase in (None, "prefill"):
        own = {} if phase is None else {"phase": phase}
        rows = [s for s in report.settings_of("kernel_share") if s.get("phase") == phase]
        total = sum(report.value("kernel_time", **s) for s in rows)
        for s in rows:
            ms, calls = report.value("kernel_time", **s), report.value("kernel_calls", **s)
            report.agree(100 * ms / total, "kernel_share", **s)
            report.agree(1000 * ms / calls, "kernel_each", **s)
            if report.limits is not None and report.has("kernel_limit_share", **s):
                reached = max(
                    report.value("kernel_rate", **s) / report.limits["flops"],
                    report.value("kernel_bandwidth", **s) / report.limits["bandwidth"],
                )
                report.agree(100 * reached, "kernel_limit_share", **s)
    if report.has("step_parts_sum"):
        for s in report.settings_of("step_part_share"):
            report.agree(step * report.value("step_part_share", **s) / 100, "step_part", **s)
        total = report.value("step_parts_sum") / 100
        report.agree(step * total, "step_part", part="all")
        report.agree(step * (1 - total), "unaccounted_time_per_token")
    loading = [s for s in report.settings_of("load_time") if s]
    report.agree(sum(report.value("load_time", **s) for s in loading), "load_time")
    if report.limits is not None:
        limit = report.limits
        costs = {
            "memory": limit["bytesPerToken"] / limit["bandwidth"] / 1e6,
            "arithmetic": limit["operationsPerToken"] / limit["flops"] / 1e6,
            "host": report.value("host_time_per_token"),
        }
        if report.has("dispatches_per_token"):
            dispatches = report.value("dispatches_per_token")
            costs["dispatch"] = dispatches * limit["dispatch"] / 1000
        for cost, ms in costs.items():
            report.agree(ms, "step_cost", cost=cost)
            report.agree(100 * ms / step, "step_cost_share", cost=cost)


def kernels(report):
    for s in report.settings_of("kernel_time_ratio"):
        own = report.samples("kernel_call_time", **s)
        one = report.samples("kernel_call_time", **{**s, "tokens": 1})
        report.agree_samples(ratios(own, one), "kernel_time_ratio", **s)
        report.agree_samples(ratios(one, own, s["tokens"]), "kernel_gain", **s)
    for s in report.settings_of("decode_speedup"):
        one = report.samples("decode_throughput", requests=1)
        own = report.samples("decode_throughput", **s)
        report.agree_samples(ratios(own, one), "decode_speedup", **s)


TEST = re.compile(r"(?:pp(\d+))?\+?(?:tg(\d+))?(?: @ d(\d+))?")


def speed(report):
    for s in report.settings_of("ttft"):
        prompt, decoded, depth = (int(n or 0) for n in TEST.fullmatch(s["test"]).groups())
        case = s["test"] + (f", batch {s['batch']}" if "batch" in s else "")
        requests = [v[0]["requests"][0] for v in report.runs(case)]
        entering = prompt or 1
        for r in requests:
            report.same(depth + entering, r["promptTokens"], f"the prompt of {case}")
            report.same(decoded + 1, len(r["times"]), f"the tokens of {case}")
        report.agree_samples([ttft(r) for r in requests], "ttft", **s)
        prefill = prefill_limit(report, entering, depth=depth)
        decode = decode_limit(report, 1, depth + entering, decoded)
        if decoded == 0:
            metric, rates, limit = "prefill_throughput", [1000 * prompt / ttft(r) for r in requests], prefill
        elif prompt == 0:
            metric, rates, limit = "decode_throughput", [rate(r) for r in requests], decode
        else:
            metric = "total_throughput"
            rates = [1000 * (prompt + decoded) / e2e(r) for r in requests]
            limit = prefill and (prompt + decoded) / (prompt / prefill + decoded / decode)
        report.agree_samples(rates, metric, **s)
        report.agree_limit(limit, metric, **s)
        if limit is not None:
            report.agree(100 * median(rates) / limit, "of_limit", **s)


def loaded(report):
    text = report.run["suiteOptions"].get("goodput")
    goals = dict(goal.split(":") for goal in re.split(r"[\s,]+", text.strip())) if text else {}
    measures = {"ttft": ttft, "tpot": tpot, "e2el": e2e}

    def good(r):
        return all(
            measures[name](r) <= float(limit)
            for name, limit in goals.items()
            if name != "tpot" or len(r["times"]) > 1
        )

    for s in report.settings_of("requests_served"):
        name = f"{s['rate']} req/s" if "rate" in s else f"{s['concurrency']} at once"
        runs = [servings[0] for servings in report.runs(name)]
        requests = [r for run in runs for r in run["requests"]]
        report.agree(len(requests), "requests_served", **s)
        report.agree(sum(len(run["failed"]) for run in runs), "requests_failed", **s)
        whole = [
            max([r["times"][-1] for r in run["requests"]] + [r["ended"] for r in run["failed"]])
            - min(r["submitted"] for r in run["requests"] + run["failed"])
            for run in runs
        ]

        def per_second(count):
            return [1000 * count(run["requests"]) / ms for run, ms in zip(runs, whole)]

        report.agree_samples(per_second(len), "request_throughput", **s)
        report.agree_samples(per_second(tokens), "throughput", **s)
        if goals:
            report.agree_samples(per_second(lambda own: sum(map(good, own))), "goodput", **s)
        times = [sorted(t for r in run["requests"] for t in r["times"]) for run in runs]
        most = [
            max((bisect_left(own, t + 1000) - i for i, t in enumerate(own)), default=0)
            for own in times
        ]
        report.agree_samples(most, "peak_throughput", **s)
        longer = [r for r in requests if len(r["times"]) > 1]
        for metric, values in (
            ("ttft", [ttft(r) for r in requests]),
            ("tpot", [tpot(r) for r in longer]),
            ("itl", [gap for r in requests for gap in gaps(r)]),
            ("e2e", [e2e(r) for r in requests]),
        ):
            if not values:
                continue
            report.agree(mean(values), f"{metric}_mean", **s)
            spread = stdev(values) if len(values) > 1 else 0
            report.agree(spread, f"{metric}_std", **s)
            for p in (50, 90, 99):
                if p == 50 or report.has(metric, **s, percentile=p):
                    report.agree(percentile(values, p), metric, **s, percentile=p)
        if report.has("ttft", **s, clock="here"):
            own = [run["requests"] for run in runs]
            report.agree_samples([median(map(ttft, r)) for r in own], "ttft", **s, clock="here")
            report.agree_samples([median(map(tpot, r)) for r in own], "tpot", **s, clock="here")


def modes(report):
    run = report.run
    most = decode_limit(report, 1, run["promptTokens"], run["maxTokens"])
    rates = {}
    for s in report.settings_of("tpot"):
        alone(report, s["mode"], **s)
        requests = [v[0]["requests"][0] for v in report.runs(s["mode"])]
        rates[s["mode"]] = [rate(r) for r in requests]
        report.agree_limit(most, "decode_throughput", **s)
    for mode, own in rates.items():
        report.agree_samples(ratios(own, rates["direct"]), "mode_speedup", mode=mode)
        if most is not None:
            report.agree(100 * median(own) / most, "of_limit", mode=mode)
    if most is not None:
        position = run["promptTokens"] + run["maxTokens"] / 2
        read = report.model["readBytes"] + kv_read(report, position) + states(report)[0]
        report.agree(read, "token_read_bytes")
        report.agree(report.limits["bandwidth"], "memory_bandwidth")
        report.agree(1000 / most, "least_token_time")
        report.agree(most, "most_decode_throughput")


SUITES = {
    "load": loaded,
    "speed": speed,
    "modes": modes,
    "latency": latency,
    "throughput": throughputs,
    "scalability": scalability,
    "prefix-cache": prefix_cache,
    "paged-cache": paged_cache,
    "scenarios": scenarios,
    "memory": memory,
    "detokenizer": detokenizer,
    "breakdown": breakdown,
    "kernels": kernels,
}


def main(paths):
    for path in paths:
        data = json.load(sys.stdin if path == "-" else open(path))
        for one in data if isinstance(data, list) else [data]:
            report = Report(one)
            statistics(report)
            limits(report)
            SUITES[report.suite](report)
            print(
                f"{report.suite}: of {len(report.results)} figures {len(report.checked)} were recomputed, and agree"
            )


main(sys.argv[1:])

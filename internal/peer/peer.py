#!/usr/bin/env python3
"""The Python peer of the flow benchmarks: PyTorch + zuko, eager or under torch.compile.

Reads one JSON object a line: {"kind", "hidden", "batch", "op", "mode", "threads", "seconds"}, times that operation for so many
seconds, and answers with one: {"ms": median, "best": ms, "steps": n}. Models stay alive between lines, so compiling is paid, and told,
once.
"""
import json, statistics, sys, time
import torch, zuko

cache = {}


def build(kind, hidden, batch):
    key = (kind, tuple(hidden), batch)
    if key not in cache:
        torch.manual_seed(1)
        make = zuko.flows.MAF if kind == "maf" else zuko.flows.NSF
        extra = {"passes": 2} if kind == "coupling" else {}
        flow = make(8, 4, transforms=5, hidden_features=hidden, **extra)
        cache[key] = flow, torch.randn(batch, 8), torch.randn(batch, 4), {}
    return cache[key]


def step(kind, hidden, batch, op, mode):
    flow, x, c, made = build(kind, hidden, batch)
    if (op, mode) in made:
        return made[op, mode]
    wrap = torch.compile if mode == "compile" else lambda f: f
    if op == "train":
        loss = wrap(lambda x, c: -flow(c).log_prob(x).mean())
        opt = torch.optim.Adam(flow.parameters(), lr=1e-4, fused=True)

        def run():
            opt.zero_grad(set_to_none=True)
            loss(x, c).backward()
            opt.step()
    else:
        f = wrap((lambda x, c: flow(c).log_prob(x)) if op == "log_prob" else (lambda x, c: flow(c).sample()))

        def run():
            with torch.no_grad():
                f(x, c)
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    for _ in range(2):
        run()
    made[op, mode] = run, first
    return made[op, mode]


for line in sys.stdin:
    q = json.loads(line)
    torch.set_num_threads(q["threads"])
    run, first = step(q["kind"], q["hidden"], q["batch"], q["op"], q["mode"])
    run()
    ms, end = [], time.perf_counter() + q["seconds"]
    while len(ms) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        ms.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"ms": statistics.median(ms), "best": min(ms), "steps": len(ms), "first": first,
                      "versions": f"PyTorch {torch.__version__.split('+')[0]}, zuko {zuko.__version__}"}), flush=True)

#!/usr/bin/env python3
"""The Python peer of the benchmarks: flows in PyTorch + zuko, transformers in PyTorch, eager or under torch.compile.

Reads one JSON object a line and answers with one.
{"kind": maf | nsf | coupling, "hidden", "batch", "op": train | log_prob | sample, "mode": eager | compile, "threads", "seconds"} and
{"kind": "vit", "net": arguments of vit.ViT, "batch", "op": train | velocity, ...} time an operation for so many seconds:
{"ms": median, "best": ms, "steps": n, "first": seconds of the first step}. Models stay alive between lines, so compiling is paid, and told, once.
{"kind": "vit", "net", "op": "check", "file"} compares with what another program computed (cases.ShowerRunner.Write): {"error": the largest
difference of the velocity, the loss or the gradient of a parameter, relative to its largest number}.
"""
import json, statistics, sys, time
import torch, zuko
from safetensors.torch import load_file
from torch.nn import functional as F
from vit import ViT

cache = {}


def once(key, make):
    key = json.dumps(key)
    if key not in cache:
        torch.manual_seed(1)
        cache[key] = make()
    return cache[key]


def flow(q):
    make = zuko.flows.MAF if q["kind"] == "maf" else zuko.flows.NSF
    extra = {"passes": 2} if q["kind"] == "coupling" else {}
    return make(8, 4, transforms=5, hidden_features=q["hidden"], **extra), torch.randn(q["batch"], 8), torch.randn(q["batch"], 4)


def vit(q):
    n = q["net"]
    net, rows = ViT(**n), (q["batch"], n["grid"][0] * n["grid"][1] * n["grid"][2])
    return net, torch.randn(*rows, n["patch"] + n["extra"]), torch.randn(q["batch"], n["times"] + n["condition"]), torch.randn(*rows, n["patch"])


def trainer(net, loss):
    opt = torch.optim.Adam(net.parameters(), lr=1e-5, fused=True)

    def run():
        opt.zero_grad(set_to_none=True)
        loss().backward()
        opt.step()
    return run


def frozen(f):
    def run():
        with torch.no_grad():
            f()
    return run


def operation(q):
    # without dynamic=False a second batch size would be compiled for any size, which is slower
    wrap = (lambda f: torch.compile(f, dynamic=False)) if q["mode"] == "compile" else lambda f: f
    model = {k: v for k, v in q.items() if k in ("kind", "hidden", "net", "batch")}
    if q["kind"] == "vit":
        net, x, items, target = once(model, lambda: vit(q))
        if q["op"] == "train":
            loss = wrap(lambda x, items, target: F.mse_loss(net(x, items), target))
            return trainer(net, lambda: loss(x, items, target))
        f = wrap(net.forward)
        return frozen(lambda: f(x, items))
    net, x, c = once(model, lambda: flow(q))
    if q["op"] == "train":
        loss = wrap(lambda x, c: -net(c).log_prob(x).mean())
        return trainer(net, lambda: loss(x, c))
    f = wrap((lambda x, c: net(c).log_prob(x)) if q["op"] == "log_prob" else (lambda x, c: net(c).sample()))
    return frozen(lambda: f(x, c))


def prepared(q):
    run = operation(q)
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    run()
    return run, first


def measure(q):
    run, first = once({k: v for k, v in q.items() if k != "seconds"}, lambda: prepared(q))
    run()
    ms, end = [], time.perf_counter() + q["seconds"]
    while len(ms) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        ms.append(1e3 * (time.perf_counter() - start))
    return {"ms": statistics.median(ms), "best": min(ms), "steps": len(ms), "first": first}


def check(q):
    t = load_file(q["file"])
    net = ViT(**q["net"])
    net.load_state_dict({k.removeprefix("parameter."): v for k, v in t.items() if k.startswith("parameter.")})
    v = net(t["x"], t["items"])
    loss = F.mse_loss(v, t["target"])
    loss.backward()
    pairs = [(v, t["velocity"]), (loss, t["loss"])] + [(p.grad, t["gradient." + name]) for name, p in net.named_parameters()]
    return {"error": max(float((a - b).detach().abs().max() / b.abs().max()) for a, b in pairs)}


for line in sys.stdin:
    q = json.loads(line)
    torch.set_num_threads(q["threads"])
    answer = check(q) if q["op"] == "check" else measure(q)
    answer["versions"] = f"PyTorch {torch.__version__.split('+')[0]}, zuko {zuko.__version__}"
    print(json.dumps(answer), flush=True)

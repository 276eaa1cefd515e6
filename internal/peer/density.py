#!/usr/bin/env python3
"""The peer of the density check and of reach: PyTorch and zuko on the same points, architecture, batch, optimiser and schedule.

    go test ./flows -run Density -v -timeout 2h -args -long -write DIR
    python internal/peer/density.py DIR/NAME.safetensors... [--steps 20000] [--minutes M] [--rate 2e-3] [--clip 5] [--threads 1] [--seed 1]

A file holds standardised points to train on and to test on (train, test), may hold conditions (train.context, test.context), and the mean
log-density of the test under the truth (truth). Prints the mean loss of the test at the end, and by how many nats a dimension it exceeds the
truth's. With --minutes, the steps are as many as fit after compiling.
"""
import argparse, math, pathlib, time
import torch, zuko
from safetensors.torch import load_file

BATCH, WARM, AVERAGE, TRIAL = 1024, 200, 0.999, 30


def train(file, a):
    torch.manual_seed(a.seed)
    t = load_file(file)
    points, dim = t["train"], t["train"].shape[1]
    context = t.get("train.context", torch.zeros(len(points), 0))
    flow = zuko.flows.NSF(dim, context.shape[1], bins=8, transforms=6, hidden_features=(128, 128))
    nll = lambda x, c: -flow(c if c.shape[1] else None).log_prob(x)
    loss = torch.compile(lambda x, c: nll(x, c).mean(), dynamic=False)
    opt = torch.optim.Adam(flow.parameters(), lr=a.rate, fused=True)
    mean = [p.detach().clone() for p in flow.parameters()]

    def step(rate):
        i = torch.randint(len(points), (BATCH,))
        opt.param_groups[0]["lr"] = rate
        opt.zero_grad(set_to_none=True)
        loss(points[i], context[i]).backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), a.clip)
        opt.step()

    start = time.time()
    steps = a.steps
    if a.minutes:
        step(0)
        trial = time.time()
        for _ in range(TRIAL):
            step(0)
        steps = int(60 * a.minutes * TRIAL / (time.time() - trial))
        opt.state.clear()
    compiled = time.time() - start
    warm = min(WARM, steps // 10)
    start = time.time()
    for k in range(steps):
        step(a.rate * ((k + 1) / warm if k < warm else 0.5 * (1 + math.cos(math.pi * (k - warm) / (steps - warm)))))
        with torch.no_grad():
            torch._foreach_lerp_(mean, list(flow.parameters()), 1 - min(AVERAGE, (2 + k) / (11 + k)))
    spent = time.time() - start
    with torch.no_grad():
        for p, m in zip(flow.parameters(), mean):
            p.copy_(m)
        test = t["test"]
        got = sum(nll(x, c).double().sum().item() for x, c in zip(test.split(8192), t.get("test.context", torch.zeros(len(test), 0)).split(8192))) / len(test)
    line = f"{pathlib.Path(file).stem}: {got:.5f} nats after {steps} steps in {spent:.0f} s ({compiled:.0f} s before), {BATCH * steps / spent:.0f} events a second"
    if "truth" in t:
        line += f", {(got + t['truth'].item()) / dim:.4f} nats a dimension above the truth"
    return line


def main():
    p = argparse.ArgumentParser()
    p.add_argument("files", nargs="+")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--minutes", type=float)
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--clip", type=float, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    for f in a.files:
        print(train(f, a), flush=True)


main()

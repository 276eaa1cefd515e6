#!/usr/bin/env python3
"""The peer of the density check: PyTorch and zuko on the same points, architecture, batch, steps, optimiser and schedule.

    go test ./flows -run Density -v -timeout 2h -args -long -write DIR
    python internal/peer/density.py DIR/NAME.safetensors... [--steps 20000] [--threads 1]

A file holds standardised points to train on and to test on, and the mean log-density of the latter under the truth. Prints, for each, by how
many nats a dimension the flow's mean falls short of it.
"""
import argparse, math, pathlib, time
import torch, zuko
from safetensors.torch import load_file

BATCH, RATE, WARM, CLIP, AVERAGE = 1024, 2e-3, 200, 5.0, 0.999


def divergence(file, steps):
    torch.manual_seed(1)
    t = load_file(file)
    train, test, dim = t["train"], t["test"], t["train"].shape[1]
    flow = zuko.flows.NSF(dim, 0, bins=8, transforms=6, hidden_features=(128, 128))
    loss = torch.compile(lambda x: -flow().log_prob(x).mean(), dynamic=False)
    opt = torch.optim.Adam(flow.parameters(), lr=RATE, fused=True)
    mean = [p.detach().clone() for p in flow.parameters()]
    for step in range(steps):
        at = (step + 1) / WARM if step < WARM else 0.5 * (1 + math.cos(math.pi * (step - WARM) / (steps - WARM)))
        opt.param_groups[0]["lr"] = RATE * at
        opt.zero_grad(set_to_none=True)
        loss(train[torch.randint(len(train), (BATCH,))]).backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(mean, list(flow.parameters()), 1 - min(AVERAGE, (2 + step) / (11 + step)))
    with torch.no_grad():
        for p, m in zip(flow.parameters(), mean):
            p.copy_(m)
        got = sum(flow().log_prob(x).double().sum().item() for x in test.split(8192)) / len(test)
    return (t["truth"].item() - got) / dim


def main():
    a = argparse.ArgumentParser()
    a.add_argument("files", nargs="+")
    a.add_argument("--steps", type=int, default=20000)
    a.add_argument("--threads", type=int, default=1)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    for f in a.files:
        start = time.time()
        print(f"{pathlib.Path(f).stem}: {divergence(f, a.steps):.4f} nats a dimension above the truth after {a.steps} steps, {time.time() - start:.0f} s", flush=True)


main()

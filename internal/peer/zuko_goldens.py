#!/usr/bin/env python3
"""Golden numbers for flows from an independent implementation: zuko 1.6.0 on PyTorch 2.15.0.

    python3 -m venv V && V/bin/pip install torch==2.15.0 zuko==1.6.0 safetensors==0.8.0
    V/bin/python internal/peer/zuko_goldens.py flows/testdata

Each file is the state_dict of a flow, as a user would save it, and beside it
    golden.x, golden.c       256 rows
    golden.log_prob          ln p(x|c), float64
    golden.grad.NAME         gradient of the mean negative log-likelihood by parameter NAME, float64
    golden.losses            float32 losses of 40 steps of Adam with eps = 1 at rate 0.1 on this one batch: with so large an eps the size
                             of a gradient matters, to which plain Adam is blind
"""
import copy, sys
import torch, zuko
from safetensors.torch import save_file

FLOWS = {
    "maf": lambda: zuko.flows.MAF(4, 2, transforms=3, hidden_features=(24, 20)),
    "nsf": lambda: zuko.flows.NSF(4, 2, bins=8, transforms=3, hidden_features=(24, 20)),
    "coupling": lambda: zuko.flows.NSF(5, 1, bins=6, transforms=2, passes=2, hidden_features=(24, 20)),
    "unconditional": lambda: zuko.flows.MAF(3, 0, transforms=2, hidden_features=(16,)),
    "single": lambda: zuko.flows.NSF(1, 2, bins=5, transforms=2, hidden_features=(8, 8)),
}


def golden(make):
    flow = make()
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(1.5)  # away from linear
    out = {k: v.clone().contiguous() for k, v in flow.state_dict().items()}
    single = "transform.transforms.0.order" not in out
    features = out["base.loc"].shape[0]
    context = out["transform.transforms.0.hyper.0.weight"].shape[1] - (0 if single else features)
    x, c = torch.randn(256, features), torch.randn(256, context)

    def nll(f, x, c):
        return -f(c if context else None).log_prob(x)

    exact = copy.deepcopy(flow).double()
    with torch.no_grad():
        out["golden.log_prob"] = -nll(exact, x.double(), c.double())
    nll(exact, x.double(), c.double()).mean().backward()
    for name, p in exact.named_parameters():
        out["golden.grad." + name] = p.grad.contiguous()
    out["golden.x"] = x
    if context:
        out["golden.c"] = c

    opt = torch.optim.Adam(flow.parameters(), lr=0.1, eps=1.0)
    losses = []
    for _ in range(40):
        opt.zero_grad()
        loss = nll(flow, x, c).mean()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    out["golden.losses"] = torch.tensor(losses, dtype=torch.float64)
    return out, losses


def main():
    torch.set_num_threads(1)
    for name, make in FLOWS.items():
        torch.manual_seed(1)
        out, losses = golden(make)
        versions = {"torch": torch.__version__.split("+")[0], "zuko": zuko.__version__}
        save_file(out, f"{sys.argv[1]}/{name}.safetensors", metadata=versions)
        print(f"{name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}")


main()

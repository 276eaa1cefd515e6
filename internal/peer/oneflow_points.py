#!/usr/bin/env python3
"""The points of `samples oneflow` on which our flow and PyTorch's are trained alike (reach, density.py).

    hepmorph samples oneflow --out DIR --events 300000
    $(.ci/venv) internal/peer/oneflow_points.py DIR
    .venv/peer/bin/python internal/peer/density.py --minutes 15 --rate 1e-3 --clip 1 --threads 2 DIR/oneflow.safetensors
    go run ./internal/peer/reach DIR/oneflow.safetensors

Writes DIR/oneflow.safetensors: the four features, zero atoms smeared by half a standard deviation below zero and then standardised, on condition of
the three conditions, standardised, and of the sample (0 simulation, 1 data). A tenth of the events is the test.
"""
import json, pathlib, struct, sys
import numpy as np, uproot

FEATURES, CONDITIONS = ["v1A", "v2A", "v1B", "v2B"], ["pt", "eta", "noise"]


def save(tensors, path):
    """Writes float32 arrays in the layout of safetensors."""
    header, at = {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": "F32", "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(a).tobytes() for a in tensors.values()))


def main():
    folder = pathlib.Path(sys.argv[1])
    rng = np.random.default_rng(1)
    rows = []
    for domain, name in enumerate(("simulation", "data")):
        tree = uproot.open(folder / f"oneflow-{name}.root")["oneflow"]
        t = tree.arrays(FEATURES + CONDITIONS, library="np")
        rows.append(np.column_stack([t[k] for k in FEATURES + CONDITIONS] + [np.full(tree.num_entries, domain)]).astype(float))
    v = np.concatenate(rows)
    v = v[rng.permutation(len(v))]
    for k in range(len(FEATURES)):
        atom = v[:, k] == 0
        v[atom, k] = -rng.uniform(0, 0.5, atom.sum()) * v[:, k].std()
    v[:, :-1] = (v[:, :-1] - v[:, :-1].mean(0)) / v[:, :-1].std(0)
    v = v.astype(np.float32)
    held, n = len(v) // 10, len(FEATURES)
    save({"train": v[held:, :n], "train.context": v[held:, n:], "test": v[:held, :n], "test.context": v[:held, n:]}, folder / "oneflow.safetensors")


main()

"""Makes golden.json: the shower metrics by numpy and jetnet 0.2.5, on the first 1000 showers of mini_reference.h5 and of a
distorted mini_train.h5.

    python3 golden.py FOLDER_WITH_THE_SHOWERS FOLDER_WITH_judge_showers.py
"""
import json
import sys

import h5py
import numpy as np

sys.path.insert(0, sys.argv[2])
import judge_showers as judge


def read(name):
    with h5py.File(sys.argv[1] + "/" + name) as f:
        return np.asarray(f["incident_energies"][:1000], np.float64).ravel(), np.asarray(f["showers"][:1000], np.float32)


er, vr = read("mini_reference.h5")
eg, vg = read("mini_train.h5")
v = vg.reshape(-1, 15, 8, 9)
d = v[..., 0] * np.float32(0.1)
v[..., 0] -= d
v[..., 2] += d
r, g = judge.high(er, vr), judge.high(eg, vg)
xr, xg = judge.matrix(r), judge.matrix(g)
judge.fpd(xr, xg)  # registers what jetnet wants to import
import jetnet.evaluation as je

s = np.abs(xr).max(0)
s[s == 0] = 1
fpd = je.fpd(xr / s, xg / s, min_samples=500, max_samples=1000, num_batches=5, num_points=10, normalise=False, seed=42)
kpd = je.kpd(xr / s, xg / s, num_batches=10, batch_size=1000, normalise=False, seed=42)
out = dict(
    Separation={k: float(x) for k, x in judge.separation(r, g).items()},
    Sums=[float(x) for x in xr.sum(0)], First=[float(x) for x in xr[0]],
    FPD=[float(x) for x in fpd], KPD=[float(x) for x in kpd],
)
json.dump(out, open("golden.json", "w"), indent=1)

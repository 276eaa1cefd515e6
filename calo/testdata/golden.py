"""Makes golden.json: the evaluation of showers by numpy, scikit-learn 1.9.1 and jetnet 0.2.5, of two samples against the first showers of
mini_reference.h5: 1000 of mini_train.h5, distorted, and the 300 of generated.h5 (drawn by hepmorph calo generate from a short training).

    python3 golden.py FOLDER_WITH_THE_SHOWERS FOLDER_WITH_judge_showers.py

The random draws of FPD and KPD are not ours, so there are many of them.
"""
import json
import os
import sys

import h5py
import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score

sys.path.insert(0, sys.argv[2])
import judge_showers as judge

here = os.path.dirname(os.path.abspath(__file__))


def read(path, n):
    with h5py.File(path) as f:
        return np.asarray(f["incident_energies"][:n], np.float64).ravel(), np.asarray(f["showers"][:n], np.float32)


def calibrated(r, g):
    """A score of one feature, calibrated on the showers of even number as the challenge does it, judged on the others."""
    s = [h["EC_r"][:, 4] - 0.01 * h["El"][:, 3] / h["E"] for h in (r, g)]
    x = [np.concatenate([a[k::2] for a in s]) for k in (0, 1)]
    y = np.concatenate([np.full(len(a[::2]), float(k)) for k, a in enumerate(s)])
    iso = IsotonicRegression(out_of_bounds="clip", y_min=1e-6, y_max=1 - 1e-6).fit(x[0], y)
    p = iso.predict(x[1])
    bce = log_loss(y, p)
    return dict(AUC=float(roc_auc_score(y, x[1])), Probability=[float(q) for q in iso.predict(s[1][1:40:2])], JSD=float((np.log(2) - bce) / np.log(2)))


def case(er, vr, eg, vg):
    r, g = judge.high(er, vr), judge.high(eg, vg)
    xr, xg = judge.matrix(r), judge.matrix(g)
    s = np.abs(xr).max(0)
    s[s == 0] = 1
    n = len(xr)
    return dict(
        Separation={k: float(x) for k, x in judge.separation(r, g).items()},
        Sums=[float(x) for x in xg.sum(0)], First=[float(x) for x in xg[0]],
        FPD=[float(x) for x in je.fpd(xr / s, xg / s, min_samples=n // 2, max_samples=n, num_batches=40, num_points=10, normalise=False, seed=42)],
        KPD=[float(x) for x in je.kpd(xr / s, xg / s, num_batches=40, batch_size=n, normalise=False, seed=42)],
        Calibration=calibrated(r, g),
    )


er, vr = read(sys.argv[1] + "/mini_reference.h5", 1000)
eg, vg = read(sys.argv[1] + "/mini_train.h5", 1000)
x = judge.matrix(judge.high(er[:100], vr[:100]))
try:
    judge.fpd(x, x)  # registers what jetnet wants to import
except Exception:
    pass
import jetnet.evaluation as je

v = vg.reshape(-1, 15, 8, 9)  # ring 0 loses a tenth, which ring 2 gets
d = v[..., 0] * np.float32(0.1)
v[..., 0] -= d
v[..., 2] += d
out = dict(distorted=case(er, vr, eg, vg))
out["generated"] = case(er[:300], vr[:300], *read(here + "/generated.h5", 300))
json.dump(out, open(here + "/golden.json", "w"), indent=1)

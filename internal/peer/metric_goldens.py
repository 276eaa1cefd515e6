#!/usr/bin/env python3
"""Golden numbers for validation/metric and internal/gbdt, from independent code: numpy, scipy, scikit-learn, xgboost.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 xgboost==3.2.0
    V/bin/python internal/peer/metric_goldens.py > validation/metric/testdata/goldens.json

The columns are not stored: both sides make them from the same integer hash (SplitMix64), with operations that give the same
bits in any language (sums, products, comparisons), so the file holds results only. See sample() here and in golden_test.go.
"""
import json, sys
import numpy as np, scipy, scipy.stats, scipy.linalg, sklearn, xgboost as xgb
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import roc_auc_score
from sklearn.isotonic import IsotonicRegression
from sklearn.ensemble import HistGradientBoostingClassifier

M = (1 << 64) - 1

def uniform(seed, n):
    """n uniform numbers in [0,1): SplitMix64 finaliser of seed·2^32 + i"""
    with np.errstate(over="ignore"):
        x = (np.uint64(seed) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(float) * 2.0**-53

def sample(seed, n, shift):
    """5 columns: near-normal; correlated with it; skewed; atom at 0 with a tail; on a grid of 1/8. Weights: positive; signed."""
    u = [uniform(100 * seed + k, n) for k in range(12)]
    a = (u[0] + u[1] + u[2] + u[3]) - 2.0 + shift
    b = 0.5 * a + ((u[4] + u[5]) - 1.0)
    c = (u[6] * u[7]) * (1.0 + shift)
    d = np.where(u[8] < 0.4, 0.0, c + u[8])
    e = np.floor(8.0 * a) / 8.0
    w = 0.5 + u[9]
    s = np.where(u[10] < 0.1 + 0.1 * u[6], -w, w)
    return np.stack([a, b, c, d, e]), w, s

def w1(x, wx, y, wy):
    z = np.concatenate([x, y]); o = np.argsort(z, kind="stable"); z = z[o]
    f = np.cumsum(np.concatenate([wx / wx.sum(), -wy / wy.sum()])[o])
    return float(np.abs(f[:-1] * np.diff(z)).sum() / np.sqrt(np.average((y - np.average(y, weights=wy))**2, weights=wy)))

def cdf(x, w, at):
    o = np.argsort(x, kind="stable"); c = np.concatenate([[0], np.cumsum(w[o])]) / w.sum()
    return c[np.searchsorted(x[o], at, side="right")]

def ks(x, wx, y, wy):
    z = np.concatenate([x, y]); return float(np.abs(cdf(x, wx, z) - cdf(y, wy, z)).max())

def auc(s0, w0, s1, w1):
    u, inv = np.unique(np.concatenate([s0, s1]), return_inverse=True)
    a = np.bincount(inv[:len(s0)], w0, len(u)); b = np.bincount(inv[len(s0):], w1, len(u))
    return float(((np.cumsum(a) - 0.5 * a) * b).sum() / (a.sum() * b.sum()))

def chi2(x, wx, y, wy, edges):
    def h(v, w):
        n, _ = np.histogram(v, edges, weights=w); q, _ = np.histogram(v, edges, weights=w * w); return n / n.sum(), q / n.sum()**2
    (p, s), (q, t) = h(x, wx), h(y, wy); ok = s + t > 0
    c = ((p - q)**2 / np.where(ok, s + t, 1))[ok].sum(); ndf = int(ok.sum()) - 1
    return [float(c), ndf, float(scipy.stats.chi2.sf(c, ndf))]

def standard(x, y, wy):
    m = np.average(y, axis=1, weights=wy); s = np.sqrt(np.average((y - m[:, None])**2, axis=1, weights=wy))
    return ((x - m[:, None]) / s[:, None]).T, ((y - m[:, None]) / s[:, None]).T

def mmd(X, wx, Y, wy, kernel):
    kx, ky, kxy = kernel(cdist(X, X)), kernel(cdist(Y, Y)), kernel(cdist(X, Y))
    def off(k, w): return (w @ k @ w - (w * w * np.diag(k)).sum()) / (w.sum()**2 - (w * w).sum())
    return float(off(kx, wx) + off(ky, wy) - 2 * wx @ kxy @ wy / (wx.sum() * wy.sum()))

def ranks(x, w):
    u, inv = np.unique(x, return_inverse=True); m = np.bincount(inv, w); return ((np.cumsum(m) - m / 2) / w.sum())[inv]

def corr(x, w):
    m = np.average(x, axis=1, weights=w); d = x - m[:, None]; c = (d * w) @ d.T; s = np.sqrt(np.diag(c)); return c / np.outer(s, s)

def frechet(x, y):
    c = scipy.linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False)).real
    return float(((x.mean(0) - y.mean(0))**2).sum() + np.trace(np.cov(x, rowvar=False) + np.cov(y, rowvar=False) - 2 * c))

def kernel_distance(x, y):
    """jetnet's KPD kernel, one batch: unbiased MMD² with ((x.y)/d + 1)^4"""
    k = lambda a, b: (a @ b.T / a.shape[1] + 1)**4
    kx, ky, kxy = k(x, x), k(y, y), k(x, y); n, m = len(x), len(y)
    return float((kx.sum() - np.trace(kx)) / (n * (n - 1)) + (ky.sum() - np.trace(ky)) / (m * (m - 1)) - 2 * kxy.mean())

def prdc(real, fake, k):
    """the prdc package's definitions"""
    rr, ff, rf = cdist(real, real), cdist(fake, fake), cdist(real, fake)
    kr, kf = np.sort(rr, 1)[:, k], np.sort(ff, 1)[:, k]
    return [float((rf < kr[:, None]).any(0).mean()), float((rf < kf[None]).any(1).mean()),
            float((rf < kr[:, None]).sum(0).mean() / k), float((rf.min(1) < kr).mean())]

def trees(o):
    """a weak difference: AUC of xgboost (as the judges run it) and of scikit-learn on a test sample, after three trainings (xgboost: six validation parts each)"""
    def task(seed, n):
        (x, _, _), (y, _, _) = sample(seed, n, 0.0), sample(seed + 1, n, 0.08)
        return np.concatenate([x, y], 1).T, np.r_[np.zeros(n), np.ones(n)]
    X2, t2 = task(60, 20000); a, b = [], []
    for seed in (40, 42, 44):  # one training's AUC scatters by 0.002
        X, t = task(seed, 20000)
        for part in range(6):
            v = uniform(1000 + part, len(t)) < 0.25
            m = xgb.train(dict(objective="binary:logistic", eta=0.1, max_depth=6, subsample=0.8, min_child_weight=20, tree_method="hist", nthread=1, eval_metric="logloss", verbosity=0, seed=part),
                          xgb.DMatrix(X[~v], t[~v]), 600, evals=[(xgb.DMatrix(X[v], t[v]), "v")], early_stopping_rounds=20, verbose_eval=False)
            a.append(float(roc_auc_score(t2, m.predict(xgb.DMatrix(X2), iteration_range=(0, m.best_iteration + 1)))))
        h = HistGradientBoostingClassifier(max_iter=60, learning_rate=.05, max_leaf_nodes=31, early_stopping=False, random_state=0).fit(X, t)
        b.append(float(roc_auc_score(t2, h.predict_proba(X2)[:, 1])))
    o["xgboost_auc"], o["sklearn_auc"] = a, b

def main():
    n, m = 3000, 2500
    x, w, s = sample(1, n, 0.05); y, v, r = sample(2, m, 0.0)
    o = {"made_by": "internal/peer/metric_goldens.py", "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "sklearn": sklearn.__version__, "xgboost": xgb.__version__}}
    o["first"] = [float(q) for q in x[:, 0]]; o["sums"] = [float(q) for q in x.sum(1)] + [float(w.sum()), float(s.sum())]
    k = range(5); one, uno = np.ones(n), np.ones(m)
    o["w1_positive"] = [float(scipy.stats.wasserstein_distance(x[j], y[j], w, v) / np.sqrt(np.cov(y[j], aweights=v, ddof=0))) for j in k]
    o["w1_signed"] = [w1(x[j], s, y[j], r) for j in k]
    o["ks_plain"] = [[float(q) for q in scipy.stats.ks_2samp(x[j], y[j], method="asymp")] for j in k]
    o["ks_signed"] = [ks(x[j], s, y[j], r) for j in k]
    o["auc_positive"] = [float(roc_auc_score(np.r_[np.zeros(n), np.ones(m)], np.r_[x[j], y[j]], sample_weight=np.r_[w, v])) for j in k]
    o["auc_signed"] = [auc(x[j], s, y[j], r) for j in k]
    edges = np.linspace(-1, 1, 21); o["chi2_edges"] = [chi2(x[j], s, y[j], r, edges) for j in (0, 1)]
    z = np.sort(y[0])
    o["chi2_quantile"] = chi2(x[0], s, y[0], uno, np.concatenate([[-np.inf], z[m // 50::m // 50], [np.inf]]))
    o["pearson"] = corr(x, s).tolist(); o["pearson_positive"] = corr(x, w).tolist()
    o["spearman_plain"] = scipy.stats.spearmanr(x.T).statistic.tolist(); o["spearman_signed"] = corr(np.stack([ranks(x[j], s) for j in k]), s).tolist()
    X, Y = standard(x[:, :1200], y[:, :1000], v[:1000]); h = np.array([0.8, 1.6, 3.2])
    gauss = lambda d: np.exp(-d[..., None]**2 / (2 * h**2)).mean(-1)
    o["mmd2_signed"] = mmd(X, s[:1200], Y, v[:1000], gauss); o["energy_signed"] = mmd(X, s[:1200], Y, v[:1000], lambda d: -d)
    X1, Y1 = standard(x[:, :1200], y[:, :1000], np.ones(1000)); o["mmd2_plain"] = mmd(X1, np.ones(1200), Y1, np.ones(1000), gauss)
    d = pdist(Y1, "sqeuclidean"); o["median_distance"] = float(np.sqrt(np.sort(d)[len(d) // 2]))
    t = (u := uniform(999, n)) < np.clip(x[0] / 2 + 0.5, 0, 1); iso = IsotonicRegression().fit(x[4], t.astype(float), w)
    o["isotonic"] = iso.predict(np.array([-1.25, -0.5, 0.0, 0.3, 1.0, 1.25])).tolist()
    z = x[0]; win = (z >= -0.5) & (z < 0.7); mu = np.average(z[win], weights=s[win]); var = np.average((z[win] - mu)**2, weights=s[win])
    o["moments"] = [float(mu), float(np.sqrt(var)), float(s[win].sum() / s.sum())]
    o["frechet"] = frechet(x.T, y.T); o["kernel_distance"] = kernel_distance(x.T[:800], y.T[:700]); o["prdc"] = prdc(y.T[:700, :3], x.T[:800, :3], 5)
    trees(o)
    json.dump(o, sys.stdout, indent=1); print()

if __name__ == "__main__":
    main()

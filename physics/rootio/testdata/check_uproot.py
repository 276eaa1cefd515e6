"""Compares a written file with its input, branch by branch, value by value, with uproot.

usage: check_uproot.py IN.root OUT.root [TREE] [--added NAME,NAME] [--lost NAME,NAME] [--rows LO:HI] [--friend]

Every branch of the input must be in the output with the same values, bit for bit, unless it is named by --lost; the output may
have further branches, which must include those of --added and hold no NaN. With --friend branches may be missing. All trees of
the input are compared where no TREE is given. A warning is a failure. Needs uproot, awkward, numpy and the codecs' packages.
"""
import argparse
import sys
import warnings

warnings.simplefilter("error")

import awkward as ak
import numpy as np
import uproot

STEP = 20000


def trees(f):
    return {k: v for k, v in f.classnames(cycle=False).items() if v in ("TTree", "TNtuple", "TNtupleD")}


def flat(a):
    """Values and the lengths of rows of every level."""
    counts = []
    while a.ndim > 1:
        counts.append(np.asarray(ak.num(a)))
        a = ak.flatten(a)
    if len(a) and isinstance(a[0], (str, bytes)):
        return counts, np.asarray([x if isinstance(x, str) else x.decode() for x in ak.to_list(a)])
    return counts, ak.to_numpy(a)


def same(a, b):
    ca, va = flat(a)
    cb, vb = flat(b)
    if len(ca) != len(cb) or any(not np.array_equal(x, y) for x, y in zip(ca, cb)):
        return "rows have other lengths"
    if va.shape != vb.shape:
        return f"{va.shape} values, {vb.shape}"
    if va.dtype.kind == "f" and vb.dtype.kind == "f":
        va, vb = va.astype(np.result_type(va, vb)), vb.astype(np.result_type(va, vb))
        bits = np.dtype(f"u{va.dtype.itemsize}")
        equal = va.view(bits) == vb.view(bits)
    else:
        equal = va == vb
    if not np.all(equal):
        i = int(np.argmin(equal))
        return f"value {i} is {vb[i]}, not {va[i]} ({int(np.sum(~equal))} differ)"
    return None


def columns(t, step):
    """The top-level branches and the batches of rows of each that uproot can read."""
    return [b.name for b in t.branches]


def compare(a, b, args, name):
    bad = []
    lo, hi = args.rows or (0, a.num_entries)
    if b.num_entries != hi - lo:
        return [f"{name}: {b.num_entries} entries, not {hi - lo}"], 0
    have = set(columns(b, STEP))
    n = 0
    for branch in columns(a, STEP):
        if branch not in have:
            if not args.friend and branch not in args.lost:
                bad.append(f"{name}/{branch}: not there")
            continue
        n += 1
        for at in range(lo, hi, STEP):
            end = min(hi, at + STEP)
            try:
                x = a[branch].array(entry_start=at, entry_stop=end)
            except Exception as e:  # the input itself can't be read by uproot
                print(f"{name}/{branch}: skipped, uproot can't read the input: {e}", file=sys.stderr)
                break
            why = same(x, b[branch].array(entry_start=at - lo, entry_stop=end - lo))
            if why:
                bad.append(f"{name}/{branch}: rows {at}-{end}: {why}")
                break
    return bad, n


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("input")
    p.add_argument("output")
    p.add_argument("tree", nargs="?")
    p.add_argument("--added", default="")
    p.add_argument("--lost", default="")
    p.add_argument("--rows", default="")
    p.add_argument("--friend", action="store_true")
    args = p.parse_args()
    args.lost = set(args.lost.split(","))
    args.rows = tuple(int(x) for x in args.rows.split(":")) if args.rows else None
    bad, n = [], 0
    with uproot.open(args.input) as fa, uproot.open(args.output) as fb:
        names = [args.tree] if args.tree else list(trees(fa))
        for name in names:
            if name not in trees(fb):
                bad.append(f"{name}: not there")
                continue
            b, k = compare(fa[name], fb[name], args, name)
            bad += b
            n += k
        added = [x for x in args.added.split(",") if x]
        for branch in added:
            t = fb[names[0]]
            if branch not in columns(t, STEP):
                bad.append(f"{branch}: was not added")
                continue
            for at in range(0, t.num_entries, STEP):
                _, v = flat(t[branch].array(entry_start=at, entry_stop=at + STEP))
                if v.dtype.kind == "f" and np.any(np.isnan(v)):
                    bad.append(f"{branch}: has NaN")
                    break
    for x in bad:
        print(x)
    print(f"uproot {uproot.__version__}: {n} branches equal" if not bad else f"uproot {uproot.__version__}: {len(bad)} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""Compares a written file with its input with ROOT itself: entries of every tree, and of every column number and sum of values.

usage: check_root.py IN.root OUT.root [TREE] [--lost NAME,NAME]

Whatever ROOT prints is a failure. Needs the Python package of ROOT (`pip install root`, an alpha: https://root.cern).
"""
import os
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")  # the package warns that it is an alpha

import ROOT

ROOT.gROOT.SetBatch(True)


def said(f):
    """Runs f with what the C++ side prints going to a file, and returns it with the result."""
    with tempfile.TemporaryFile() as t:
        sys.stdout.flush()
        keep = os.dup(1), os.dup(2)
        os.dup2(t.fileno(), 1)
        os.dup2(t.fileno(), 2)
        try:
            out = f()
        finally:
            for k, fd in zip(keep, (1, 2)):
                os.dup2(k, fd)
                os.close(k)
        t.seek(0)
        return out, t.read().decode(errors="replace").strip()


def sums(path, tree, names):
    df = ROOT.RDataFrame(tree, path)
    out = {}
    for i, n in enumerate(names):
        ty = str(df.GetColumnType(n))
        if "RVec" in ty or "vector" in ty:
            if "string" in ty or "<" in ty[ty.find("<") + 1:]:
                continue
            d = df.Define(f"n_{i}", f"double(@.size())".replace("@", n)).Define(f"s_{i}", f"double s = 0; for (auto x : {n}) if (std::isfinite(double(x))) s += double(x); return s;")
            out[n] = d.Sum(f"n_{i}"), d.Sum(f"s_{i}")
        elif "string" not in ty and ":" not in ty:
            d = df.Define(f"s_{i}", f"std::isfinite(double({n})) ? double({n}) : 0.")
            out[n] = d.Count(), d.Sum(f"s_{i}")
    return {n: (float(a.GetValue()), b.GetValue()) for n, (a, b) in out.items()}


def readable(path, tree, names):
    """sums, without the columns that ROOT's reader can't represent."""
    try:
        return sums(path, tree, names)
    except Exception:
        out = {}
        for n in names:
            try:
                out |= sums(path, tree, [n])
            except Exception:
                pass
        return out


def main():
    args = [a for a in sys.argv[1:]]
    lost = set()
    if "--lost" in args:
        i = args.index("--lost")
        lost = set(args[i + 1].split(","))
        del args[i:i + 2]
    a, b = args[:2]
    bad = []
    fa, fb = ROOT.TFile.Open(a), ROOT.TFile.Open(b)
    if fb.TestBit(ROOT.TFile.kRecovered):
        bad.append(f"{b}: ROOT had to recover it")
    trees = args[2:] or [k.GetName() for k in fa.GetListOfKeys() if k.GetClassName() == "TTree"]
    n = 0
    for name in trees:
        ta, tb = fa.Get(name), fb.Get(name)
        if ta.GetEntries() != tb.GetEntries():
            bad.append(f"{name}: {tb.GetEntries()} entries, not {ta.GetEntries()}")
        cols = [x.GetName() for x in ta.GetListOfBranches() if x.GetName() not in lost and x.GetName().isidentifier()]
        have = {x.GetName() for x in tb.GetListOfBranches()}
        bad += [f"{name}/{x}: not there" for x in cols if x not in have]
        cols = [x for x in cols if x in have][:200]
        want, _ = said(lambda: readable(a, name, cols))
        got, text = said(lambda: sums(b, name, cols))
        if text:
            bad.append(f"{name}: ROOT says: {text[:500]}")
        for c, (k, s) in want.items():
            n += 1
            if got.get(c) != (k, s):
                bad.append(f"{name}/{c}: {got.get(c)}, not {(k, s)}")
    for x in bad[:50]:
        print(x)
    print(f"ROOT {ROOT.gROOT.GetVersion()}: {n} columns, {len(bad)} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

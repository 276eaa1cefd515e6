#!/usr/bin/env python3
"""Judges photons that were morphed row by row, with the definitions of SHARED/tools/judge_diphoton.py.

internal/peer/judge_photons.py MORPHED.root nano-simulation.root nano-data.root [--shared ../shared] [--suffix _morphed] [--tasks leading,subleading]

First reads the morphed arrays with uproot: their counts must be those of the input's photons, photons that were not morphed must keep their
values. Then the leading and the subleading photon of the selected pairs are judged apart: ten variables each,
conditions pT, eta, phi of that photon and rho; task R1 of the judge is the leading one; --tasks '' only compares the arrays. Needs numpy, uproot, awkward, xgboost.
"""
import argparse, os, sys
import awkward as ak, numpy as np, uproot

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("morphed")
p.add_argument("simulation")
p.add_argument("data")
p.add_argument("--shared", default="../shared")
p.add_argument("--suffix", default="_morphed")
p.add_argument("--tasks", default="leading,subleading")
a = p.parse_args()
sys.path.insert(0, os.path.join(a.shared, "tools"))
import judge_diphoton as judge

before = uproot.open(a.simulation)["Events"].arrays(["nPhoton"] + ["Photon_" + q for q in judge.F10])
after = uproot.open(a.morphed)["Events"].arrays(["morph_status"] + ["Photon_" + q + a.suffix for q in judge.F10])
status = after["morph_status"]
if len(before) != len(after) or not ak.all(ak.num(status) == before["nPhoton"]):
    sys.exit("morph_status has not one value a photon")
for q in judge.F10:
    x, y = before["Photon_" + q], after["Photon_" + q + a.suffix]
    if not ak.all(ak.num(y) == before["nPhoton"]):
        sys.exit(f"Photon_{q}{a.suffix} has other counts than nPhoton")
    if not ak.all((y == x)[status != 1]):
        sys.exit(f"Photon_{q}{a.suffix}: photons that were not morphed have other values than before")
print(f"{len(after)} events, {ak.sum(ak.num(status))} photons, {ak.sum(status == 1)} morphed; counts as in the input", flush=True)
for name, leg in (("leading", "l_"), ("subleading", "s_")):
    judge.TASKS[name] = ([leg + q for q in judge.F10], [leg + "pt", leg + "eta", leg + "phi", "rho"])
for name in filter(None, a.tasks.split(",")):
    sys.argv = ["judge", a.morphed, a.data, "--task", name, "--suffix", a.suffix]
    judge.main()

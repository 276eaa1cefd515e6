#!/usr/bin/env python3
"""Measures the fidelity bars on samples whose truth is known and writes docs/results.md.

internal/peer/measure.py [--tasks oneflow,r1,r2] [--seeds 1,2,3] [--bin bin/hepmorph] [--work runs/measure] [--shared ../shared]

Trains by the configs in docs/configs, applies, and lets the independent judges in SHARED/tools (Python, xgboost) judge the written files. Every
figure stands beside its value before, the floor and, where there is one, the perfect morph. Results are kept in WORK/results.json, so that the
tasks can be measured one at a time. Needs numpy, uproot, awkward, xgboost.
"""
import argparse, datetime, json, os, re, subprocess, sys, time

BARS = {"r1": ("R1, ten variables of one photon", 0.507, "0.5028 ± 0.0021"), "r2": ("R2, six variables of both photons", 0.505, "0.5002 ± 0.0025"),
        "oneflow": ("one-flow toy, 300 k per side", 0.507, "-")}


def run(*cmd):
    print("+", " ".join(cmd), flush=True)
    start = time.time()
    r = subprocess.run(cmd, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{cmd[0]} failed with {r.returncode}:\n{r.stdout}{r.stderr}")
    return r.stdout + r.stderr, time.time() - start


def judged(text):
    out = {}
    for name, auc, sd in re.findall(r"^\S*\s*(before, reweighted|before|after, reweighted|after|floor|conditions alone)[^A]*AUC (\S+) \+- (\S+)", text, re.M):
        out.setdefault(name.split(",")[0], (float(auc), float(sd)))
    return out


def measure(task, seed, a):
    folder = os.path.join(a.work, f"{task}-{seed}")
    data = os.path.join(a.shared, "data", "diphoton")
    sim, dat = os.path.join(data, "nano-simulation.root"), os.path.join(data, "nano-data.root")
    conf = f"docs/configs/{'oneflow' if task == 'oneflow' else 'nano-' + task}.yaml"
    extra = []
    if task == "oneflow":
        sim, dat = (os.path.join(a.work, "oneflow", f"oneflow-{k}.root") for k in ("simulation", "data"))
        if not os.path.exists(sim):
            run(a.bin, "samples", "oneflow", "--out", os.path.join(a.work, "oneflow"), "--events", "430000")
        extra = ["--set", f"inputs.simulation=[{sim}]", "--set", f"inputs.data=[{dat}]"]
    log, wall = run(a.bin, "morph", "train", "-c", conf, "--out", folder, "--force", "--set", f"seed={seed}", *extra)
    out = os.path.join(folder, "morphed.root")
    run(a.bin, "morph", "apply", "-m", os.path.join(folder, "model.hmm"), "-o", out, "--force", sim)
    if task == "oneflow":
        text, _ = run(sys.executable, os.path.join(a.shared, "tools", "judge_flat.py"), out, dat, "--features", "v1A,v2A,v1B,v2B", "--conditions", "pt,eta,noise")
    else:
        text, _ = run(sys.executable, os.path.join(a.shared, "tools", "judge_diphoton.py"), out, dat, "--task", task.upper())
    print(text, flush=True)
    trained = re.search(r"trained (\d+) of (\d+) steps in (\S+?);? ", log)
    return {"task": task, "seed": seed, "wall": wall, "steps": int(trained.group(1)), "training": trained.group(3), **judged(text)}


def table(rows):
    out = ["# Results", "", "Written by `make measure` (internal/peer/measure.py). The AUC of boosted trees (xgboost, cross-fitted) that try to tell morphed simulation from data,",
           "as the independent judges define it; 0.5 is perfect. Wall times include reading, weights and training.", ""]
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    out += [f"{datetime.date.today()}, {os.cpu_count()} cores of {cpu}, Go binary `{subprocess.run([A.bin, 'version'], capture_output=True, text=True).stdout.splitlines()[0]}`.", "",
            "| task | seed | steps | wall | before | after | floor | conditions alone | perfect morph | bar |", "|---|---|---|---|---|---|---|---|---|---|"]
    f = lambda r, k: "%.4f ± %.4f" % tuple(r[k]) if k in r else "-"
    for task, (name, bar, perfect) in BARS.items():
        mine = [r for r in rows if r["task"] == task]
        for r in mine:
            out.append(f"| {name} | {r['seed']} | {r['steps']} | {r['wall']:.0f} s | {f(r, 'before')} | {f(r, 'after')} | {f(r, 'floor')} | {f(r, 'conditions alone')} | {perfect} | ≤ {bar} |")
        if len(mine) > 1:
            m = sum(r["after"][0] for r in mine) / len(mine)
            out.append(f"| **{name}** | mean of {len(mine)} | | | | **{m:.4f}** | | | {perfect} | ≤ {bar}: {'holds' if m <= bar else 'missed'} |")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", default="oneflow,r1,r2")
    p.add_argument("--seeds", default="1,2,3")
    p.add_argument("--bin", default="bin/hepmorph")
    p.add_argument("--work", default="runs/measure")
    p.add_argument("--shared", default="../shared")
    p.add_argument("--out", default="docs/results.md")
    A = p.parse_args()
    os.makedirs(A.work, exist_ok=True)
    kept = os.path.join(A.work, "results.json")
    rows = json.load(open(kept)) if os.path.exists(kept) else []
    for task in A.tasks.split(","):
        for seed in map(int, A.seeds.split(",")):
            row = measure(task, seed, A)
            rows = [r for r in rows if (r["task"], r["seed"]) != (task, seed)] + [row]
            rows.sort(key=lambda r: (r["task"], r["seed"]))
            json.dump(rows, open(kept, "w"), indent=1)
            open(A.out, "w").write(table(rows))

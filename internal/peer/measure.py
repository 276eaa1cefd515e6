#!/usr/bin/env python3
"""Measures the fidelity bars on samples whose truth is known and writes docs/results.md.

internal/peer/measure.py [--tasks oneflow,r1,r2,fresh,network,trees,photons,methods,diphoton,pairs,decay,peaks,sweep,hdna] [--seeds 1,2,3] [--samples 1,11,12,13,14] [--bin bin/hepmorph] [--work runs/measure] [--shared ../shared] [--keep]

Trains by the configs in docs/configs, applies, and lets the independent judges in SHARED/tools (Python, xgboost) judge the written files. Every
figure stands beside its value before, the floor and, where there is one, the perfect morph. Results are kept in WORK/results.json, so that the
tasks can be measured one at a time. Needs numpy, uproot, awkward, xgboost.
"""
import argparse, datetime, json, os, re, subprocess, sys, time

BARS = {"r1": ("R1, ten variables of one photon", 0.507, "0.5028 ± 0.0021"), "r2": ("R2, six variables of both photons", 0.505, "0.5002 ± 0.0025"),
        "oneflow": ("one-flow toy, 300 k per side", 0.507, "-")}


def train(a, conf, folder, *extra):
    """the text and the seconds of a training; with --keep, one that is done ends at once, as its last checkpoint is there"""
    model = os.path.join(folder, "model.hmm")
    if a.keep and os.path.exists(model):
        os.remove(model)
    return run(a.bin, "morph", "train", "-c", conf, "--out", folder, *([] if a.keep else ["--force"]), *extra)


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


def report(a, model, folder, *extra):
    """rows of metrics.json of morph validate, by (name, method, subject)"""
    run(a.bin, "morph", "validate", "-m", model, "--out", os.path.join(folder, "report"), "--force", *extra)
    m = json.load(open(os.path.join(folder, "report", "metrics.json")))
    return {(r["name"], r["method"], r["subject"]): r for r in m["metrics"]}, m["verdict"]


def oneflow(a):
    d = os.path.join(a.work, "oneflow")
    sim, dat = (os.path.join(d, f"oneflow-{k}.root") for k in ("simulation", "data"))
    if not os.path.exists(sim):
        run(a.bin, "samples", "oneflow", "--out", d, "--events", "430000")
    return sim, dat, ["--set", f"inputs.simulation=[{sim}]", "--set", f"inputs.data=[{dat}]"]


def judge_toy(a, morphed, dat, *extra):
    return run(sys.executable, os.path.join(a.shared, "tools", "judge_flat.py"), morphed, dat, "--features", "v1A,v2A,v1B,v2B", "--conditions", "pt,eta,noise", *extra)[0]


def miss(q):
    """the p-value of what is judged by one, the value and its limit of all else"""
    return f"p {q['p']:.2g}" if q["name"] in ("chi2", "ratio", "profile", "ks", "atom") else f"{q['after']:.3g} of {q['target']:.3g}"


def perfect(a, folder, morphed):
    """a file like MORPHED whose morphed values are those of a perfect morph: drawn from the law of the data at the event's own conditions, by taking them from the
    nearest of six million events of data that no other sample shares; none is taken twice while one of the twelve nearest is free"""
    import numpy as np, uproot
    from scipy.spatial import cKDTree
    conditions, features = ["pt", "eta", "noise"], ["v1A", "v2A", "v1B", "v2B"]
    law = os.path.join(a.work, "oneflow-law")
    if not os.path.exists(os.path.join(law, "oneflow-data.root")):
        run(a.bin, "samples", "oneflow", "--out", law, "--events", "6000000", "--seed", "901")
    data = uproot.open(os.path.join(law, "oneflow-data.root"))["oneflow"].arrays(conditions + features, library="np")
    sim = uproot.open(morphed)["oneflow"].arrays(conditions + ["morph_weight"], library="np")
    at = lambda t: np.stack([t[c] / data[c].std() for c in conditions], 1)
    nearest = cKDTree(at(data)).query(at(sim), k=12)[1]
    used, row = np.zeros(len(data["pt"]), bool), np.empty(len(nearest), int)
    for n, near in enumerate(nearest):
        row[n] = next((k for k in near if not used[k]), near[0])
        used[row[n]] = True
    out = {**sim, **{f: data[f][row] for f in features}, **{f + "_morphed": data[f][row] for f in features}}
    path = os.path.join(folder, "perfect.root")
    with uproot.recreate(path) as f:
        f.mktree("oneflow", {k: v.dtype for k, v in out.items()}).extend(out)
    return path


WITH_P_OR_TARGET = ("w1", "chi2", "corr_max", "corr_frob", "mmd2") # metrics 2 to 6 but for ratios, which have no p-value for a reference


def missed_by_reference(r):
    """names of the targets of these that the reference misses"""
    import numpy as np
    from scipy.stats import chi2
    out = [f"{k[0]} of {k[2]}" for k, q in r.items() if k[0] in WITH_P_OR_TARGET and k[0] != "chi2" and q["reference"] > q["target"]]
    ndf = lambda q: 2 / q["floor_sd"]**2
    tests = sorted((chi2.sf(q["reference"] * ndf(q), ndf(q)), k[2]) for k, q in r.items() if k[0] == "chi2")
    worst = np.maximum.accumulate([p * (len(tests) - i) for i, (p, _) in enumerate(tests)]) # Holm
    return out + [f"chi2 of {name}" for p, (_, name) in zip(worst, tests) if p <= 0.01]


def fresh(a):
    """the models of the toy on samples that they have not seen, and on their own: the judge, the targets of morph validate on as many events as are held out, and what a perfect morph has"""
    samples, seeds = list(map(int, a.samples.split(","))), list(map(int, a.seeds.split(",")))
    out = ["", "## The toy on fresh samples", "", f"The models of seeds {', '.join(map(str, seeds))}, trained on sample 1, that of the table on top, on its held-out rows and on samples of their own seeds (`samples oneflow --seed S`), 430 k events a side, of which judge and `morph validate` take 129 k. A perfect morph draws an "
           "event's features from the law of the data at its conditions; it has the same weights.", "",
           "| sample | model | before | after, judge's weights | conditions alone | after, own weights | conditions alone, own weights | floor | targets | missed |", "|---|---|---|---|---|---|---|---|---|---|"]
    f, total, missing = lambda v: "%.4f ± %.4f" % v, {}, {}
    mean = lambda v: sum(v) / len(v)
    for s in samples:
        d = os.path.join(a.work, f"oneflow-{s}-fresh")
        sim, dat = (os.path.join(d, f"oneflow-{k}.root") for k in ("simulation", "data"))
        if not os.path.exists(sim):
            run(a.bin, "samples", "oneflow", "--out", d, "--events", "430000", "--seed", str(s))
        for m in seeds:
            model, folder = os.path.join(a.work, f"oneflow-{m}", "model.hmm"), os.path.join(d, str(m))
            os.makedirs(folder, exist_ok=True)
            morphed = os.path.join(folder, "morphed.root")
            run(a.bin, "morph", "apply", "-m", model, "-o", morphed, "--force", sim)
            if m == seeds[0]:
                answer = perfect(a, d, morphed)
            r, verdict = report(a, model, folder, "--simulation", sim, "--data", dat, "--reference", answer)
            lines = [(str(m), morphed, f"{verdict['pass']} of {verdict['pass'] + verdict['fail']} | " + (", ".join(f"{k[0]} of {k[2]} ({miss(q)})" for k, q in r.items() if q["pass"] is False) or "-"))]
            missing.setdefault("models", []).append(sum(q["pass"] is False for k, q in r.items() if k[0] in WITH_P_OR_TARGET))
            missing.setdefault("perfect", []).append(len(missed_by_reference(r)))
            if m == seeds[-1]:
                lines.append(("perfect morph", answer, " | of metrics 2 to 6, with the weights of this model: " + (", ".join(missed_by_reference(r)) or "-")))
            for name, file, rest in lines:
                j, own = judged(judge_toy(a, file, dat)), judged(judge_toy(a, file, dat, "--weight", "morph_weight"))
                out.append(f"| {s} | {name} | {f(j['before']) if name == str(m) else '-'} | {f(j['after'])} | {f(j['conditions alone'])} | {f(own['after'])} | {f(own['conditions alone'])} | {f(j['floor'])} | {rest} |")
                print(out[-1], flush=True)
                t = total.setdefault("perfect morph" if name != str(m) else "models", ([], []))
                t[0].append(j["after"][0])
                t[1].append(own["after"][0])
    for name, (j, own) in total.items():
        out.append(f"| **mean** | **{name}** | | **{mean(j):.4f}** | | **{mean(own):.4f}** | | | | |")
    return out + ["", f"Of the {len(missing['models'])} × 19 targets of W1, χ², correlations and MMD the models miss {sum(missing['models'])}, the perfect morph {sum(missing['perfect'])}."]


NETWORKS = [("2 × 64", "64, 64", 0), ("2 × 128, the default", "128, 128", 0), ("2 × 128", "128, 128", 0.1), ("2 × 256", "256, 256", 0), ("2 × 256", "256, 256", 0.05), ("2 × 256", "256, 256", 0.2)]


def network(a):
    """what a training on 300 k events leaves, by trees that see so many events of a perfect morph at the same conditions that they find it"""
    out = ["", "## Width and decay", "", "The toy trained on a sample of its own (seed 21), seed 1 of the training, 1.2 million other events (seed 902) morphed. Trees are trained on half of them, against a perfect morph of the very same events, and judge the other half.", "",
           "| hidden layers | decay | held-out NLL | trained | AUC of morphed against perfect |", "|---|---|---|---|---|"]
    d = [os.path.join(a.work, f"oneflow-{s}-network") for s in (21, 902)]
    for folder, seed, events in zip(d, (21, 902), (430000, 1200000)):
        if not os.path.exists(folder):
            run(a.bin, "samples", "oneflow", "--out", folder, "--events", str(events), "--seed", str(seed))
    answer = ""
    for name, hidden, decay in NETWORKS:
        folder = os.path.join(d[0], hidden.split(",")[0] + f"-{decay}")
        log, _ = train(a, "docs/configs/oneflow.yaml", folder, "--set", f"inputs.simulation=[{d[0]}/oneflow-simulation.root]", "--set", f"inputs.data=[{d[0]}/oneflow-data.root]",
                       "--set", f"flow.hidden=[{hidden}]", "--set", f"train.weight_decay={decay}")
        nll = min(r["nll"] for r in map(json.loads, open(os.path.join(folder, "log.jsonl"))) if r["kind"] == "evaluation")
        morphed = os.path.join(folder, "morphed.root")
        run(a.bin, "morph", "apply", "-m", os.path.join(folder, "model.hmm"), "-o", morphed, "--force", os.path.join(d[1], "oneflow-simulation.root"))
        answer, trained = answer or perfect(a, d[1], morphed), re.search(r"steps in (\S+?);? ", log).group(1)
        out.append(f"| {name} | {decay} | {nll:.4f} | {trained} | {residual(morphed, answer)} |")
        print(out[-1], flush=True)
    return out


def residual(morphed, answer):
    """the AUC of one classifier between the morphed values of two files of the same events, on the rows that it has not seen"""
    import numpy as np, uproot, xgboost as xgb
    names = ["pt", "eta", "noise", "v1A_morphed", "v2A_morphed", "v1B_morphed", "v2B_morphed"]
    x = [np.stack(list(uproot.open(f)["oneflow"].arrays(names, library="np").values()), 1) for f in (morphed, answer)]
    part = np.arange(len(x[0])) % 8
    rows = lambda which: xgb.DMatrix(np.concatenate([v[which] for v in x]), np.repeat([0, 1], which.sum()))
    trees = xgb.train(dict(objective="binary:logistic", eta=0.05, max_depth=6, subsample=0.8, min_child_weight=50, tree_method="hist", max_bin=128, nthread=os.cpu_count(), eval_metric="auc", seed=1),
                      rows(np.isin(part, [2, 4, 6])), 600, evals=[(rows(part == 0), "stop")], early_stopping_rounds=30, verbose_eval=False)
    judged = part % 2 == 1
    n, score = judged.sum(), trees.predict(rows(judged), iteration_range=(0, trees.best_iteration + 1))
    rank = np.argsort(np.argsort(score))
    return f"{((rank[n:] + 1).sum() - n * (n + 1) / 2) / n**2:.4f} ± {(1 / (6 * n))**0.5:.4f}"


def methods(a):
    """switch and cnf side by side on the toy: how much of the event is left"""
    sim, dat, extra = oneflow(a)
    out = ["", "## Methods on the one-flow toy", "", "AUC and dependence as `morph validate` gives them on held-out events; dependence is the rank correlation of a feature before and after the morph.", "",
           "| method | AUC before | AUC after | floor | mean dependence | mean transport [sd] | lower bound |", "|---|---|---|---|---|---|---|"]
    for m in ("switch", "cnf"):
        folder = os.path.join(a.work, "oneflow-1" if m == "switch" else "method-cnf")
        if not os.path.exists(os.path.join(folder, "model.hmm")):
            run(a.bin, "morph", "train", "-c", "docs/configs/oneflow.yaml", "--out", folder, "--force", "--set", f"method={m}", "--set", "train.epochs=6", *extra)
        r, _ = report(a, os.path.join(folder, "model.hmm"), folder)
        auc = r[("auc", "gbdt", "features+conditions")]
        mean = lambda name, key: sum(q[key] for k, q in r.items() if k[0] == name) / max(1, sum(k[0] == name for k in r))
        out.append(f"| {m} | {auc['before']:.4f} | {auc['after']:.4f} ± {auc['after_sd']:.4f} | {auc['floor']:.4f} | {mean('dependence', 'after'):.3f} | {mean('transport', 'after'):.3f} | {mean('transport', 'floor'):.3f} |")
    return out


ASKED = [("auc", "gbdt", "features+conditions"), ("w1", "marginal", "m"), ("chi2", "bins60", "m"), ("mean", "window", "m"), ("width", "window", "m"), ("w1", "marginal", "ptgg"), ("chi2", "bins60", "ptgg")]


def holds(q):
    """what the pair has to show: W1 within 1.5 floors, p above 0.05, moments within 50 MeV or two errors, the classifier by its own target"""
    if q["name"] == "w1":
        return q["after"] <= 1.5 * q["floor"]
    if q["name"] == "chi2":
        return q["p"] > 0.05
    return abs(q["after"]) <= max(0.05, 2 * q["after_sd"]) if q["name"] in ("mean", "width") else q["pass"]


def sample(a, folder, seed, events):
    """a built-in pair with its truth, if it is not there"""
    if not os.path.exists(os.path.join(folder, "diphoton-truth.root")):
        run(a.bin, "samples", "diphoton", "--out", folder, "--events", str(events), "--seed", str(seed), "--truth")


HELD_OUT = 1 / (1 / 229e3 + 1 / 136e3) # of the pair: data, and effective events of the simulation


def selected(u):
    """rows that the pair's config selects"""
    inside = lambda e: (abs(e) < 2.5) & ((abs(e) < 1.4442) | (abs(e) > 1.566))
    return (u["lead_pt"] > 35) & (u["sublead_pt"] > 25) & inside(u["lead_eta"]) & inside(u["sublead_eta"])


def diphoton(a):
    """the mass and pT of the pair follow from morphed pT; the width of the peak from the simulation's own label. Samples of several seeds, since a perfect morph misses a line now and then"""
    samples = [1, 5, 7, 11, 13]
    out = ["", "## Built-in diphoton pair", "", f"`samples diphoton`, 930 k events a side, seeds {', '.join(map(str, samples))} (the method was developed on seeds 2 and 5), pT of both photons morphed, by docs/configs/diphoton.yaml.", "",
           "| quantity | seed | before | after | floor | perfect morph | p | holds |", "|---|---|---|---|---|---|---|---|"]
    rows, peaks, verdicts = {k: [] for k in ASKED}, [], []
    for seed in samples:
        lines, peak, verdict = pair(a, seed)
        for k in ASKED:
            rows[k].append(lines[k])
        peaks += peak
        verdicts.append(f"seed {seed} {verdict['pass']} of {verdict['pass'] + verdict['fail']}")
    out += [l for k in ASKED for l in rows[k]]
    return out + ["", f"Targets of `morph validate` that hold: {', '.join(verdicts)}.", "", "The 125 GeV peak (simulated signal, held-out events): median and half of the central 68 % in GeV.", "",
                  "| seed | before | after | perfect morph |", "|---|---|---|---|"] + peaks


def pair(a, seed):
    import numpy as np, uproot
    d = os.path.join(a.work, f"diphoton-{seed}")
    files = [os.path.join(d, f"diphoton-{k}.root") for k in ("simulation", "data", "truth")]
    sample(a, d, seed, 930000)
    folder = os.path.join(a.work, f"diphoton-run-{seed}")
    model = os.path.join(folder, "model.hmm")
    train(a, "docs/configs/diphoton.yaml", folder, "--set", f"inputs.simulation[0].files=[{files[0]}]", "--set", f"inputs.data[0].files=[{files[1]}]")
    r, verdict = report(a, model, folder, "--reference", files[2])
    morphed = os.path.join(folder, "morphed.root")
    run(a.bin, "morph", "apply", "-m", model, "-o", morphed, "--force", files[0])
    t = uproot.open(morphed)["diphoton"].arrays(["m_gg", "m_morphed", "gen_process", "morph_status", "eventNumber"], library="np")
    u = uproot.open(files[2])["diphoton"].arrays(["m_gg", "gen_process", "eventNumber"], library="np")
    sel = (t["gen_process"] == 1) & (t["morph_status"] == 1) & (t["eventNumber"] % 10 >= 7)
    tru = u["m_gg"][np.isin(u["eventNumber"], t["eventNumber"][sel])]
    middle = lambda x: f"{np.median(x):.3f}, {np.diff(np.quantile(x, [.16, .84]))[0] / 2:.3f}"
    return {k: asked(seed, r[k]) for k in ASKED}, [f"| {seed} | {middle(t['m_gg'][sel])} | {middle(t['m_morphed'][sel])} | {middle(tru)} |"], verdict


def pairs(a):
    """the models of the task diphoton on samples that they have not seen, as large as what is held out: a single sample, on which the perfect morph misses lines as well, says little"""
    import statistics
    from scipy.stats import chi2
    models, samples, lines = [1, 5, 7, 11, 13], list(range(201, 241)), [k for k in ASKED if k[0] != "auc"]
    out = ["", "## Built-in diphoton pair on fresh samples", "", f"The models of these five seeds in turn on {len(samples)} samples that none of them has seen (`samples diphoton --events 280000 --seed S --truth`, S = {samples[0]} to {samples[-1]}), each as large as what was held out above. "
           "W1 over its floor: mean over the samples, with its error. Lines: the seven above but for the classifier, on each sample.", "",
           "| model | W1 of m before | after | perfect morph | W1 of pT before | after | perfect morph | lines that hold | perfect morph |", "|---|---|---|---|---|---|---|---|---|"]
    found, reports = {m: {} for m in models}, []
    for i, s in enumerate(samples):
        m, d = models[i % len(models)], os.path.join(a.work, f"diphoton-{s}-fresh")
        files = [os.path.join(d, f"diphoton-{k}.root") for k in ("simulation", "data", "truth")]
        sample(a, d, s, 280000)
        r, _ = report(a, os.path.join(a.work, f"diphoton-run-{m}", "model.hmm"), d, "--all", "--quick", "--simulation", files[0], "--data", files[1], "--reference", files[2])
        reports.append(r)
        ndf = lambda q: 2 / q["floor_sd"]**2
        p = sorted((chi2.sf(r[k]["reference"] * ndf(r[k]), ndf(r[k])), k) for k in lines if k[0] == "chi2") # corrected for two (Holm)
        p = {p[0][1]: 2 * p[0][0], p[1][1]: max(2 * p[0][0], p[1][0])}
        for k in lines:
            found[m].setdefault("hold", []).append(holds(r[k]))
            found[m].setdefault("perfect", []).append(holds({**r[k], "after": r[k]["reference"], "p": p.get(k)}))
            if k[0] == "w1":
                for what in ("before", "after", "reference"):
                    found[m].setdefault((k[2], what), []).append(r[k][what] / r[k]["floor"])
        print(s, m, *(f"{k[0]} {k[1]} {v[-1]:.2f}" for k, v in found[m].items() if isinstance(k, tuple)), flush=True)
    found["**all**"] = {k: sum((found[m][k] for m in models), []) for k in found[models[0]]}
    f = lambda v: f"{statistics.mean(v):.2f} ± {statistics.stdev(v) / len(v)**.5:.2f}"
    return out + [f"| {m} | " + " | ".join(f(r[c, w]) for c in ("m", "ptgg") for w in ("before", "after", "reference")) + "".join(f" | {sum(r[k])} of {len(r[k])}" for k in ("hold", "perfect")) + " |" for m, r in found.items()] + floors(reports)


def floors(reports):
    """what a perfect morph has over each floor: one, if the floor is right"""
    import statistics
    out = ["", "### Floors against the perfect morph", "", f"The same {len(reports)} samples, all columns: distances over their floors, means with errors, and on how many samples the target of `morph validate` is missed.", "",
           "| distance | perfect morph | missed | after | missed |", "|---|---|---|---|---|"]
    for k, q in reports[0].items():
        if k[0] in ("w1", "ks", "corr_max", "corr_frob", "sliced_w1") and q["floor"]:
            cells = []
            for what in ("reference", "after"):
                v = [r[k][what] / r[k]["floor"] for r in reports]
                cells.append(f"{statistics.mean(v):.2f} ± {statistics.stdev(v) / len(v)**.5:.2f} | " + (str(sum(r[k][what] > r[k]["target"] for r in reports)) if k[0] != "ks" else "-"))
            out.append(f"| {k[0]} {k[1] if k[0].startswith('corr') else ''} of {k[2]}".replace("  ", " ") + f" | {cells[0]} | {cells[1]} |")
    return out



DECAYS = [("15 epochs", "15", "0", "0"), ("30 epochs", "30", "0", "0"), ("30 epochs, weight_decay 0.1", "30", "0.1", "0"), ("30 epochs, weight_decay 0.3", "30", "0.3", "0"),
          ("30 epochs, domain_decay 1", "30", "0", "1"), ("30 epochs, domain_decay 3", "30", "0", "3"), ("30 epochs, domain_decay 5, weight_decay 0.1", "30", "0.1", "5")]


def decay(a):
    """what decays of the weights leave of the difference between the morph and the perfect one, on so many fresh events that it is seen"""
    d = [os.path.join(a.work, f"diphoton-{s}") for s in (2, 902)]
    for folder, seed, events in zip(d, (2, 902), (930000, 2000000)):
        sample(a, folder, seed, events)
    out = ["", "## Decay of the domain", "", "The built-in pair, seed 2 (the method is developed on it), morphed: two million other events (seed 902), of which the law of m and pT of the pair is compared with that of the perfect morph. W1 in standard deviations; excess: what a difference of the laws adds to a χ² per degree of "
           "freedom (60 bins) of samples as large as what is held out; peak: position less the true one in MeV, and half of the central 68 % in GeV.", "",
           "| training | held-out NLL | W1 of m | excess χ² of m | W1 of pT | excess χ² of pT | peak | width of the peak |", "|---|---|---|---|---|---|---|---|"]
    for name, epochs, weights, domain in DECAYS:
        folder = os.path.join(d[0], f"{epochs}-{weights}-{domain}")
        train(a, "docs/configs/diphoton.yaml", folder, "--set", f"inputs.simulation[0].files=[{d[0]}/diphoton-simulation.root]", "--set", f"inputs.data[0].files=[{d[0]}/diphoton-data.root]",
              "--set", f"train.epochs={epochs}", "--set", f"train.weight_decay={weights}", "--set", f"train.domain_decay={domain}")
        nll = min(r["nll"] for r in map(json.loads, open(os.path.join(folder, "log.jsonl"))) if r["kind"] == "evaluation")
        before, after, truth = laws(a, os.path.join(folder, "model.hmm"), d[1])
        if len(out) == 6:
            out.append(f"| before | | {before} {truth} |")
        out.append(f"| {name} | {nll:.4f} | {after} |")
        print(out[-1], flush=True)
    return out


def laws(a, model, folder):
    """lines of the table for the simulation before and after the morph, against the truth in FOLDER, and the true width of the peak"""
    import numpy as np, uproot
    morphed = os.path.join(folder, "morphed.root")
    run(a.bin, "morph", "apply", "-m", model, "-o", morphed, "--force", os.path.join(folder, "diphoton-simulation.root"))
    photon = [p + v for p in ("lead_", "sublead_") for v in ("pt", "eta", "phi")]
    t = uproot.open(morphed)["diphoton"].arrays(photon + ["m_gg", "m_morphed", "ptgg_morphed", "morph_status", "morph_weight", "gen_process"], library="np")
    u = uproot.open(os.path.join(folder, "diphoton-truth.root"))["diphoton"].arrays(photon + ["m_gg"], library="np")
    passes = selected(u)
    done, w, peak = t["morph_status"] == 1, t["morph_weight"].astype(float), t["gen_process"] == 1
    pair = lambda s: np.sqrt(s["lead_pt"]**2 + s["sublead_pt"]**2 + 2 * s["lead_pt"] * s["sublead_pt"] * np.cos(s["lead_phi"] - s["sublead_phi"]))

    def distances(x, y, low, high):
        wx, wy = w[done] / w[done].sum(), w[passes] / w[passes].sum()
        both = np.concatenate([x[done], y[passes]]).astype(float)
        order = np.argsort(both)
        w1 = np.sum(abs(np.cumsum(np.concatenate([wx, -wy])[order])[:-1]) * np.diff(both[order]))
        mean = np.sum(wy * y[passes])
        p, q = (np.histogram(v, 60, (low, high), weights=h)[0] for v, h in ((x[done], wx), (y[passes], wy)))
        share, p, q = q.sum(), p / p.sum(), q / q.sum()
        return f"{w1 / np.sqrt(np.sum(wy * (y[passes] - mean)**2)):.5f} | {HELD_OUT * share * np.sum((p - q)**2 / q) / 59:.3f}"

    width = lambda x: np.diff(np.quantile(x, [.16, .84]))[0] / 2
    true = u["m_gg"][passes & peak]
    line = lambda m, pt: (f"{distances(m, u['m_gg'], 100, 160)} | {distances(pt, pair(u), 0, 150)} | {1000 * (np.median(m[done & peak]) - np.median(true)):+.0f} | {width(m[done & peak]):.3f}")
    return line(t["m_gg"], pair(t)), line(t["m_morphed"], t["ptgg_morphed"]), f"(true {width(true):.3f})"


SCORES = [("normal scores of all", ["features.sieie_1", "features.sieie_2", "conditions.eta1", "conditions.eta2"]), ("of η, not of σ_iηiη", ["conditions.eta1", "conditions.eta2"]), ("of neither, as `auto` has it", [])]


def peaks(a):
    """what normal scores of columns with two peaks leave of a difference between the morph and the perfect one: χ² of laws on events of six fresh samples"""
    import numpy as np, uproot
    columns = [p + v for v in ("pt", "r9", "sieie") for p in ("lead_", "sublead_")] + ["m"]
    true = lambda c: "m_gg" if c == "m" else c
    d = os.path.join(a.work, "diphoton-5")
    sample(a, d, 5, 930000)
    out = ["", "## Two peaks", "", "The built-in pair, seed 5 (on which the method is developed). Events of six fresh samples (seeds 201 to 206) morphed and as the perfect morph has them: what a difference of the laws adds to a χ² per degree of freedom (50 bins, equally filled) of samples as large as what is held out.", "",
           "| training | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, scores in SCORES:
        folder = os.path.join(d, f"scores-{len(scores)}")
        train(a, "docs/configs/diphoton.yaml", folder, "--set", f"inputs.simulation[0].files=[{d}/diphoton-simulation.root]", "--set", f"inputs.data[0].files=[{d}/diphoton-data.root]",
              *sum((["--set", f"{s}.transform=gauss"] for s in scores), []))
        got, want, weight = {c: [] for c in columns}, {c: [] for c in columns}, []
        for s in range(201, 207):
            f = os.path.join(a.work, f"diphoton-{s}-fresh")
            sample(a, f, s, 280000)
            morphed = os.path.join(folder, "morphed.root")
            run(a.bin, "morph", "apply", "-m", os.path.join(folder, "model.hmm"), "-o", morphed, "--force", os.path.join(f, "diphoton-simulation.root"))
            t = uproot.open(morphed)["diphoton"].arrays([c + "_morphed" for c in columns] + ["morph_status", "morph_weight"], library="np")
            u = uproot.open(os.path.join(f, "diphoton-truth.root"))["diphoton"].arrays([true(c) for c in columns] + ["lead_eta", "sublead_eta"], library="np")
            both = (t["morph_status"] == 1) & selected(u)
            weight.append(t["morph_weight"][both].astype(float))
            for c in columns:
                got[c].append(t[c + "_morphed"][both])
                want[c].append(u[true(c)][both])
        w = np.concatenate(weight) / sum(v.sum() for v in weight)
        cells = []
        for c in columns:
            x, y = np.concatenate(got[c]).astype(float), np.concatenate(want[c]).astype(float)
            order = np.argsort(y)
            edges = y[order][np.searchsorted(np.cumsum(w[order]), np.linspace(0, 1, 51)[1:-1])]
            p, q = (np.bincount(np.searchsorted(edges, v), w, 50) for v in (x, y))
            cells.append(f"{HELD_OUT * np.sum((p - q)**2 / q) / 49:.2f}")
        out.append(f"| {name} | " + " | ".join(cells) + " |")
        print(out[-1], flush=True)
    return out


def asked(seed, q):
    g = lambda v, n=4: "-" if v is None else f"{v:.{n}g}"
    sd = "" if q["after_sd"] is None else f" ± {g(q['after_sd'], 2)}"
    return f"| {q['name']} {q['method']} of {q['subject']} [{q['unit']}] | {seed} | {g(q['before'])} | {g(q['after'])}{sd} | {g(q['floor'])} ± {g(q['floor_sd'], 2)} | {g(q['reference'])} | {g(q['p'], 3)} | {'yes' if holds(q) else 'no'} |"


def trees(a):
    """the trees of morph validate beside the judge's, and the metrics of one variable and of pairs on the toy"""
    sim, dat, extra = oneflow(a)
    out = ["", "## Our own trees beside the judges'", "", "`morph validate` on the models of seed 1 against the judges, with the weights that apply wrote in both.", "",
           "| task | judge before | ours before | judge after | ours after | ours, perfect morph | our floor |", "|---|---|---|---|---|---|---|"]
    truth = ("--reference", os.path.join(a.shared, "data", "diphoton", "nano-truthmorph.root"))
    for task in BARS:
        folder, judge = os.path.join(a.work, task + "-1"), next(r for r in STATE["rows"] if (r["task"], r["seed"]) == (task, 1))
        judge = {**judge, **judge["own"]} # "before" needs no weights of ours
        m, verdict = report(a, os.path.join(folder, "model.hmm"), folder, *(() if task == "oneflow" else truth))
        q = m[("auc", "gbdt", "features+conditions")]
        out.append(f"| {BARS[task][0]} | {judge['before'][0]:.4f} | {q['before']:.4f} | {judge['after'][0]:.4f} | {q['after']:.4f} ± {q['after_sd']:.4f} | {'-' if q['reference'] is None else '%.4f' % q['reference']} | {q['floor']:.4f} ± {q['floor_sd']:.4f} |")
        if task == "oneflow":
            toy, judged = m, verdict
    out += ["", f"The toy by `morph validate`, targets {judged}; {toy[('w1', 'marginal', 'v1A')]['n']} held-out events a side.", "", "| quantity | before | after | floor | asked for | p |", "|---|---|---|---|---|---|"]
    g = lambda v, n=4: "-" if v is None else f"{v:.{n}g}"
    for k, q in toy.items():
        if k[0] in ("w1", "chi2", "ratio", "corr_max", "corr_frob", "mmd2", "sliced_w1", "energy"):
            mark = {True: "holds", False: "missed", None: "-"}[q["pass"]]
            out.append(f"| {k[0]} {k[1]} of {k[2]} | {g(q['before'])} | {g(q['after'])} | {g(q['floor'])} ± {g(q['floor_sd'], 2)} | {g(q['target'])}: {mark} | {g(q['p'], 3)} |")
    return out


def sweep(a):
    """the bound on transport at 0.5, 1 and 2 times its free value: held-out likelihood"""
    sim, dat, extra = oneflow(a)
    seeds = a.seeds.split(",")
    out = ["", "## Bound on transport", "", f"One-flow toy, the default network, 6000 steps, constraints from half of them on. Held-out negative log-likelihood of the best step and the transport reached, seeds {', '.join(seeds)}.", "",
           "| bound on transport | held-out NLL | transport [sd] | multiplier |", "|---|---|---|---|"]
    curve = {"bounds": [0.5, 1, 2, 0], "nll": [], "transport": []}
    for b in curve["bounds"]:
        nll, transport, bound, multiplier = [], [], [], []
        for seed in seeds:
            folder = os.path.join(a.work, f"sweep-{b}-{seed}")
            # without a bound, one that never acts: so that the transport is in the log
            cons = ["--set", "constraints=[{quantity: transport, max: %s x free}]" % (b or 100)]
            default = ["--set", "flow.hidden=[128, 128]", "--set", "train.weight_decay=0", "--set", "split.validation=0.1"]
            run(a.bin, "morph", "train", "-c", "docs/configs/oneflow.yaml", "--out", folder, "--force", "--set", f"seed={seed}", "--set", "train.epochs=0", "--set", "train.steps=6000", "--set",
                "train.constraint_warmup=0.5", *default, *cons, *extra)
            rows = [json.loads(l) for l in open(os.path.join(folder, "log.jsonl"))]
            nll.append([r for r in rows if r["kind"] == "evaluation"][-1]["nll"])
            last = [r for r in rows if "transport" in r][-1]
            transport.append(last["transport"])
            bound.append(last["transport bound"])
            multiplier.append(last["transport multiplier"])
        curve["nll"].append(nll)
        curve["transport"].append(transport)
        many = lambda v, f: ", ".join(f % x for x in v)
        out.append(f"| {f'{b} x free' if b else 'none'} | {many(nll, '%.5f')} | {many(transport, '%.4f')}{' (bound ' + many(bound, '%.4f') + ')' if b else ''} | {many(multiplier, '%.3g') if b else '-'} |")
    path = os.path.join(a.work, "sweep.json")
    json.dump(curve, open(path, "w"))
    run("go", "run", "./internal/peer/sweepfigure", path, "docs/images/transport-bound.svg")
    return out + ["", "![Held-out likelihood and transport against the bound on transport](images/transport-bound.svg)"]


def hdna(a):
    folder = os.path.join(a.work, "hdna")
    run(a.bin, "morph", "train", "-c", "docs/configs/hdna.yaml", "--out", folder, "--force")
    r, _ = report(a, os.path.join(folder, "model.hmm"), folder)
    q = r[("auc", "gbdt", "features+conditions")]
    return ["", "## HiggsDNA probes", "", "Source 0 against source 1 of one file, eight photon variables (docs/configs/hdna.yaml), held-out rows: "
            f"AUC {q['before']:.4f} before, {q['after']:.4f} ± {q['after_sd']:.4f} after, floor {q['floor']:.4f} ± {q['floor_sd']:.4f}."]


def photons(a):
    """every photon of the shared NanoAOD-like sample by one model, leading and subleading judged apart"""
    folder, data = os.path.join(a.work, "photons"), os.path.join(a.shared, "data", "diphoton")
    sim, dat, out = os.path.join(data, "nano-simulation.root"), os.path.join(data, "nano-data.root"), os.path.join(folder, "morphed.root")
    model = os.path.join(folder, "model.hmm")
    _, wall = train(a, "docs/configs/nano-photons.yaml", folder)
    run(a.bin, "morph", "apply", "-m", model, "-o", out, "--force", sim)
    text, _ = run(sys.executable, "internal/peer/judge_photons.py", out, sim, dat, "--shared", a.shared)
    print(text, flush=True)
    rows = ["", "## Photon rows", "", f"Every photon of the shared NanoAOD-like sample morphed by one model (docs/configs/nano-photons.yaml{'' if a.keep else f', {wall:.0f} s in all'}), ten variables; leading and subleading photon of "
            f"the selected pairs judged apart (internal/peer/judge_photons.py). uproot reads: {text.splitlines()[0]}.", "",
            "| photon | before | after | floor | conditions alone | bar |", "|---|---|---|---|---|---|"]
    for name in ("leading", "subleading"):
        j = judged("\n".join(l for l in text.splitlines() if l.startswith(name)))
        f = lambda k: "%.4f ± %.4f" % j[k]
        rows.append(f"| {name} | {f('before')} | {f('after')} | {f('floor')} | {f('conditions alone')} | ≤ 0.510: {'holds' if j['after'][0] <= 0.510 else 'missed'} |")
    return rows


SECTIONS = {"fresh": fresh, "network": network, "trees": trees, "photons": photons, "methods": methods, "diphoton": diphoton, "pairs": pairs, "decay": decay, "peaks": peaks, "sweep": sweep, "hdna": hdna}


def measure(task, seed, a):
    folder = os.path.join(a.work, f"{task}-{seed}")
    data = os.path.join(a.shared, "data", "diphoton")
    sim, dat = os.path.join(data, "nano-simulation.root"), os.path.join(data, "nano-data.root")
    conf = f"docs/configs/{'oneflow' if task == 'oneflow' else 'nano-' + task}.yaml"
    extra = []
    if task == "oneflow":
        sim, dat, extra = oneflow(a)
    model = os.path.join(folder, "model.hmm")
    log, wall = train(a, conf, folder, "--set", f"seed={seed}", *extra)
    out = os.path.join(folder, "morphed.root")
    run(a.bin, "morph", "apply", "-m", model, "-o", out, "--force", sim)
    if task == "oneflow":
        text, own = judge_toy(a, out, dat), judge_toy(a, out, dat, "--weight", "morph_weight")
    else:
        text, _ = run(sys.executable, os.path.join(a.shared, "tools", "judge_diphoton.py"), out, dat, "--task", task.upper())
        own, _ = run(sys.executable, os.path.join(a.shared, "tools", "judge_diphoton.py"), out, dat, "--task", task.upper(), "--weight", "morph_weight")
        own = "\n".join(l.replace("after, with the program's own weights", "after").replace("conditions alone, its own weights", "conditions alone") for l in own.splitlines() if "own weights" in l)
    print(text, own, flush=True)
    trained = re.search(r"trained (\d+) of (\d+) steps in (\S+?);? ", log)
    return {"task": task, "seed": seed, "wall": wall, "steps": int(trained.group(1)), "training": trained.group(3), **judged(text), "own": judged(own)}


def table(rows, sections):
    out = ["# Results", "", "Written by `make measure` (internal/peer/measure.py). The AUC of boosted trees (xgboost, cross-fitted) that try to tell morphed simulation from data,",
           "as the independent judges define it; 0.5 is perfect. \"own weights\" are the kinematic weights that apply wrote (morph_weight) instead of the judge's. Wall times include reading, weights and training.", ""]
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    out += [f"{datetime.date.today()}, {os.cpu_count()} cores of {cpu}, version {subprocess.run([A.bin, 'version'], capture_output=True, text=True).stdout.split()[1]}.", "",
            "| task | seed | steps | wall | before | after | floor | conditions alone | after, own weights | conditions alone, own weights | perfect morph | bar |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    f = lambda r, k: "%.4f ± %.4f" % tuple(r[k]) if k in r else "-"
    for task, (name, bar, perfect) in BARS.items():
        mine = [r for r in rows if r["task"] == task]
        for r in mine:
            out.append(f"| {name} | {r['seed']} | {r['steps']} | {r['wall']:.0f} s | {f(r, 'before')} | {f(r, 'after')} | {f(r, 'floor')} | {f(r, 'conditions alone')} | {f(r.get('own', {}), 'after')} | {f(r.get('own', {}), 'conditions alone')} | {perfect} | ≤ {bar} |")
        if len(mine) > 1:
            m = sum(r["after"][0] for r in mine) / len(mine)
            out.append(f"| **{name}** | mean of {len(mine)} | | | | **{m:.4f}** | | | | | {perfect} | ≤ {bar}: {'holds' if m <= bar else 'missed'} |")
    for name in SECTIONS:
        out += sections.get(name, [])
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", default="oneflow,r1,r2,fresh,network,trees,photons,methods,diphoton,pairs,decay,peaks,sweep,hdna")
    p.add_argument("--seeds", default="1,2,3")
    p.add_argument("--samples", default="1,11,12,13,14", help="seeds of the samples of the task fresh")
    p.add_argument("--bin", default="bin/hepmorph")
    p.add_argument("--work", default="runs/measure")
    p.add_argument("--keep", action="store_true", help="go on with trainings that are there instead of repeating them")
    p.add_argument("--shared", default="../shared")
    p.add_argument("--out", default="docs/results.md")
    A = p.parse_args()
    os.makedirs(A.work, exist_ok=True)
    kept = os.path.join(A.work, "results.json")
    STATE = json.load(open(kept)) if os.path.exists(kept) else {"rows": [], "sections": {}}
    if isinstance(STATE, list):
        STATE = {"rows": STATE, "sections": {}}
    for task in A.tasks.split(","):
        if task in SECTIONS:
            STATE["sections"][task] = SECTIONS[task](A)
        for seed in map(int, A.seeds.split(",") if task not in SECTIONS else []):
            row = measure(task, seed, A)
            for r in STATE["rows"]:
                if A.keep and (r["task"], r["seed"]) == (task, seed):
                    row["wall"] = r["wall"] # of the whole training
            STATE["rows"] = sorted([r for r in STATE["rows"] if (r["task"], r["seed"]) != (task, seed)] + [row], key=lambda r: (r["task"], r["seed"]))
            json.dump(STATE, open(kept, "w"), indent=1)
        json.dump(STATE, open(kept, "w"), indent=1)
        open(A.out, "w").write(table(STATE["rows"], STATE["sections"]))

#!/usr/bin/env python3
"""Runs the lines of Python that `hepmorph morph apply` has printed, as they are: .ci/snippets.py LOG UPROOT_PYTHON [ROOT_PYTHON]

LOG is what apply wrote to standard error. Fails if a block fails, prints nothing, or is not there; those for ROOT are left out without ROOT_PYTHON.
"""
import re
import subprocess
import sys

log, uproot, root = sys.argv[1], sys.argv[2], (sys.argv + [None])[3]
blocks, code = [], None
for line in open(log):
    if re.match(r"(next, in Python with uproot|or with ROOT.*):$", line):
        code = []
        blocks.append(("ROOT" if "ROOT" in line else "uproot", code))
    elif code is not None and line.startswith("    "):
        code.append(line[4:])
    else:
        code = None
if sorted(name for name, _ in blocks) != ["ROOT", "uproot"]:
    sys.exit(f"{log}: it has the blocks {[name for name, _ in blocks]}")
for name, code in blocks:
    python = uproot if name == "uproot" else root
    if python is None:
        print(f"{name}: not run, its wheel is not here")
        continue
    r = subprocess.run([python, "-W", "ignore", "-c", "".join(code)], capture_output=True, text=True)
    if r.returncode or not r.stdout.strip() or "nan" in r.stdout:
        sys.exit(f"{name} ended with {r.returncode}\n{''.join(code)}\n{r.stdout}{r.stderr}")
    print(f"{name}: {' '.join(r.stdout.split())[:100]}")

"""Reads a file of generated showers with h5py, checks it, and writes it again in other forms, sound and broken ones.

    python3 check_h5py.py SHOWERS.h5 FOLDER

Into FOLDER: showers.raw, the voxels as they lie in memory; shuffled.h5 and doubles.h5, the same showers by h5py with gzip and shuffle in float32 and
float64; cut.h5, flipped.h5 and narrow.h5, which a reader has to refuse.
"""
import os
import sys

import h5py
import numpy as np

path, out = sys.argv[1], sys.argv[2]
with h5py.File(path, "r") as f:
    assert sorted(f) == ["incident_energies", "layer_energies", "showers"], sorted(f)
    x = {name: f[name][()] for name in f}
    assert f["showers"].compression == "gzip" and f["showers"].shuffle, "the voxels are not compressed"
n, voxels = x["showers"].shape
layers = x["layer_energies"].shape[1]
assert x["incident_energies"].shape == (n, 1) and x["layer_energies"].shape[0] == n and voxels % layers == 0
assert x["showers"].dtype == np.float32 and np.isfinite(x["showers"]).all() and (x["showers"] >= 0).all()
off = np.abs(x["showers"].astype(np.float64).reshape(n, layers, -1).sum(2) - x["layer_energies"])
assert (off <= 1e-5 * x["layer_energies"] + 1e-9).all(), off.max()
x["showers"].tofile(os.path.join(out, "showers.raw"))


def write(name, kind, width=None, **options):
    with h5py.File(os.path.join(out, name), "w") as f:
        for k, v in x.items():
            f.create_dataset(k, data=v[:, :width].astype(kind) if k == "showers" else v.astype(np.float64), **options)


write("shuffled.h5", np.float32, compression="gzip", shuffle=True)
write("doubles.h5", np.float64, compression="gzip", compression_opts=9, shuffle=True)
write("narrow.h5", np.float32, width=voxels - 1)
b = bytearray(open(os.path.join(out, "shuffled.h5"), "rb").read())
open(os.path.join(out, "cut.h5"), "wb").write(b[: len(b) // 2])
for k in range(len(b) // 3, len(b) // 3 + 2000, 7):
    b[k] ^= 0x5A
open(os.path.join(out, "flipped.h5"), "wb").write(b)
print(n, "showers of", voxels, "voxels by h5py", h5py.__version__)

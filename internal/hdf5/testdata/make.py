"""Makes the small HDF5 files that the tests read (h5py 3.16, HDF5 1.14): python3 make.py, in this folder.

Every sound file holds x[i,j] = i + j/64 (i counts rows) of 37 x 11, or x[i] = i of 37.
"""
import h5py
import numpy as np

x = np.arange(37)[:, None] + np.arange(11)[None] / 64.0
kw = {
    "f4_contiguous": dict(data=x.astype("<f4")),
    "f8_contiguous": dict(data=x.astype("<f8")),
    "f4_gzip": dict(data=x.astype("<f4"), compression="gzip"),
    "f4_shuffle_gzip": dict(data=x.astype("<f4"), compression="gzip", shuffle=True, chunks=(5, 4)),
    "f8_shuffle_gzip": dict(data=x.astype("<f8"), compression="gzip", compression_opts=9, shuffle=True, chunks=(4, 11)),
    "f4_chunks": dict(data=x.astype("<f4"), chunks=(1, 3)),  # 148 chunks: a tree of two levels
    "f4_resizable": dict(data=x.astype("<f4"), chunks=(8, 11), maxshape=(None, 11)),
    "f8_one": dict(data=np.arange(37.0)),
    "bad_lzf": dict(data=x.astype("<f4"), compression="lzf"),
    "bad_fletcher32": dict(data=x.astype("<f4"), fletcher32=True),
    "bad_big_endian": dict(data=x.astype(">f4")),
    "bad_integers": dict(data=x.astype("<i4")),
    "bad_half": dict(data=x.astype("<f2")),
    "bad_scalar": dict(data=np.float32(1)),
}
for name, k in kw.items():
    with h5py.File(name + ".h5", "w") as f:
        f.create_dataset("x", track_times=False, **k)
with h5py.File("f4_holes.h5", "w") as f:  # only rows 8..15 written; the rest is the fill value
    d = f.create_dataset("x", (37, 11), "<f4", chunks=(8, 11), fillvalue=-5, track_times=False)
    d[8:16] = x[8:16]
with h5py.File("f4_userblock.h5", "w", userblock_size=512) as f:
    f.create_dataset("x", data=x.astype("<f4"), compression="gzip", track_times=False)
with h5py.File("bad_latest.h5", "w", libver="latest") as f:
    f.create_dataset("x", data=x.astype("<f4"), compression="gzip", track_times=False)
with h5py.File("bad_group.h5", "w") as f:
    f.create_group("x").create_dataset("y", data=x, track_times=False)
with h5py.File("f4_attributes.h5", "w") as f:  # attributes make the header continue elsewhere
    d = f.create_dataset("x", data=x.astype("<f4"), track_times=False)
    for i in range(20):
        d.attrs["note%d" % i] = "a shower" * 5
with h5py.File("f4_many.h5", "w") as f:  # more names than one symbol node holds
    for i in range(23):
        f.create_dataset("set%02d" % i, data=[float(i)], dtype="<f4", track_times=False)
    f.create_dataset("x", data=x.astype("<f4"), track_times=False)

package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Begin begins to write bytes from to to of a file that Temp has made to its disk, without waiting, so that Commit has less to wait for. It is a wish: failures
// are left to Commit to find.
func Begin(tmp string, from, to int64) {
	f, err := os.Open(tmp)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.SyncFileRange(int(f.Fd()), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
}

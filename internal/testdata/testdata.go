// Package testdata is for tests of several packages: it finds the shared test files, which live beside the module and are not part of it, and makes
// logs comparable.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared returns the path of a file or folder under shared/data beside the module root (HEPMORPH_SHARED overrides the
// folder shared). The test is skipped when it is not there.
func Shared(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("HEPMORPH_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			up := filepath.Dir(dir)
			if up == dir {
				t.Skip("no module root above the working directory")
			}
			dir = up
		}
		root = filepath.Join(dir, "..", "shared")
	}
	path := filepath.Join(root, "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared test data are not here: %s", name)
	}
	return path
}

package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/config"
	"hepmorph/internal/hdf5"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/train"
	"hepmorph/morph"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
	"hepmorph/validation"
)

// Exit codes.
const (
	exitOK          = 0
	exitBug         = 1   // unexpected failure
	exitUsage       = 2   // wrong flags or arguments
	exitConfig      = 3   // bad config
	exitInput       = 4   // bad or damaged input
	exitOutput      = 5   // output can't be written; what was there is intact
	exitDiverged    = 6   // training diverged
	exitValidation  = 7   // a validation threshold failed
	exitModel       = 8   // model not usable here
	exitStopped     = 75  // stopped by a signal, checkpoint saved: run again
	exitInterrupted = 130 // second interrupt
)

// usageError is a mistake in flags or arguments.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// errThreshold is a validation that did not pass.
var errThreshold = errors.New("a validation target was missed")

// exitCode maps an error to the code of its kind.
func exitCode(err error) int {
	var usage usageError
	var expr *physics.ExprError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return exitOK
	case errors.As(err, &usage), errors.Is(err, calo.ErrSettings):
		return exitUsage
	case errors.Is(err, config.ErrInvalid), errors.Is(err, morph.ErrConfig):
		return exitConfig
	case errors.Is(err, train.ErrStopped), errors.Is(err, context.Canceled):
		return exitStopped
	case errors.Is(err, atomicfile.ErrWrite), errors.Is(err, rootio.ErrOutput), errors.Is(err, train.ErrLocked):
		return exitOutput
	case errors.Is(err, train.ErrDiverged):
		return exitDiverged
	case errors.Is(err, errThreshold), errors.Is(err, errShowers):
		return exitValidation
	case errors.Is(err, modelfile.ErrUnusable), errors.Is(err, train.ErrResume), errors.Is(err, morph.ErrColumns):
		return exitModel
	case errors.Is(err, rootio.ErrInput), errors.Is(err, morph.ErrInput), errors.Is(err, validation.ErrInput), errors.Is(err, fs.ErrNotExist), badShowers(err):
		return exitInput
	case errors.As(err, &expr):
		if expr.Row >= 0 { // a value, not the expression
			return exitInput
		}
		return exitConfig
	}
	return exitBug
}

// badShowers says that a file of showers is damaged or holds something else.
func badShowers(err error) bool {
	for _, kind := range []error{geometry.ErrShape, geometry.ErrUnknown, hdf5.ErrDamaged, hdf5.ErrUnsupported, hdf5.ErrNotFound} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

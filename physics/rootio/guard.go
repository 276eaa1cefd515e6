package rootio

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	childArg = "__rootread"
	childEnv = "HEPMORPH_ROOTREAD" // set in a child, so that it never starts another
)

const (
	defaultMemLimit = 4 << 30
	defaultTimeout  = 60 * time.Second
)

// request is what the parent asks for.
type request struct {
	Op     string // list, describe, read, objects
	Path   string
	Tree   string
	Names  []string
	Lo, Hi int64
	Base   int64
}

// MaybeChild must be the first call in main (in tests: in TestMain). In a process that was started to read for another it
// does that and ends the process; otherwise it returns at once.
func MaybeChild() {
	if len(os.Args) != 3 || os.Args[1] != childArg || os.Getenv(childEnv) == "" {
		return
	}
	code := 0
	if err := child(os.Stdin, os.Stdout, os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// child answers requests until its input ends.
func child(in io.Reader, out *os.File, mem string) error {
	os.Stdout = os.Stderr // nothing but frames may go out
	limit, err := strconv.ParseInt(mem, 10, 64)
	if err != nil {
		return err
	}
	if err := limitProcess(limit); err != nil {
		return err
	}
	debug.SetMemoryLimit(limit / 4 * 3)
	debug.SetMaxStack(128 << 20)
	r := bufio.NewReader(in)
	if err := writeFrame(out, frameHello, nil); err != nil {
		return err
	}
	l := &local{}
	for {
		typ, payload, err := readFrame(r, nil)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var q request
		if typ != frameRequest || json.Unmarshal(payload, &q) != nil {
			return errors.New("a request that can't be")
		}
		if err := answer(l, q, out); err != nil {
			return err
		}
	}
}

// answer serves one request. The error is that of the pipe; an error of the file is part of the answer.
func answer(l *local, q request, out io.Writer) error {
	reply := func(v any, err error) error {
		if err == nil {
			var p []byte
			if p, err = json.Marshal(v); err == nil {
				return writeFrame(out, frameReply, p)
			}
		}
		p, _ := json.Marshal(toWire(err))
		return writeFrame(out, frameError, p)
	}
	switch q.Op {
	case "list":
		v, err := l.list(q.Path)
		return reply(v, err)
	case "describe":
		v, err := l.describe(q.Path, q.Tree)
		return reply(v, err)
	case "read":
		// Decoding and sending overlap. A buffer goes round.
		bufs := make(chan []byte, 2)
		bufs <- nil
		bufs <- nil
		frames := make(chan []byte, 1)
		sent := make(chan error, 1)
		go func() {
			var err error
			for p := range frames {
				if err == nil {
					err = writeFrame(out, frameBatch, p)
				}
				bufs <- p[:0]
			}
			sent <- err
		}()
		rerr := l.read(q.Path, q.Tree, q.Names, q.Lo, q.Hi, q.Base, func(b *Batch) error {
			frames <- encodeBatch(<-bufs, b, q.Names)
			return nil
		})
		close(frames)
		if err := <-sent; err != nil {
			return err
		}
		if rerr != nil {
			return reply(nil, rerr)
		}
		return writeFrame(out, frameDone, nil)
	case "objects":
		err := l.objects(q.Path, func(o object) error {
			head, err := json.Marshal([]string{o.path, o.class, o.why})
			if err != nil {
				return err
			}
			p := append([]byte(strconv.Itoa(len(head))+"\n"), head...)
			if o.data != nil {
				p = append(append(p, 1), o.data...)
			} else {
				p = append(p, 0)
			}
			return writeFrame(out, frameObject, p)
		})
		if err != nil {
			return reply(nil, err)
		}
		return writeFrame(out, frameDone, nil)
	}
	return fmt.Errorf("unknown request %q", q.Op)
}

// guard is a source in a child.
type guard struct {
	ctx     context.Context
	opt     Options
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *os.File
	replies chan reply
	spare   chan []byte // payloads that were decoded, whose memory serves again
	errs    *tail
	dead    bool
}

type reply struct {
	typ     byte
	payload []byte
	batch   *Batch
	err     error
}

func newGuard(ctx context.Context, opt Options) source {
	if opt.MemLimit <= 0 {
		opt.MemLimit = defaultMemLimit
	}
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	return &guard{ctx: ctx, opt: opt}
}

func (g *guard) use(ctx context.Context) { g.ctx = ctx }

// start runs the child and waits for its greeting.
func (g *guard) start(path string) error {
	if g.cmd != nil && !g.dead {
		return nil
	}
	fail := func(err error) error {
		g.close()
		return fmt.Errorf("rootio: could not start the reader of %q: %w", path, err)
	}
	if os.Getenv(childEnv) != "" {
		return fail(errors.New("this is a reader itself: MaybeChild must be the first call in main"))
	}
	exe := "/proc/self/exe" // the running program, even where its file was replaced
	if runtime.GOOS != "linux" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return fail(err)
		}
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	widen(pw)
	cmd := exec.Command(exe, childArg, strconv.FormatInt(g.opt.MemLimit, 10))
	cmd.Env = append(os.Environ(), childEnv+"=1", "GOTRACEBACK=none")
	cmd.Stdout = pw
	g.errs = &tail{}
	cmd.Stderr = g.errs
	detach(cmd) // an interrupt at the terminal is for the parent to handle
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	pw.Close()
	if err != nil {
		pr.Close()
		return fail(err)
	}
	g.cmd, g.in, g.out, g.dead = cmd, in, pr, false
	g.replies, g.spare = make(chan reply, 2), make(chan []byte, 2)
	go func(ch chan reply, spare chan []byte) {
		r := bufio.NewReaderSize(pr, 1<<16)
		for {
			var room []byte
			select {
			case room = <-spare:
			default:
			}
			typ, p, err := readFrame(r, room)
			ch <- reply{typ: typ, payload: p, err: err}
			if err != nil {
				close(ch)
				return
			}
		}
	}(g.replies, g.spare)
	rep, err := g.wait(path, 20*time.Second)
	if err != nil {
		return err
	}
	if rep.typ != frameHello {
		return fail(errors.New("no greeting: MaybeChild must be the first call in main"))
	}
	return nil
}

// patience is how many times its limit a child may take that waits for a disk or a busy machine and not for itself.
const patience = 10

// wait takes the next frame, or kills the child when it works on it for too long: half of d in processor time, or patience times d.
func (g *guard) wait(path string, d time.Duration) (reply, error) {
	t := time.NewTicker(d)
	defer t.Stop()
	begun, known := cpuTime(g.cmd.Process.Pid)
	for round := 1; ; round++ {
		select {
		case rep, ok := <-g.replies:
			if ok && rep.err == nil {
				return rep, nil
			}
			return rep, g.died(path, rep.err)
		case <-t.C:
			used, still := cpuTime(g.cmd.Process.Pid)
			if known && still && used-begun < d/2 && round < patience {
				continue
			}
			g.kill()
			return reply{}, &Error{Op: "read", File: path, Kind: ErrCorrupt, Why: fmt.Sprintf("the reader gave nothing for %v", time.Duration(round)*d), Hint: "file damaged?"}
		case <-g.ctx.Done():
			g.kill()
			return reply{}, context.Cause(g.ctx)
		}
	}
}

// died says how the child ended.
func (g *guard) died(path string, cause error) error {
	werr := g.kill()
	why := g.errs.first()
	if why == "" && werr != nil {
		why = werr.Error()
	}
	if why == "" && cause != nil {
		why = cause.Error()
	}
	return &Error{Op: "read", File: path, Kind: ErrCorrupt, Why: "the reader stopped: " + brief(why), Hint: "file damaged?"}
}

func (g *guard) kill() error {
	if g.cmd == nil || g.dead {
		return nil
	}
	g.dead = true
	_ = g.cmd.Process.Kill()
	g.in.Close()
	g.out.Close()
	go func(ch chan reply) { // let the frame reader end
		for range ch {
		}
	}(g.replies)
	return g.cmd.Wait()
}

func (g *guard) close() {
	if g.cmd == nil || g.dead {
		return
	}
	_ = g.in.Close() // the child ends by itself, unless it is at work
	_ = g.kill()
}

// ask sends a request and passes on the frames of the answer until its end.
func (g *guard) ask(q request, use func(reply) error) error {
	if err := g.start(q.Path); err != nil {
		return err
	}
	p, err := json.Marshal(q)
	if err == nil {
		err = writeFrame(g.in, frameRequest, p)
	}
	if err != nil {
		return g.died(q.Path, err)
	}
	for {
		rep, err := g.wait(q.Path, g.opt.Timeout)
		if err != nil {
			return err
		}
		switch rep.typ {
		case frameError:
			var w wireError
			if err := json.Unmarshal(rep.payload, &w); err != nil {
				return g.died(q.Path, err)
			}
			return w.err()
		case frameDone:
			return nil
		}
		if err := use(rep); err != nil {
			g.kill()
			return err
		}
		if rep.typ == frameReply {
			return nil
		}
	}
}

func (g *guard) json(q request, v any) error {
	return g.ask(q, func(r reply) error {
		if r.typ != frameReply {
			return g.died(q.Path, errFrame)
		}
		if err := json.Unmarshal(r.payload, v); err != nil {
			return g.died(q.Path, err)
		}
		return nil
	})
}

func (g *guard) list(path string) (out []TreeInfo, err error) {
	err = g.json(request{Op: "list", Path: path}, &out)
	return out, err
}

func (g *guard) describe(path, tree string) (out TreeInfo, err error) {
	err = g.json(request{Op: "describe", Path: path, Tree: tree}, &out)
	return out, err
}

func (g *guard) read(path, tree string, names []string, lo, hi, base int64, emit func(*Batch) error) error {
	return g.ask(request{Op: "read", Path: path, Tree: tree, Names: names, Lo: lo, Hi: hi, Base: base}, func(r reply) error {
		if r.typ != frameBatch {
			return g.died(path, errFrame)
		}
		b, err := decodeBatch(r.payload, names)
		if err != nil {
			return g.died(path, err)
		}
		select {
		case g.spare <- r.payload:
		default:
		}
		return emit(b)
	})
}

func (g *guard) objects(path string, emit func(object) error) error {
	return g.ask(request{Op: "objects", Path: path}, func(r reply) error {
		size, rest, ok := strings.Cut(string(r.payload), "\n")
		n, err := strconv.Atoi(size)
		if r.typ != frameObject || !ok || err != nil || n < 0 || n >= len(rest) {
			return g.died(path, errFrame)
		}
		var head []string
		if json.Unmarshal([]byte(rest[:n]), &head) != nil || len(head) != 3 {
			return g.died(path, errFrame)
		}
		o := object{path: head[0], class: head[1], why: head[2]}
		if rest[n] == 1 {
			o.data = []byte(rest[n+1:])
		}
		return emit(o)
	})
}

// tail keeps the beginning of what a child says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 4096 - len(t.b); room > 0 {
		t.b = append(t.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// first is the line that matters: the runtime's reason, where it gave one.
func (t *tail) first() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range strings.Split(string(t.b), "\n") {
		if strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "panic:") {
			return line
		}
	}
	line, _, _ := strings.Cut(string(t.b), "\n")
	return line
}

// What the peers notice, with its time, for measuring.
//
// Recording peers know three commands more:
//
//	begin I COMMAND …  does COMMAND on peer I in the background and notes when it began;
//	                   COMMAND may also be "massjoin N": the N-1 peers after I join peer I at once
//	events 0           answers with what was noticed since the last time, and forgets it
//	usage 0            answers with the seconds of CPU used and the bytes sent so far, in
//	                   datagrams and in streams
package main

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

type event struct {
	At       float64 `json:"at_s"`
	Observer string  `json:"observer"`
	Kind     string  `json:"kind"`
	Subject  string  `json:"subject"`
	Detail   string  `json:"detail"`
}

type recorder struct {
	sync.Mutex
	began  time.Time
	events []event
}

func (r *recorder) note(observer, kind, subject, detail string) {
	r.Lock()
	defer r.Unlock()
	at := time.Since(r.began).Seconds()
	r.events = append(r.events, event{at, observer, kind, subject, detail})
}

func (r *recorder) do(command string, peers []*peer, index int, words []string, t *tap) any {
	switch command {
	case "begin":
		r.begin(words[0], peers, index, words[1:])
		return "ok"
	case "events":
		r.Lock()
		defer r.Unlock()
		events := r.events
		r.events = nil
		return events
	case "usage":
		var usage syscall.Rusage
		check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		return []float64{cpu.Seconds(), float64(t.datagrams.Load()), float64(t.streams.Load())}
	}
	return do(command, peers[index], words)
}

func (r *recorder) begin(command string, peers []*peer, index int, words []string) {
	name := peers[index].list.LocalNode().Name
	r.note(name, "begin", name, command)
	if command != "massjoin" {
		go r.report(name, command, peers[index], words)
		return
	}
	count, err := strconv.Atoi(words[0])
	check(err)
	seed := []string{peers[index].list.LocalNode().Address()}
	for _, p := range peers[index+1 : index+count] {
		go r.report(p.list.LocalNode().Name, "join", p, seed)
	}
}

func (r *recorder) report(name, command string, p *peer, words []string) {
	if answer := do(command, p, words); answer != "ok" {
		r.note(name, "error", name, answer.(string))
	}
}

// witness notes what one peer believes of the others.
type witness struct {
	recorder *recorder
	name     string
}

func (w *witness) NotifyJoin(n *memberlist.Node)  { w.recorder.note(w.name, "joined", n.Name, "") }
func (w *witness) NotifyLeave(n *memberlist.Node) { w.recorder.note(w.name, "gone", n.Name, "") }
func (w *witness) NotifyUpdate(n *memberlist.Node) {
	w.recorder.note(w.name, "updated", n.Name, string(n.Meta))
}

// logReader finds suspicions, which memberlist tells to nobody but its log.
type logReader struct {
	recorder *recorder
	name     string
}

func (l *logReader) Write(line []byte) (int, error) {
	_, rest, isFound := strings.Cut(string(line), "memberlist: Suspect ")
	if subject, _, _ := strings.Cut(rest, " "); isFound {
		l.recorder.note(l.name, "suspected", subject, "")
	}
	return len(line), nil
}

// mute ends a peer and keeps its port open without ever answering, like a host that hangs.
func mute(p *peer) error {
	address := p.list.LocalNode().Address()
	if err := p.list.Shutdown(); err != nil {
		return err
	}
	streams, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", address)
	silent.Lock()
	defer silent.Unlock()
	silent.open = append(silent.open, streams, packets)
	return err
}

// silent holds the ports of muted peers, which a collected socket would close.
var silent struct {
	sync.Mutex
	open []any
}

// Memberlist peers in one process, steered by lines on standard input.
//
// Each command answers with one line of JSON. With -tap, everything that the peers send is
// written to a file as "udp|tcp <hex>", from which golden bytes can be taken. With -record, what
// the peers notice is kept with its time, and bytes are counted: see record.go.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

type tap struct {
	sync.Mutex
	file *os.File
	// Bytes given to the sockets.
	datagrams, streams atomic.Int64
}

func (t *tap) write(kind string, data []byte) {
	if kind == "udp" {
		t.datagrams.Add(int64(len(data)))
	} else {
		t.streams.Add(int64(len(data)))
	}
	if t.file == nil {
		return
	}
	t.Lock()
	defer t.Unlock()
	fmt.Fprintf(t.file, "%s %s\n", kind, hex.EncodeToString(data))
}

type tapped struct {
	*memberlist.NetTransport
	tap     *tap
	streams chan net.Conn
}

type tappedConn struct {
	net.Conn
	tap  *tap
	kind string
}

func (c *tappedConn) Write(data []byte) (int, error) {
	c.tap.write(c.kind, data)
	return c.Conn.Write(data)
}

func (t *tapped) WriteToAddress(data []byte, a memberlist.Address) (time.Time, error) {
	t.tap.write("udp", data)
	return t.NetTransport.WriteToAddress(data, a)
}

func (t *tapped) WriteTo(data []byte, a string) (time.Time, error) {
	t.tap.write("udp", data)
	return t.NetTransport.WriteTo(data, a)
}

func (t *tapped) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	conn, err := t.NetTransport.DialAddressTimeout(a, d)
	if err != nil {
		return nil, err
	}
	return &tappedConn{conn, t.tap, "request"}, nil
}

func (t *tapped) StreamCh() <-chan net.Conn { return t.streams }

func (t *tapped) relay() {
	for conn := range t.NetTransport.StreamCh() {
		t.streams <- &tappedConn{conn, t.tap, "reply"}
	}
}

type delegate struct{ meta []byte }

func (d *delegate) NodeMeta(int) []byte             { return d.meta }
func (d *delegate) NotifyMsg([]byte)                {}
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d *delegate) LocalState(bool) []byte          { return []byte("state of go") }
func (d *delegate) MergeRemoteState([]byte, bool)   {}

type peer struct {
	list     *memberlist.Memberlist
	ring     *memberlist.Keyring
	delegate *delegate
}

func main() {
	count := flag.Int("n", 1, "peers")
	label := flag.String("label", "", "label")
	key := flag.String("key", "", "base64 key")
	tapPath := flag.String("tap", "", "file for everything sent")
	isRecorded := flag.Bool("record", false, "keep what the peers notice, count bytes")
	flag.Parse()
	var t *tap
	var r *recorder
	if *isRecorded {
		t, r = &tap{}, &recorder{began: time.Now()}
	}
	if *tapPath != "" {
		file, err := os.Create(*tapPath)
		check(err)
		t = &tap{file: file}
	}
	peers := make([]*peer, *count)
	addresses := make([]string, *count)
	for i := range peers {
		peers[i] = start(fmt.Sprintf("go%d", i), *label, *key, t, r)
		addresses[i] = peers[i].list.LocalNode().Address()
	}
	say(addresses)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		index, err := strconv.Atoi(words[1])
		check(err)
		if r != nil {
			say(r.do(words[0], peers, index, words[2:], t))
		} else {
			say(do(words[0], peers[index], words[2:]))
		}
	}
}

func start(name, label, key string, t *tap, r *recorder) *peer {
	config := memberlist.DefaultLANConfig()
	config.Name, config.Label = name, label
	config.BindAddr, config.BindPort, config.AdvertisePort = "127.0.0.1", 0, 0
	config.LogOutput = io.Discard
	p := &peer{delegate: &delegate{meta: []byte("meta of " + name)}}
	config.Delegate = p.delegate
	if r != nil {
		config.Events = &witness{r, name}
		config.LogOutput = &logReader{r, name}
	}
	if key != "" {
		raw, err := base64.StdEncoding.DecodeString(key)
		check(err)
		p.ring, err = memberlist.NewKeyring(nil, raw)
		check(err)
		config.Keyring = p.ring
	}
	if t != nil {
		inner := open()
		outer := &tapped{inner, t, make(chan net.Conn)}
		go outer.relay()
		config.Transport = outer
		config.BindPort = inner.GetAutoBindPort()
		config.AdvertisePort = config.BindPort
	}
	list, err := memberlist.Create(config)
	check(err)
	p.list = list
	return p
}

// open binds UDP and TCP to one port, which may take a few attempts.
func open() *memberlist.NetTransport {
	for attempt := 1; ; attempt++ {
		transport, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{"127.0.0.1"}, Logger: log.New(io.Discard, "", 0),
		})
		if err == nil {
			return transport
		}
		if attempt == 10 {
			check(err)
		}
	}
}

func do(command string, p *peer, arguments []string) any {
	var err error
	switch command {
	case "join":
		_, err = p.list.Join(arguments)
	case "members":
		names := map[string]string{}
		for _, node := range p.list.Members() {
			names[node.Name] = string(node.Meta)
		}
		return names
	case "health":
		return p.list.GetHealthScore()
	case "leave":
		err = p.list.Leave(5 * time.Second)
	case "kill":
		err = p.list.Shutdown()
	case "mute":
		err = mute(p)
	case "meta":
		p.delegate.meta = []byte(arguments[0])
		err = p.list.UpdateNode(5 * time.Second)
	case "install", "use", "remove":
		raw, bad := base64.StdEncoding.DecodeString(arguments[0])
		check(bad)
		switch command {
		case "install":
			err = p.ring.AddKey(raw)
		case "use":
			err = p.ring.UseKey(raw)
		case "remove":
			err = p.ring.RemoveKey(raw)
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func say(value any) {
	line, err := json.Marshal(value)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Members of a ring by the serf library, in one process, steered by lines on standard input.
//
// The library can label a ring; the agent program has no option for it. Each command answers with
// one line of JSON.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

type peer struct {
	*serf.Serf
	lock sync.Mutex
	// Names of the user events heard.
	heard []string
}

type view struct {
	Status string            `json:"status"`
	Tags   map[string]string `json:"tags"`
}

func main() {
	count := flag.Int("n", 1, "members")
	label := flag.String("label", "", "label")
	key := flag.String("key", "", "base64 key")
	flag.Parse()
	peers := make([]*peer, *count)
	addresses := make([]string, *count)
	for i := range peers {
		peers[i] = start(fmt.Sprintf("go%d", i), *label, *key)
		local := peers[i].LocalMember()
		addresses[i] = fmt.Sprintf("%s:%d", local.Addr, local.Port)
		if i > 0 {
			_, err := peers[i].Join(addresses[:1], false)
			check(err)
		}
	}
	say(addresses)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		index, err := strconv.Atoi(words[1])
		check(err)
		say(peers[index].do(words[0], words[2:]))
	}
}

func start(name, label, key string) *peer {
	events := make(chan serf.Event, 64)
	config := serf.DefaultConfig()
	config.NodeName, config.EventCh, config.LogOutput = name, events, io.Discard
	config.Tags = map[string]string{"role": "go"}
	config.MemberlistConfig = memberlist.DefaultLANConfig()
	config.MemberlistConfig.Label, config.MemberlistConfig.LogOutput = label, io.Discard
	config.MemberlistConfig.BindAddr, config.MemberlistConfig.BindPort = "127.0.0.1", 0
	config.MemberlistConfig.AdvertisePort = 0
	if key != "" {
		raw, err := base64.StdEncoding.DecodeString(key)
		check(err)
		config.MemberlistConfig.SecretKey = raw
	}
	p := &peer{}
	go p.listen(events)
	member, err := serf.Create(config)
	check(err)
	p.Serf = member
	return p
}

func (p *peer) listen(events <-chan serf.Event) {
	for event := range events {
		if user, isUser := event.(serf.UserEvent); isUser {
			p.lock.Lock()
			p.heard = append(p.heard, user.Name)
			p.lock.Unlock()
		}
	}
}

func (p *peer) do(command string, arguments []string) any {
	switch command {
	case "members":
		members := map[string]view{}
		for _, member := range p.Members() {
			members[member.Name] = view{member.Status.String(), member.Tags}
		}
		return members
	case "event":
		check(p.UserEvent(arguments[0], []byte(arguments[1]), false))
		return "ok"
	case "heard":
		p.lock.Lock()
		defer p.lock.Unlock()
		return append([]string{}, p.heard...)
	}
	panic("no command: " + command)
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

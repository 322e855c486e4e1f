// An agent that counts, and goes on counting after a restart or a new version.
package main

import (
	"encoding/json"
	"unsafe"

	"project-name/caxton"
)

type state struct {
	Count int64 `json:"count"`
}

var now state

// Answers {"add": 2}, or anything else as if it were {"add": 1}.
//
//go:wasmexport handle_message
func handleMessage(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	var message caxton.Message
	if err := caxton.Read(pointer, length, &message); err != nil {
		return caxton.Leave(nil, err)
	}
	wish := struct {
		Add int64 `json:"add"`
	}{Add: 1}
	if len(message.Content) > 0 && message.Content[0] == '{' {
		if err := json.Unmarshal(message.Content, &wish); err != nil {
			return caxton.Leave(nil, &caxton.Error{Code: "invalid_arguments", Message: "`add` must be a whole number"})
		}
	}
	now.Count += wish.Add
	return caxton.Leave(caxton.Reply{Content: now}, nil)
}

// The state that a newer version, or this one after a restart, goes on from.
//
//go:wasmexport snapshot
func snapshot() unsafe.Pointer { return caxton.Leave(now, nil) }

//go:wasmexport restore
func restore(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	before := struct {
		State *state `json:"state"`
	}{State: &now}
	return caxton.Leave(nil, caxton.Read(pointer, length, &before))
}

func main() {}

// Package caxton is what a guest of Caxton exports and imports: JSON in, JSON out.
//
// A guest is never called by two at once. The reference of all this is
// docs/reference/wasm-abi.md of the server.
package caxton

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"unsafe"
)

// Error says why something cannot be done. Codes: invalid_arguments, not_found, denied,
// unavailable (the message is tried again), failed.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Message is what an agent gets.
type Message struct {
	ID             string          `json:"id"`
	Performative   string          `json:"performative"`
	Sender         string          `json:"sender"`
	ConversationID string          `json:"conversation_id"`
	Content        json.RawMessage `json:"content"`
}

// Reply is what it answers. The performative is left out for the usual positive answer.
type Reply struct {
	Performative string `json:"performative,omitempty"`
	Content      any    `json:"content"`
}

// The host keeps the buffers that it asked for, so that the collector must not free them.
var buffers [][]byte

// The last answer, with its length before it. The host reads it before it calls again.
var answer []byte

//go:wasmexport alloc
func alloc(size uint32) unsafe.Pointer {
	buffer := make([]byte, max(size, 1))
	buffers = append(buffers, buffer)
	return unsafe.Pointer(&buffer[0])
}

//go:wasmexport caxton_abi_version
func abiVersion() int32 { return 1 }

// Read reads the host's input into a value.
func Read(pointer unsafe.Pointer, length uint32, into any) error {
	err := json.Unmarshal(unsafe.Slice((*byte)(pointer), length), into)
	if err != nil {
		return &Error{"invalid_arguments", err.Error()}
	}
	return nil
}

// Leave leaves an answer, or an error, for the host; nothing where there is nothing to say.
func Leave(value any, err error) unsafe.Pointer {
	if value == nil && err == nil {
		return nil
	}
	if err != nil {
		var known *Error
		if !errors.As(err, &known) {
			known = &Error{"failed", err.Error()}
		}
		value = map[string]any{"error": known}
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	answer = binary.LittleEndian.AppendUint32(answer[:0], uint32(len(text)))
	answer = append(answer, text...)
	return unsafe.Pointer(&answer[0])
}

//go:wasmimport caxton call
func hostCall(operation unsafe.Pointer, operationLength uint32, arguments unsafe.Pointer, argumentsLength uint32) uint32

//go:wasmimport caxton take
func hostTake(pointer unsafe.Pointer, length uint32) uint32

// Call asks the host for something, such as Call("kv.get", map[string]any{"key": "n"}, &value),
// and waits for it.
func Call(operation string, arguments any, into any) error {
	text, err := json.Marshal(arguments)
	if err != nil {
		return err
	}
	name := []byte(operation)
	length := hostCall(unsafe.Pointer(&name[0]), uint32(len(name)), unsafe.Pointer(&text[0]), uint32(len(text)))
	told := make([]byte, max(length, 1))
	hostTake(unsafe.Pointer(&told[0]), length)
	var result struct {
		OK    json.RawMessage `json:"ok"`
		Error *Error          `json:"error"`
	}
	if err := json.Unmarshal(told[:length], &result); err != nil {
		return err
	}
	if result.Error != nil {
		return result.Error
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(result.OK, into)
}

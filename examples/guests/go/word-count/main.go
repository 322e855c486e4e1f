// An agent that counts the words of what it is told.
package main

import (
	"encoding/json"
	"sort"
	"strings"
	"unicode"
	"unsafe"

	"word-count/caxton"
)

const mostFrequent = 10

type word struct {
	Word  string `json:"word"`
	Count int    `json:"count"`
}

type counted struct {
	Words      int    `json:"words"`
	Characters int    `json:"characters"`
	Lines      int    `json:"lines"`
	Frequent   []word `json:"frequent"`
}

// Answers a text, or {"text": …}, with what is in it.
//
//go:wasmexport handle_message
func handleMessage(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	var message caxton.Message
	if err := caxton.Read(pointer, length, &message); err != nil {
		return caxton.Leave(nil, err)
	}
	text, err := textOf(message.Content)
	if err != nil {
		return caxton.Leave(nil, err)
	}
	return caxton.Leave(caxton.Reply{Content: count(text)}, nil)
}

func textOf(content json.RawMessage) (string, error) {
	var plain string
	if json.Unmarshal(content, &plain) == nil {
		return plain, nil
	}
	var object struct {
		Text *string `json:"text"`
	}
	if json.Unmarshal(content, &object) != nil || object.Text == nil {
		return "", &caxton.Error{Code: "invalid_arguments", Message: "send a text, or {\"text\": …}"}
	}
	return *object.Text, nil
}

func count(text string) counted {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '\''
	})
	counts := map[string]int{}
	for _, one := range words {
		counts[one]++
	}
	frequent := make([]word, 0, len(counts))
	for one, times := range counts {
		frequent = append(frequent, word{one, times})
	}
	sort.Slice(frequent, func(i, j int) bool {
		if frequent[i].Count != frequent[j].Count {
			return frequent[i].Count > frequent[j].Count
		}
		return frequent[i].Word < frequent[j].Word
	})
	lines := 0
	if text != "" {
		lines = strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	}
	return counted{len(words), len([]rune(text)), lines, frequent[:min(len(frequent), mostFrequent)]}
}

func main() {}

// An MCP server with one tool.
package main

import (
	"strings"
	"unsafe"

	"project-name/caxton"
)

type object = map[string]any

//go:wasmexport list_tools
func listTools() unsafe.Pointer {
	return caxton.Leave([]object{{
		"name":        "shout",
		"description": "Turns a text into capital letters.",
		"inputSchema": object{
			"type":       "object",
			"properties": object{"text": object{"type": "string"}},
			"required":   []string{"text"},
		},
		"annotations": object{"readOnlyHint": true},
	}}, nil)
}

//go:wasmexport handle_tool_call
func handleToolCall(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	var call struct {
		Name      string `json:"name"`
		Arguments struct {
			Text *string `json:"text"`
		} `json:"arguments"`
	}
	if err := caxton.Read(pointer, length, &call); err != nil {
		return caxton.Leave(nil, err)
	}
	if call.Name != "shout" {
		return caxton.Leave(nil, &caxton.Error{Code: "not_found", Message: "there is no such tool"})
	}
	if call.Arguments.Text == nil {
		return caxton.Leave(nil, &caxton.Error{Code: "invalid_arguments", Message: "`text` must be a text"})
	}
	return caxton.Leave(strings.ToUpper(*call.Arguments.Text), nil)
}

func main() {}

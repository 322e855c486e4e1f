// An MCP server on stdin and stdout, as it would run anywhere: nothing in it knows of Caxton.
//
// Reference: Model Context Protocol, 2025-06-18, "stdio" transport.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
}

type object = map[string]any

var operations = map[string]func(a, b float64) (float64, error){
	"add":      func(a, b float64) (float64, error) { return a + b, nil },
	"subtract": func(a, b float64) (float64, error) { return a - b, nil },
	"multiply": func(a, b float64) (float64, error) { return a * b, nil },
	"divide": func(a, b float64) (float64, error) {
		if b == 0 {
			return 0, fmt.Errorf("nothing can be divided by zero")
		}
		return a / b, nil
	},
}

func tools() []object {
	number := object{"type": "number"}
	schema := object{
		"type": "object", "properties": object{"a": number, "b": number}, "required": []string{"a", "b"},
	}
	list := []object{}
	for _, name := range []string{"add", "subtract", "multiply", "divide"} {
		list = append(list, object{
			"name": name, "description": "Returns a and b, " + name + "ed.", "inputSchema": schema,
			"annotations": object{"readOnlyHint": true},
		})
	}
	return list
}

func call(params json.RawMessage) (any, *failure) {
	var asked struct {
		Name      string `json:"name"`
		Arguments struct {
			A *float64 `json:"a"`
			B *float64 `json:"b"`
		} `json:"arguments"`
	}
	if err := json.Unmarshal(params, &asked); err != nil {
		return nil, &failure{-32602, err.Error()}
	}
	operation, known := operations[asked.Name]
	if !known {
		return nil, &failure{-32602, "unknown tool: " + asked.Name}
	}
	if asked.Arguments.A == nil || asked.Arguments.B == nil {
		return nil, &failure{-32602, "both a and b are needed"}
	}
	result, err := operation(*asked.Arguments.A, *asked.Arguments.B)
	if err != nil {
		return content(err.Error(), true), nil
	}
	return content(fmt.Sprint(result), false), nil
}

func content(text string, isError bool) object {
	return object{"content": []object{{"type": "text", "text": text}}, "isError": isError}
}

func answer(asked request) (any, *failure) {
	switch asked.Method {
	case "initialize":
		return object{
			"protocolVersion": "2025-06-18",
			"capabilities":    object{"tools": object{}},
			"serverInfo":      object{"name": "calculator", "version": "1.0.0"},
		}, nil
	case "ping":
		return object{}, nil
	case "tools/list":
		return object{"tools": tools()}, nil
	case "tools/call":
		return call(asked.Params)
	}
	return nil, &failure{-32601, "method not found: " + asked.Method}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			out.Encode(response{Version: "2.0", Error: &failure{-32700, err.Error()}})
			continue
		}
		if asked.ID == nil {
			continue // a notification
		}
		result, wrong := answer(asked)
		out.Encode(response{"2.0", asked.ID, result, wrong})
	}
}

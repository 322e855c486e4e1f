// An MCP server that calculates.
import { alloc, caxton_abi_version, fail, find, leave, read } from "../caxton";

export { alloc, caxton_abi_version };

const SCHEMA = `{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"number"}},"required":["a","b"]}`;

function tool(name: string, description: string): string {
  return `{"name":"${name}","description":"${description}","inputSchema":${SCHEMA},"annotations":{"readOnlyHint":true}}`;
}

export function list_tools(): i32 {
  return leave(
    `[${tool("add", "Adds b to a.")},${tool("multiply", "Multiplies a by b.")},${tool("power", "Raises a to the power of b.")}]`,
  );
}

export function handle_tool_call(pointer: i32, length: i32): i32 {
  const call = read(pointer, length);
  const operation = find(call, "name");
  const given = find(call, "arguments");
  const a = parseFloat(find(given, "a"));
  const b = parseFloat(find(given, "b"));
  if (isNaN(a) || isNaN(b)) return fail("invalid_arguments", "`a` and `b` must be numbers");
  let result: f64 = 0;
  if (operation == '"add"') result = a + b;
  else if (operation == '"multiply"') result = a * b;
  else if (operation == '"power"') result = Math.pow(a, b);
  else return fail("not_found", "there is no such tool");
  if (!isFinite(result)) return fail("failed", "the result is no number that JSON has");
  return leave(result.toString());
}

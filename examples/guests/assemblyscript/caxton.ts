// What a guest of Caxton exports and imports, in AssemblyScript: JSON in, JSON out.
//
// A guest is never called by two at once. The reference is docs/reference/wasm-abi.md of the server.

// The host keeps the buffers that it asked for, so that they are pinned.
export function alloc(size: i32): i32 {
  return <i32>__pin(__new(max(size, 1), idof<ArrayBuffer>()));
}

export function caxton_abi_version(): i32 {
  return 1;
}

// The last answer, with its length before it. The host reads it before it calls again.
let answer = new ArrayBuffer(0);

export function leave(json: string): i32 {
  const text = String.UTF8.encode(json);
  answer = new ArrayBuffer(text.byteLength + 4);
  store<u32>(changetype<usize>(answer), text.byteLength);
  memory.copy(changetype<usize>(answer) + 4, changetype<usize>(text), text.byteLength);
  return <i32>changetype<usize>(answer);
}

export function fail(code: string, message: string): i32 {
  return leave(`{"error":{"code":"${code}","message":"${message}"}}`);
}

export function read(pointer: i32, length: i32): string {
  return String.UTF8.decodeUnsafe(pointer, length);
}

function skipSpace(json: string, at: i32): i32 {
  while (at < json.length && (json.charAt(at) == " " || json.charAt(at) == ":" || json.charAt(at) == ",")) at++;
  return at;
}

// Returns where the JSON value at `at` ends. What the host sends is well formed.
function skip(json: string, at: i32): i32 {
  let depth = 0;
  do {
    at = skipSpace(json, at);
    const first = json.charCodeAt(at++);
    if (first == 0x22 /* " */) {
      while (at < json.length && json.charCodeAt(at) != 0x22) at += json.charCodeAt(at) == 0x5c /* \ */ ? 2 : 1;
      at++;
    } else if (first == 0x7b /* { */ || first == 0x5b /* [ */) {
      depth++;
    } else if (first == 0x7d /* } */ || first == 0x5d /* ] */) {
      depth--;
    } else {
      while (at < json.length && !",}]".includes(json.charAt(at))) at++;
    }
  } while (depth > 0 && at < json.length);
  return at;
}

// Returns the JSON text of a key's value in a JSON object; "" when there is none.
export function find(object: string, key: string): string {
  if (!object.startsWith("{")) return "";
  let at = skipSpace(object, 1);
  while (at < object.length && object.charAt(at) != "}") {
    const name = at;
    at = skip(object, at);
    const isIt = object.substring(name + 1, at - 1) == key;
    const value = skipSpace(object, at);
    at = skip(object, value);
    if (isIt) return object.substring(value, at);
    at = skipSpace(object, at);
  }
  return "";
}

// An agent that sends back what it gets.
import { alloc, caxton_abi_version, find, leave, read } from "../caxton";

export { alloc, caxton_abi_version };

export function handle_message(pointer: i32, length: i32): i32 {
  const content = find(read(pointer, length), "content");
  return leave(`{"content":${content.length ? content : "null"}}`);
}

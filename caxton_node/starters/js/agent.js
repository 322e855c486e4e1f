// An agent that counts, and goes on counting after a restart or a new version.
// What it may import of the host is in wit/host.wit, for instance:
//   import { get } from 'caxton:guest/kv@1.0.0';

let count = 0;

// Answers {"add": 2}, or anything else as if it were {"add": 1}.
export function handleMessage(message) {
  const { content } = JSON.parse(message);
  const step = content?.add ?? 1;
  if (!Number.isInteger(step)) {
    throw { code: 'invalid_arguments', message: '`add` must be a whole number' };
  }
  count += step;
  return JSON.stringify({ content: { count } });
}

// The state that a newer version, or this one after a restart, goes on from.
export function snapshot() {
  return JSON.stringify({ count });
}

export function restore(state, fromVersion) {
  count = JSON.parse(state).count;
}

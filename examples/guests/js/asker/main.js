// An agent that asks another: whoever counts words. It answers how long the text takes to read.
import { request } from 'caxton:guest/messaging@1.0.0';

const WORDS_PER_MINUTE = 200;
const PATIENCE_MS = 10_000;

export function handleMessage(message) {
  const { content } = JSON.parse(message);
  const text = typeof content === 'string' ? content : content?.text;
  if (typeof text !== 'string') {
    throw { code: 'invalid_arguments', message: 'send a text, or {"text": …}' };
  }
  // What the host refuses, a grant that is missing for instance, goes on to whoever asked.
  const answer = JSON.parse(
    request('capability:word-count', JSON.stringify(text), PATIENCE_MS),
  );
  if (answer.performative !== 'inform') {
    throw { code: 'unavailable', message: `${answer.sender} answered ${answer.performative}` };
  }
  const { words } = answer.content;
  return JSON.stringify({
    content: { words, minutes: words / WORDS_PER_MINUTE, counted_by: answer.sender },
  });
}

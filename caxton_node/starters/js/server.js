// An MCP server with one tool.

const TOOLS = [
  {
    name: 'shout',
    description: 'Turns a text into capital letters.',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string' } },
      required: ['text'],
    },
    annotations: { readOnlyHint: true },
  },
];

export function listTools() {
  return JSON.stringify(TOOLS);
}

export function callTool(name, given) {
  if (name !== 'shout') {
    throw { code: 'not_found', message: 'there is no such tool' };
  }
  const { text } = JSON.parse(given);
  if (typeof text !== 'string') {
    throw { code: 'invalid_arguments', message: '`text` must be a text' };
  }
  return JSON.stringify(text.toUpperCase());
}

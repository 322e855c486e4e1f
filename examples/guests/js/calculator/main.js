// An MCP server that calculates, with the functions of JavaScript's Math.

const NUMBERS = {
  type: 'object',
  properties: { numbers: { type: 'array', items: { type: 'number' }, minItems: 1 } },
  required: ['numbers'],
  additionalProperties: false,
};

const TOOLS = {
  sum: ['Adds numbers.', (numbers) => numbers.reduce((all, one) => all + one, 0)],
  product: ['Multiplies numbers.', (numbers) => numbers.reduce((all, one) => all * one, 1)],
  mean: ['Returns the mean of numbers.', (numbers) => numbers.reduce((all, one) => all + one, 0) / numbers.length],
  hypotenuse: ['Returns the root of the sum of the squares of numbers.', (numbers) => Math.hypot(...numbers)],
};

export function listTools() {
  return JSON.stringify(
    Object.entries(TOOLS).map(([name, [description]]) => ({
      name,
      description,
      inputSchema: NUMBERS,
      annotations: { readOnlyHint: true },
    })),
  );
}

export function callTool(name, text) {
  if (!Object.hasOwn(TOOLS, name)) {
    throw { code: 'not_found', message: `there is no tool ${name}` };
  }
  const { numbers } = JSON.parse(text);
  if (!Array.isArray(numbers) || !numbers.length || !numbers.every(Number.isFinite)) {
    throw { code: 'invalid_arguments', message: '`numbers` must be a list of at least one number' };
  }
  return JSON.stringify(TOOLS[name][1](numbers));
}

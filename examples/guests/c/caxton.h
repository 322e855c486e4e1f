/* What a guest of Caxton exports and imports, in C without a standard library: JSON in, JSON out.
 *
 * A guest is never called by two at once. The reference is docs/reference/wasm-abi.md of the server.
 * Memory only grows: `alloc` is called seldom, the host uses its buffers again.
 */
#ifndef CAXTON_H
#define CAXTON_H

typedef unsigned int size;
typedef struct { const char *text; size length; } span;  /* of JSON, or of a name */

#define EXPORT(name) __attribute__((export_name(name)))
#define JSON(literal) ((span){literal, sizeof(literal) - 1})
#define ANSWER_MAX (1 << 20)
#define DEPTH_MAX 64

extern char __heap_base;
static char *heap = &__heap_base;

EXPORT("alloc") char *caxton_alloc(size wanted) {
    char *block = (char *)(((size)heap + 15) & ~15u);
    size end = (size)block + wanted;
    size there = __builtin_wasm_memory_size(0) << 16;
    if (end < wanted) return 0;
    if (end > there && __builtin_wasm_memory_grow(0, (end - there + 65535) >> 16) == (size)-1) return 0;
    heap = (char *)end;
    return block;
}

EXPORT("caxton_abi_version") int caxton_abi_version(void) { return 1; }

/* The answer: its length, then its text. The host reads it before it calls again. */
static struct { size length; char text[ANSWER_MAX]; } answer;

static void begin(void) { answer.length = 0; }

static void put(span piece) {
    for (size i = 0; i < piece.length && answer.length < ANSWER_MAX; i++)
        answer.text[answer.length++] = piece.text[i];
}

static void put_number(unsigned long long number) {
    char digits[20];
    size at = sizeof digits;
    do digits[--at] = '0' + number % 10; while (number /= 10);
    put((span){digits + at, sizeof digits - at});
}

static const void *end(void) { return &answer; }

static const void *fail(span code, span message) {
    begin();
    put(JSON("{\"error\":{\"code\":\"")), put(code);
    put(JSON("\",\"message\":\"")), put(message), put(JSON("\"}}"));
    return end();
}

/* Returns where the JSON value at `at` ends. What the host sends is well formed. */
static const char *skip(const char *at, const char *stop) {
    size depth = 0;
    do {
        while (at < stop && (*at == ',' || *at == ':' || *at == ' ')) at++;
        if (at >= stop) return stop;
        char first = *at++;
        if (first == '"') {
            while (at < stop && *at != '"') at += *at == '\\' ? 2 : 1;
            at++;
        } else if (first == '{' || first == '[') {
            depth++;
        } else if (first == '}' || first == ']') {
            depth--;
        } else {
            while (at < stop && *at != ',' && *at != '}' && *at != ']') at++;
        }
    } while (depth);
    return at < stop ? at : stop;
}

/* Returns the value of a key of a JSON object; of length 0 when there is none. */
static span find(span object, span key) {
    const char *at = object.text, *stop = object.text + object.length;
    if (at < stop && *at == '{') at++;
    else return (span){0, 0};
    while (at < stop && *at != '}') {
        if (*at == ',' || *at == ' ') { at++; continue; }
        const char *name = at + 1;
        at = skip(at, stop);
        size name_length = at - name - 1;
        while (at < stop && (*at == ':' || *at == ' ')) at++;
        const char *value = at;
        at = skip(at, stop);
        if (name_length != key.length) continue;
        size same = 0;
        while (same < key.length && name[same] == key.text[same]) same++;
        if (same == key.length) return (span){value, at - value};
    }
    return (span){0, 0};
}

static int is(span json, span text) {
    if (json.length != text.length) return 0;
    for (size i = 0; i < text.length; i++)
        if (json.text[i] != text.text[i]) return 0;
    return 1;
}

#endif

/* An MCP server that computes checksums of texts. */
#include "../caxton.h"

EXPORT("list_tools") const void *list_tools(void) {
    begin();
    put(JSON("[{\"name\":\"crc32\",\"description\":\"Computes the CRC-32 of a text in UTF-8.\","
             "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},"
             "\"required\":[\"text\"]},\"annotations\":{\"readOnlyHint\":true}},"
             "{\"name\":\"adler32\",\"description\":\"Computes the Adler-32 of a text in UTF-8.\","
             "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},"
             "\"required\":[\"text\"]},\"annotations\":{\"readOnlyHint\":true}}]"));
    return end();
}

/* Both sums take bytes one by one, so that the text needs no place of its own. */
typedef struct { unsigned crc, low, high; } sums;

static void add(sums *so_far, unsigned char byte) {
    so_far->crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        so_far->crc = so_far->crc >> 1 ^ (so_far->crc & 1 ? 0xEDB88320u : 0);
    so_far->low = (so_far->low + byte) % 65521;
    so_far->high = (so_far->high + so_far->low) % 65521;
}

static unsigned hexadecimal(const char *digits) {
    unsigned number = 0;
    for (int i = 0; i < 4; i++) {
        char digit = digits[i] | 32;
        number = number << 4 | (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return number;
}

static void add_character(sums *so_far, unsigned code) {
    if (code < 0x80) {
        add(so_far, code);
    } else if (code < 0x800) {
        add(so_far, 0xC0 | code >> 6), add(so_far, 0x80 | (code & 63));
    } else if (code < 0x10000) {
        add(so_far, 0xE0 | code >> 12), add(so_far, 0x80 | (code >> 6 & 63));
        add(so_far, 0x80 | (code & 63));
    } else {
        add(so_far, 0xF0 | code >> 18), add(so_far, 0x80 | (code >> 12 & 63));
        add(so_far, 0x80 | (code >> 6 & 63)), add(so_far, 0x80 | (code & 63));
    }
}

/* Adds the characters of a JSON string, its escapes resolved. */
static void add_string(sums *so_far, span json) {
    for (size i = 1; i + 1 < json.length; i++) {
        if (json.text[i] != '\\') { add(so_far, json.text[i]); continue; }
        char escaped = json.text[++i];
        unsigned code = escaped;
        switch (escaped) {
            case 'n': code = '\n'; break;
            case 't': code = '\t'; break;
            case 'r': code = '\r'; break;
            case 'b': code = '\b'; break;
            case 'f': code = '\f'; break;
            case 'u':
                code = hexadecimal(json.text + i + 1), i += 4;
                if (code >= 0xD800 && code < 0xDC00) {
                    code = 0x10000 + ((code & 0x3FF) << 10 | (hexadecimal(json.text + i + 3) & 0x3FF));
                    i += 6;
                }
        }
        add_character(so_far, code);
    }
}

EXPORT("handle_tool_call") const void *handle_tool_call(const char *input, size length) {
    span call = {input, length}, name = find(call, JSON("name"));
    span text = find(find(call, JSON("arguments")), JSON("text"));
    if (!text.length || text.text[0] != '"')
        return fail(JSON("invalid_arguments"), JSON("`text` must be a text"));
    sums all = {~0u, 1, 0};
    add_string(&all, text);
    begin();
    if (is(name, JSON("\"crc32\""))) put_number(~all.crc);
    else if (is(name, JSON("\"adler32\""))) put_number((unsigned long long)all.high << 16 | all.low);
    else return fail(JSON("not_found"), JSON("there is no such tool"));
    return end();
}

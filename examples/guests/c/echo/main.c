/* An agent that sends back what it gets. */
#include "../caxton.h"

EXPORT("handle_message") const void *handle_message(const char *text, size length) {
    span content = find((span){text, length}, JSON("content"));
    begin();
    put(JSON("{\"content\":")), put(content.length ? content : JSON("null")), put(JSON("}"));
    return end();
}

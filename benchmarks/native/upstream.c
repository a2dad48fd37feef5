/* An upstream that answers at once or in paced events, from templates that Python has prepared.
 *
 *     upstream TEMPLATES      prints its port on loopback, then serves until it is ended
 *
 * TEMPLATES: for each reply its key ("<kind> <shape> <whole|stream>"), the pause between its pieces
 * in seconds (a double), whether it is chunked, and its pieces; all lengths are little-endian u32.
 * @MODEL@ stands for the model asked and @NUMBER@ (8 bytes, in body and head) for the reply's number.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 512
#define MAX_NAME 256
#define MODEL_MARK "@MODEL@"
#define NUMBER_MARK "@NUMBER@"
#define NUMBER_SIZE 8

typedef struct { char *bytes; size_t size, room; } Bytes;

typedef struct {
    char *key;
    double pause_s;
    uint32_t is_chunked, count;
    Bytes *pieces; /* the head is the first */
} Template;

/* A reply for one model: every byte that goes out, but for the reply's number. */
typedef struct Reply {
    char *key;
    double pause_s;
    Bytes bytes;
    size_t *ends; /* of the pieces that are paced */
    size_t count, *marks, mark_count;
    struct Reply *next;
} Reply;

typedef struct Connection {
    int fd;
    Bytes in, out;
    size_t sent;
    Reply *paced;
    size_t piece;
    uint32_t number;
    double due_s;
    struct Connection *before, *after; /* in the queue of paced streams, soonest first */
} Connection;

static Template *templates;
static size_t template_count;
static Reply *replies[1024];
static Connection *soonest, *latest;
static uint32_t number;
static int poller;

static void fail(const char *what) { fprintf(stderr, "upstream: %s\n", what); exit(1); }

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void append(Bytes *to, const char *bytes, size_t size) {
    if (to->size + size > to->room) {
        to->room = (to->size + size) * 2;
        if (!(to->bytes = realloc(to->bytes, to->room))) fail("out of memory");
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

/* templates and replies */

static uint32_t read_count(FILE *file) {
    uint32_t value;
    if (fread(&value, 4, 1, file) != 1) fail("the templates are cut");
    return value;
}

static Bytes read_bytes(FILE *file) {
    Bytes bytes = {0};
    bytes.size = bytes.room = read_count(file);
    bytes.bytes = calloc(1, bytes.size + 1);
    if (fread(bytes.bytes, 1, bytes.size, file) != bytes.size) fail("the templates are cut");
    return bytes;
}

static void read_templates(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("the templates cannot be read");
    template_count = read_count(file);
    templates = calloc(template_count, sizeof *templates);
    for (size_t at = 0; at < template_count; at++) {
        Template *one = &templates[at];
        one->key = read_bytes(file).bytes;
        if (fread(&one->pause_s, 8, 1, file) != 1) fail("the templates are cut");
        one->is_chunked = read_count(file);
        one->count = read_count(file);
        one->pieces = calloc(one->count, sizeof *one->pieces);
        for (uint32_t piece = 0; piece < one->count; piece++) one->pieces[piece] = read_bytes(file);
    }
    fclose(file);
}

/* Append a template's piece with the model put in. */
static void append_filled(Bytes *to, const Bytes *piece, const char *model) {
    const char *at = piece->bytes, *end = piece->bytes + piece->size, *mark;
    while ((mark = memmem(at, end - at, MODEL_MARK, strlen(MODEL_MARK)))) {
        append(to, at, mark - at);
        append(to, model, strlen(model));
        at = mark + strlen(MODEL_MARK);
    }
    append(to, at, end - at);
}

static void find_marks(Reply *reply) {
    char *at = reply->bytes.bytes, *end = at + reply->bytes.size;
    reply->marks = malloc(sizeof(size_t) * (reply->bytes.size / NUMBER_SIZE + 1));
    while ((at = memmem(at, end - at, NUMBER_MARK, NUMBER_SIZE))) {
        reply->marks[reply->mark_count++] = at - reply->bytes.bytes;
        at += NUMBER_SIZE;
    }
}

static void append_piece(Reply *reply, const Bytes *piece, const char *model) {
    char size[24];
    Bytes filled = {0};
    append_filled(&filled, piece, model);
    append(&reply->bytes, size, sprintf(size, "%zx\r\n", filled.size));
    append(&reply->bytes, filled.bytes, filled.size);
    append(&reply->bytes, "\r\n", 2);
    free(filled.bytes);
}

static Reply *make_reply(const Template *from, const char *key, const char *model) {
    Reply *reply = calloc(1, sizeof *reply);
    char line[64];
    Bytes body = {0};
    reply->key = strdup(key);
    reply->pause_s = from->pause_s;
    reply->ends = calloc(from->count, sizeof(size_t));
    append(&reply->bytes, from->pieces[0].bytes, from->pieces[0].size);
    if (from->is_chunked) {
        append(&reply->bytes, "Transfer-Encoding: chunked\r\n\r\n", 30);
        for (uint32_t at = 1; at < from->count; at++) {
            append_piece(reply, &from->pieces[at], model);
            reply->ends[reply->count++] = reply->bytes.size;
        }
        append(&reply->bytes, "0\r\n\r\n", 5);
        reply->ends[reply->count - 1] = reply->bytes.size;
    } else {
        append_filled(&body, &from->pieces[1], model);
        append(&reply->bytes, line, sprintf(line, "Content-Length: %zu\r\n\r\n", body.size));
        append(&reply->bytes, body.bytes, body.size);
        reply->ends[reply->count++] = reply->bytes.size;
        free(body.bytes);
    }
    find_marks(reply);
    return reply;
}

static Reply *find_reply(const char *kind, const char *shape, const char *model, int is_stream) {
    char wanted[2 * MAX_NAME], key[4 * MAX_NAME];
    snprintf(wanted, sizeof wanted, "%s %s %s", kind, shape, is_stream ? "stream" : "whole");
    snprintf(key, sizeof key, "%s %s", wanted, model);
    uint32_t place = 5381;
    for (const char *at = key; *at; at++) place = place * 33 + (unsigned char)*at;
    Reply **slot = &replies[place % 1024];
    for (Reply *one = *slot; one; one = one->next)
        if (!strcmp(one->key, key)) return one;
    for (size_t at = 0; at < template_count; at++)
        if (!strcmp(templates[at].key, wanted)) {
            Reply *made = make_reply(&templates[at], key, model);
            made->next = *slot;
            return *slot = made;
        }
    fprintf(stderr, "upstream: there is no reply of the form '%s'\n", wanted);
    exit(1);
}

/* connections */

static void watch(Connection *one, int also_out) {
    struct epoll_event event = {.events = EPOLLIN | (also_out ? EPOLLOUT : 0), .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event);
}

static void flush(Connection *one) {
    while (one->sent < one->out.size) {
        ssize_t wrote = send(one->fd, one->out.bytes + one->sent, one->out.size - one->sent,
                             MSG_NOSIGNAL);
        if (wrote < 0) {
            if (errno == EAGAIN) watch(one, 1);
            return;
        }
        one->sent += wrote;
    }
    one->out.size = one->sent = 0;
}

static void put_in_queue(Connection *one) {
    Connection *before = latest;
    while (before && before->due_s > one->due_s) before = before->before;
    one->before = before;
    one->after = before ? before->after : soonest;
    *(one->after ? &one->after->before : &latest) = one;
    *(before ? &before->after : &soonest) = one;
}

static void take_from_queue(Connection *one) {
    *(one->before ? &one->before->after : &soonest) = one->after;
    *(one->after ? &one->after->before : &latest) = one->before;
}

static void send_between(Connection *one, Reply *reply, size_t from, size_t to, size_t *mark) {
    char digits[NUMBER_SIZE + 1];
    size_t base = one->out.size;
    append(&one->out, reply->bytes.bytes + from, to - from);
    sprintf(digits, "%08x", one->number);
    for (; *mark < reply->mark_count && reply->marks[*mark] < to; ++*mark)
        if (reply->marks[*mark] >= from)
            memcpy(one->out.bytes + base + reply->marks[*mark] - from, digits, NUMBER_SIZE);
    flush(one);
}

static void send_next(Connection *one) {
    size_t mark = 0, at = one->piece++;
    Reply *reply = one->paced;
    send_between(one, reply, at ? reply->ends[at - 1] : 0, reply->ends[at], &mark);
    if (one->piece == reply->count) {
        one->paced = NULL;
        return;
    }
    one->due_s += reply->pause_s;
    put_in_queue(one);
}

/* Copy the text after a JSON key, up to its closing quote; an empty text when there is none. */
static void read_text(const char *body, size_t size, const char *key, char *into) {
    const char *end = body + size, *at = body;
    *into = 0;
    while ((at = memmem(at, end - at, key, strlen(key)))) {
        at += strlen(key);
        while (at < end && (*at == ' ' || *at == ':')) at++;
        if (at >= end || *at++ != '"') continue;
        const char *close = memchr(at, '"', end - at);
        if (!close || close - at >= MAX_NAME) return;
        memcpy(into, at, close - at);
        into[close - at] = 0;
        return;
    }
}

static int is_true(const char *body, size_t size, const char *key) {
    const char *end = body + size, *at = body;
    while ((at = memmem(at, end - at, key, strlen(key)))) {
        at += strlen(key);
        while (at < end && (*at == ' ' || *at == ':')) at++;
        if (end - at >= 4 && !memcmp(at, "true", 4)) return 1;
    }
    return 0;
}

static void answer(Connection *one, const char *path, const char *body, size_t size) {
    char model[MAX_NAME], shape[MAX_NAME];
    size_t mark = 0, length = strcspn(path, " ?");
    const char *kind = "/chat/completions", *kinds[] = {"/messages", "/responses", "/models"};
    for (int at = 0; at < 3; at++) {
        size_t tail = strlen(kinds[at]);
        if (length >= tail && !memcmp(path + length - tail, kinds[at], tail)) kind = kinds[at];
    }
    read_text(body, size, "\"model\"", model);
    read_text(body, size, "\"user\"", shape);
    if (strncmp(shape, "bench/", 6)) strcpy(shape, model);
    Reply *reply = find_reply(kind, strncmp(shape, "bench/", 6) ? "model" : shape + 6, model,
                              is_true(body, size, "\"stream\""));
    one->number = ++number;
    if (reply->pause_s > 0) {
        one->paced = reply;
        one->piece = 0;
        one->due_s = now_s();
        send_next(one);
    } else
        send_between(one, reply, 0, reply->bytes.size, &mark);
}

static void read_requests(Connection *one) {
    for (;;) {
        char *head = one->in.bytes, *end = memmem(head, one->in.size, "\r\n\r\n", 4);
        if (!one->in.size || !end) return;
        *end = 0;
        char *field = strcasestr(head, "\r\ncontent-length:");
        size_t size = field ? strtoul(field + 17, NULL, 10) : 0, total = end - head + 4 + size;
        *end = '\r';
        if (one->in.size < total) return;
        char *path = memchr(head, ' ', end - head);
        if (path) answer(one, path + 1, end + 4, size);
        one->in.size -= total;
        memmove(head, head + total, one->in.size);
    }
}

static void drop(Connection *one) {
    if (one->paced) take_from_queue(one);
    close(one->fd);
    free(one->in.bytes);
    free(one->out.bytes);
    free(one);
}

static void receive(Connection *one) {
    static char bytes[1 << 18];
    for (;;) {
        ssize_t got = recv(one->fd, bytes, sizeof bytes, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            drop(one);
            return;
        }
        append(&one->in, bytes, got);
        if ((size_t)got < sizeof bytes) break;
    }
    read_requests(one);
}

static void take_connections(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Connection *one = calloc(1, sizeof *one);
        one->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        fail("no port is free");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    return listener;
}

int main(int count, char **arguments) {
    struct epoll_event events[MAX_EVENTS];
    if (count != 2) fail("usage: upstream TEMPLATES");
    read_templates(arguments[1]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_anywhere();
    for (;;) {
        double left_s = soonest ? soonest->due_s - now_s() : 3600;
        int wait_ms = left_s <= 0 ? 0 : (int)(left_s * 1000) + (left_s < 3600);
        int ready = epoll_wait(poller, events, MAX_EVENTS, wait_ms);
        for (int at = 0; at < ready; at++) {
            Connection *one = events[at].data.ptr;
            if (!one)
                take_connections(listener);
            else {
                if (events[at].events & EPOLLOUT) {
                    flush(one);
                    if (!one->out.size) watch(one, 0);
                }
                if (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(one);
            }
        }
        for (double time_s = now_s(); soonest && soonest->due_s <= time_s;) {
            Connection *one = soonest;
            take_from_queue(one);
            send_next(one);
        }
    }
}

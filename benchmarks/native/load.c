/* Sends prepared requests over so many connections, each as soon as its last reply has ended.
 *
 *     load PORT CONNECTIONS REQUESTS
 *
 * REQUESTS: whole requests, each behind its length (little-endian u32). They are sent in turn and
 * from the first again; @NUMBER@ (8 bytes) in one becomes the number of the turn, another in every
 * process, so that no text is ever sent twice. A line with a count on the standard input has that
 * many sent; then as many pairs of floats go to the standard output: the seconds to the first byte
 * of the body and to its end.
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
#define MAX_HEAD 16384
#define MAX_SILENCE_MS 120000
#define NUMBER_MARK "@NUMBER@"
#define NUMBER_SIZE 8
#define TAIL "\r\n0\r\n\r\n"
#define TAIL_SIZE 7

typedef struct { char *bytes; size_t size, *marks, mark_count; } Request;

typedef struct {
    int fd, is_busy;
    char *out, head[MAX_HEAD], tail[TAIL_SIZE];
    size_t out_size, sent, head_size, body_size;
    ssize_t length; /* of the body; -1: chunked, -2: until the connection ends */
    int has_head;
    double began_s, first_s;
} Connection;

static Request *requests;
static size_t request_count, next_request;
static uint32_t turn;
static Connection *connections;
static float (*times)[2];
static long left, done;
static int poller, port;

static void fail(const char *what) { fprintf(stderr, "load: %s\n", what); exit(1); }

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t size;
    if (!file) fail("the requests cannot be read");
    while (fread(&size, 4, 1, file) == 1) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        Request *one = &requests[request_count++];
        *one = (Request){.bytes = malloc(size), .size = size};
        if (fread(one->bytes, 1, size, file) != size) fail("the requests are cut");
        for (char *at = one->bytes, *end = at + size;
             (at = memmem(at, end - at, NUMBER_MARK, NUMBER_SIZE)); at += NUMBER_SIZE) {
            one->marks = realloc(one->marks, (one->mark_count + 1) * sizeof(size_t));
            one->marks[one->mark_count++] = at - one->bytes;
        }
    }
    fclose(file);
    if (!request_count) fail("there are no requests");
}

static void join(Connection *one) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address)) fail("no connection is taken");
    fcntl(one->fd, F_SETFL, O_NONBLOCK);
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event);
}

static void watch(Connection *one, int also_out) {
    struct epoll_event event = {.events = EPOLLIN | (also_out ? EPOLLOUT : 0), .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event);
}

static void flush(Connection *one) {
    int was_blocked = one->sent > 0;
    while (one->sent < one->out_size) {
        ssize_t wrote = send(one->fd, one->out + one->sent, one->out_size - one->sent, MSG_NOSIGNAL);
        if (wrote < 0) {
            if (errno == EAGAIN) watch(one, 1);
            return;
        }
        one->sent += wrote;
        if (one->sent < one->out_size) was_blocked = 1;
    }
    if (was_blocked) watch(one, 0);
}

static void send_next(Connection *one) {
    char digits[NUMBER_SIZE + 1];
    if (left <= 0) return;
    left--;
    if (one->fd < 0) join(one);
    Request *request = &requests[next_request];
    sprintf(digits, "%08x", turn);
    if (++next_request == request_count) next_request = 0, turn++;
    if (request->size > one->out_size) one->out = realloc(one->out, request->size);
    memcpy(one->out, request->bytes, one->out_size = request->size);
    for (size_t at = 0; at < request->mark_count; at++)
        memcpy(one->out + request->marks[at], digits, NUMBER_SIZE);
    one->sent = one->head_size = one->body_size = one->has_head = 0;
    memset(one->tail, 0, TAIL_SIZE);
    one->first_s = 0;
    one->is_busy = 1;
    one->began_s = now_s();
    flush(one);
}

static void finish(Connection *one) {
    times[done][0] = one->first_s - one->began_s;
    times[done++][1] = now_s() - one->began_s;
    one->is_busy = 0;
    send_next(one);
}

static void take_body(Connection *one, const char *bytes, size_t size) {
    if (!size && one->length) return;
    if (!one->first_s) one->first_s = now_s();
    one->body_size += size;
    if (one->length >= 0) {
        if (one->body_size >= (size_t)one->length) finish(one);
        return;
    }
    size_t kept = size < TAIL_SIZE ? TAIL_SIZE - size : 0;
    memmove(one->tail, one->tail + TAIL_SIZE - kept, kept);
    memcpy(one->tail + kept, bytes + size - (TAIL_SIZE - kept), TAIL_SIZE - kept);
    if (one->length == -1 && !memcmp(one->tail, TAIL, TAIL_SIZE)) finish(one);
}

static void take_head(Connection *one, const char *bytes, size_t size) {
    size_t before = one->head_size;
    size_t room = MAX_HEAD - 1 - before, taken = size < room ? size : room;
    memcpy(one->head + before, bytes, taken);
    one->head[one->head_size += taken] = 0;
    char *end = memmem(one->head, one->head_size, "\r\n\r\n", 4);
    if (!end) {
        if (one->head_size == MAX_HEAD - 1) fail("a head does not end");
        return;
    }
    if (strncmp(one->head + 9, "200", 3)) {
        fprintf(stderr, "load: a gateway answers: %.700s\n", one->head);
        exit(3);
    }
    end[2] = 0;
    char *field = strcasestr(one->head, "\r\ncontent-length:");
    one->length = field ? strtol(field + 17, NULL, 10)
                        : (strcasestr(one->head, "\r\ntransfer-encoding:") ? -1 : -2);
    one->has_head = 1;
    size_t used = end + 4 - one->head - before;
    take_body(one, bytes + used, size - used);
}

static void leave(Connection *one) {
    close(one->fd);
    one->fd = -1;
    if (!one->is_busy) return;
    if (!one->has_head || one->length != -2) fail("a gateway closed a connection in a reply");
    finish(one);
}

static void receive(Connection *one) {
    static char bytes[1 << 18];
    ssize_t got = recv(one->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0)
        leave(one);
    else if (one->is_busy)
        (one->has_head ? take_body : take_head)(one, bytes, got);
}

static void run(int connection_count, long count) {
    struct epoll_event events[MAX_EVENTS];
    times = realloc(times, count * sizeof *times);
    left = count;
    done = 0;
    for (int at = 0; at < connection_count && left > 0; at++) send_next(&connections[at]);
    while (done < count) {
        int ready = epoll_wait(poller, events, MAX_EVENTS, MAX_SILENCE_MS);
        if (!ready) fail("a gateway was silent for two minutes");
        for (int at = 0; at < ready; at++) {
            Connection *one = events[at].data.ptr;
            if (events[at].events & EPOLLOUT) flush(one);
            if (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(one);
        }
    }
    fwrite(times, sizeof *times, count, stdout);
    fflush(stdout);
}

int main(int count, char **arguments) {
    char line[32];
    if (count != 4) fail("usage: load PORT CONNECTIONS REQUESTS");
    port = atoi(arguments[1]);
    int connection_count = atoi(arguments[2]);
    read_requests(arguments[3]);
    turn = (uint32_t)getpid() << 12 ^ (uint32_t)(now_s() * 1000) << 4;
    poller = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(connection_count, sizeof *connections);
    for (int at = 0; at < connection_count; at++) join(&connections[at]);
    while (fgets(line, sizeof line, stdin)) run(connection_count, atol(line));
}

// Owns the load of `npm run bench`. Opens connections to servers on this machine, sends the same request on each of them
// again as soon as it is answered, and prints counts and times as JSON. Connects to the loopback address only. Ends when
// its time is over, or when a server does not answer.
//
// load PORTS REQUEST_FILE CONNECTIONS SECONDS MAXIMUM
//
// PORTS is one port or several with commas between them; connections are spread over them. MAXIMUM is the highest number
// of requests, 0 for no limit. With as many requests as connections, all are sent at once. A server must keep its
// connections open, and send a Content-Length or chunks.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define MAX_TIMES (1 << 22)
#define NO_ANSWER 30000 // milliseconds

struct connection { int fd; size_t length; uint64_t began; char *buffer; };

static char *request;
static size_t request_length;
static uint32_t *times; // microseconds
static size_t answered, started;
static size_t by_status[600];

static uint64_t now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void read_request(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path);
  request = malloc(BUFFER);
  request_length = fread(request, 1, BUFFER, file);
  fclose(file);
}

static void open_connection(struct connection *one, int port) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int on = 1;
  one->fd = socket(AF_INET, SOCK_STREAM, 0);
  one->buffer = malloc(BUFFER);
  if (one->fd < 0 || connect(one->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/** The socket's buffer is larger than a request. */
static void begin(struct connection *one) {
  one->length = 0;
  one->began = now();
  started += 1;
  if (write(one->fd, request, request_length) != (ssize_t)request_length) fail("write");
}

/** Whether the buffer has a complete answer. */
static int is_complete(const struct connection *one) {
  char *end = memmem(one->buffer, one->length, "\r\n\r\n", 4);
  if (!end) return 0;
  size_t head = (size_t)(end - one->buffer) + 4;
  for (char *line = one->buffer; line < end; line = (char *)memmem(line, (size_t)(end - line) + 2, "\r\n", 2) + 2) {
    if (!strncasecmp(line, "content-length:", 15)) {
      return one->length >= head + strtoul(line + 15, NULL, 10);
    }
    if (!strncasecmp(line, "transfer-encoding: chunked", 26))
      return one->length >= head + 5 && !memcmp(one->buffer + one->length - 5, "0\r\n\r\n", 5);
  }
  return 1; // 204 and 304 have no body
}

static void receive(struct connection *one) {
  ssize_t got = read(one->fd, one->buffer + one->length, BUFFER - 1 - one->length);
  if (got <= 0) fail("the server closed a connection");
  one->length += (size_t)got;
  one->buffer[one->length] = 0;
}

static int compare(const void *a, const void *b) {
  return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : *(const uint32_t *)a > *(const uint32_t *)b;
}

static uint32_t quantile(double share) {
  size_t at = (size_t)((double)answered * share);
  return answered ? times[at < answered ? at : answered - 1] : 0;
}

static void report(uint64_t took) {
  qsort(times, answered, sizeof *times, compare);
  printf("{\"requests\":%zu,\"seconds\":%.6f,\"p50\":%u,\"p99\":%u,\"max\":%u,\"statuses\":{", answered, (double)took / 1e6, quantile(0.5), quantile(0.99), quantile(1));
  const char *comma = "";
  for (int status = 0; status < 600; status += 1)
    if (by_status[status]) printf("%s\"%d\":%zu", comma, status, by_status[status]), comma = ",";
  printf("}}\n");
}

static int port_of(const char *ports, int index) {
  int count = 1;
  for (const char *at = ports; *at; at += 1) count += *at == ',';
  for (index %= count; index > 0; index -= 1) ports = strchr(ports, ',') + 1;
  return atoi(ports);
}

int main(int count, char **arguments) {
  if (count != 6) return fprintf(stderr, "load PORTS REQUEST_FILE CONNECTIONS SECONDS MAXIMUM\n"), 2;
  int connections = atoi(arguments[3]);
  size_t maximum = strtoul(arguments[5], NULL, 10);
  if (!maximum || maximum > MAX_TIMES) maximum = MAX_TIMES;
  read_request(arguments[2]);
  times = malloc(MAX_TIMES * sizeof *times);
  struct connection *all = calloc((size_t)connections, sizeof *all);
  struct pollfd *waiting = calloc((size_t)connections, sizeof *waiting);
  for (int i = 0; i < connections; i += 1) {
    open_connection(&all[i], port_of(arguments[1], i));
    waiting[i] = (struct pollfd){ .fd = all[i].fd, .events = POLLIN };
  }
  uint64_t start = now(), end = start + (uint64_t)(atof(arguments[4]) * 1e6);
  for (int i = 0; i < connections && started < maximum; i += 1) begin(&all[i]);
  while (answered < started) {
    if (poll(waiting, (nfds_t)connections, NO_ANSWER) == 0) return fprintf(stderr, "load: no answer for %d seconds\n", NO_ANSWER / 1000), 1;
    for (int i = 0; i < connections; i += 1) {
      if (!waiting[i].revents) continue;
      receive(&all[i]);
      if (!is_complete(&all[i])) continue;
      uint64_t at = now();
      times[answered++] = (uint32_t)(at - all[i].began);
      int status = atoi(all[i].buffer + 9);
      by_status[status > 0 && status < 600 ? status : 0] += 1;
      if (at < end && started < maximum) begin(&all[i]);
    }
  }
  report(now() - start);
  return 0;
}

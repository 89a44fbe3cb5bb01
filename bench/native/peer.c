/*
 * What the benches call: each function does the work `count` times and says how it went. Built at bench time as a
 * shared library; see `native-peer.ts`.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "ring.h"

enum { MAX_PACKET_BYTES = 16384 };

/* Both ends of one ring. */
struct pair {
  struct ring_end writer;
  struct ring_end reader;
  _Alignas(64) uint8_t payload[MAX_PACKET_BYTES];
  _Alignas(64) uint8_t packet[MAX_PACKET_BYTES];
  uint32_t payload_bytes;
};

struct pair *pair_create(uint32_t data_bytes, uint32_t payload_bytes) {
  if (payload_bytes > MAX_PACKET_BYTES - DESCRIPTOR_BYTES) return NULL;
  struct pair *pair = aligned_alloc(64, sizeof *pair);
  uint8_t *memory = aligned_alloc(PAGE_BYTES, PAGE_BYTES + data_bytes);
  if (pair == NULL || memory == NULL) return NULL;
  memset(pair, 0, sizeof *pair);
  memset(memory, 0, PAGE_BYTES + data_bytes);
  struct ring ring = {(struct control *)memory, memory + PAGE_BYTES, data_bytes};
  pair->writer.ring = ring;
  pair->reader.ring = ring;
  pair->payload_bytes = payload_bytes;
  for (uint32_t index = 0; index < payload_bytes; index++) pair->payload[index] = (uint8_t)(index * 7);
  /* As a reader that is awake. */
  atomic_store(&ring.control->interrupt_mask, 1);
  return pair;
}

void pair_destroy(struct pair *pair) {
  free(pair->writer.ring.control);
  free(pair);
}

/* One thread: a batch is written, then read. Returns a sum over what was read, -1 if anything went wrong. */
int64_t pair_plain(struct pair *pair, int64_t count, int32_t batch) {
  int64_t sum = 0;
  for (int64_t done = 0; done < count; done += batch) {
    for (int32_t index = 0; index < batch; index++) {
      if (send_plain(&pair->writer, (uint64_t)(done + index), pair->payload, pair->payload_bytes) < 0) return -1;
    }
    for (int32_t index = 0; index < batch; index++) {
      if (receive_plain(&pair->reader, pair->packet, sizeof pair->packet) != 1) return -1;
      sum += pair->packet[8] + pair->packet[16];
    }
  }
  return sum;
}

int64_t pair_ideal(struct pair *pair, int64_t count, int32_t batch) {
  int64_t sum = 0;
  for (int64_t done = 0; done < count; done += batch) {
    for (int32_t index = 0; index < batch; index++) {
      if (!stage_ideal(&pair->writer, (uint64_t)(done + index), pair->payload, pair->payload_bytes)) return -1;
    }
    publish_ideal(&pair->writer);
    for (int32_t index = 0; index < batch; index++) {
      if (receive_ideal(&pair->reader, pair->packet, sizeof pair->packet) != 1) return -1;
      sum += pair->packet[8] + pair->packet[16];
    }
    release_ideal(&pair->reader);
  }
  return sum;
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* x86 and others differ in the hint; without one the loop is correct as well. */
static inline void spin_hint(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

struct job {
  struct pair *pair;
  int64_t count;
  int32_t batch; /* 0: the plain way */
  int64_t bad;
};

static void *write_all(void *argument) {
  struct job *job = argument;
  struct ring_end *end = &job->pair->writer;
  for (int64_t id = 0; id < job->count; id++) {
    if (job->batch == 0) {
      while (send_plain(end, (uint64_t)id, job->pair->payload, job->pair->payload_bytes) < 0) spin_hint();
      continue;
    }
    while (!stage_ideal(end, (uint64_t)id, job->pair->payload, job->pair->payload_bytes)) {
      publish_ideal(end);
      spin_hint();
    }
    if ((id + 1) % job->batch == 0) publish_ideal(end);
  }
  if (job->batch != 0) publish_ideal(end);
  return NULL;
}

/* The reader checks that ids come in order. It gives room back per eighth of the ring in the ideal way. */
static void read_all(struct job *job) {
  struct ring_end *end = &job->pair->reader;
  uint32_t eighth = end->ring.data_bytes / 8;
  for (int64_t want = 0; want < job->count; want++) {
    int got;
    for (;;) {
      got = job->batch == 0 ? receive_plain(end, job->pair->packet, MAX_PACKET_BYTES)
                            : receive_ideal(end, job->pair->packet, MAX_PACKET_BYTES);
      if (got != 0) break;
      if (job->batch != 0) release_ideal(end);
      spin_hint();
    }
    uint64_t id;
    memcpy(&id, job->pair->packet + 8, sizeof id);
    if (got < 0 || id != (uint64_t)want) job->bad++;
    if (job->batch != 0 && used_bytes(end->index, end->published, end->ring.data_bytes) >= eighth) release_ideal(end);
  }
  if (job->batch != 0) release_ideal(end);
}

/* Two threads. Returns the nanoseconds that `count` packets took, -1 if one was out of order. */
int64_t pair_threads(struct pair *pair, int64_t count, int32_t batch) {
  struct job job = {pair, count, batch, 0};
  pthread_t writer;
  int64_t begin = now_ns();
  if (pthread_create(&writer, NULL, write_all, &job) != 0) return -1;
  read_all(&job);
  pthread_join(writer, NULL);
  return job.bad == 0 ? now_ns() - begin : -1;
}

struct line {
  _Alignas(128) _Atomic uint32_t there;
  _Alignas(128) _Atomic uint32_t back;
  int64_t count;
};

static void *answer_all(void *argument) {
  struct line *line = argument;
  for (uint32_t want = 1; want <= line->count; want++) {
    while (atomic_load_explicit(&line->there, memory_order_acquire) != want) spin_hint();
    atomic_store_explicit(&line->back, want, memory_order_release);
  }
  return NULL;
}

/* A cache line to the other thread and another one back, spinning: the floor of any round trip. Fills `times_ns`. */
int32_t line_round_trips(double *times_ns, int64_t count) {
  struct line *line = aligned_alloc(128, sizeof *line);
  if (line == NULL) return -1;
  atomic_store(&line->there, 0);
  atomic_store(&line->back, 0);
  line->count = count;
  pthread_t other;
  if (pthread_create(&other, NULL, answer_all, line) != 0) return -1;
  for (uint32_t turn = 1; turn <= count; turn++) {
    int64_t begin = now_ns();
    atomic_store_explicit(&line->there, turn, memory_order_release);
    while (atomic_load_explicit(&line->back, memory_order_acquire) != turn) spin_hint();
    times_ns[turn - 1] = (double)(now_ns() - begin);
  }
  pthread_join(other, NULL);
  free(line);
  return 0;
}

/* Copies `bytes` between two buffers of our own `count` times. Returns a byte of the copy. */
int64_t copy_bytes(int64_t bytes, int64_t count) {
  static uint8_t *source;
  static uint8_t *target;
  static int64_t room;
  if (bytes > room) {
    free(source);
    free(target);
    source = malloc((size_t)bytes);
    target = malloc((size_t)bytes);
    if (source == NULL || target == NULL) return -1;
    memset(source, 7, (size_t)bytes);
    room = bytes;
  }
  for (int64_t done = 0; done < count; done++) {
    source[done % bytes]++;
    memcpy(target, source, (size_t)bytes);
    __asm__ volatile("" ::"r"(target) : "memory");
  }
  return target[0];
}

/*
 * A VMBus ring in C, for comparison only: what the format costs without a language in the way.
 *
 * Written from the format: a control page whose first words are write index, read index, interrupt mask and pending
 * send size; packets of a 16-byte descriptor, payload, padding to 8, and an 8-byte trailer; one slot of 8 bytes stays
 * free. Sources: Linux `include/linux/hyperv.h`, `struct hv_ring_buffer` and `struct vmpacket_descriptor`.
 *
 * Two ways to use it:
 * - plain: room is claimed and published by compare-and-exchange, so that several threads may write; every packet
 *   looks at both indexes in shared memory, is published by itself and followed by the signal check, and its room is
 *   given back by itself. How user-space rings in C commonly do it.
 * - ideal: each end caches the other's index, publishes once for a batch, gives room back once for a batch.
 */
#ifndef VMBUS_BENCH_RING_H
#define VMBUS_BENCH_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PAGE_BYTES = 4096, DESCRIPTOR_BYTES = 16, TRAILER_BYTES = 8, GAP_BYTES = 8, IN_BAND = 6 };

struct control {
  _Atomic uint32_t in;
  _Atomic uint32_t out;
  _Atomic uint32_t interrupt_mask;
  _Atomic uint32_t pending_send_bytes;
};

struct ring {
  struct control *control;
  uint8_t *data;
  uint32_t data_bytes;
};

/* One end of a ring with what it knows by itself; the plain way uses the indexes in shared memory alone. */
struct ring_end {
  struct ring ring;
  uint32_t index;     /* our own: runs ahead of what is published */
  _Atomic uint32_t claimed; /* as index, for several writers */
  uint32_t published; /* our own, as stored last */
  uint32_t seen;      /* the other end's, as loaded last */
};

struct descriptor {
  uint16_t type;
  uint16_t data_offset8;
  uint16_t length8;
  uint16_t flags;
  uint64_t id;
};

static inline uint32_t align8(uint32_t bytes) { return (bytes + 7) & ~7u; }

static inline uint32_t free_bytes(uint32_t in, uint32_t out, uint32_t data_bytes) {
  return (in >= out ? data_bytes - (in - out) : out - in) - GAP_BYTES;
}

static inline uint32_t used_bytes(uint32_t in, uint32_t out, uint32_t data_bytes) {
  return in >= out ? in - out : data_bytes - (out - in);
}

/* Copies around the end of the ring. Returns the index behind the bytes. */
static inline uint32_t copy_in(struct ring *ring, uint32_t at, const void *source, uint32_t bytes) {
  uint32_t until_end = ring->data_bytes - at;
  if (bytes < until_end) {
    memcpy(ring->data + at, source, bytes);
    return at + bytes;
  }
  memcpy(ring->data + at, source, until_end);
  memcpy(ring->data, (const uint8_t *)source + until_end, bytes - until_end);
  return bytes - until_end;
}

static inline uint32_t copy_out(struct ring *ring, uint32_t at, void *target, uint32_t bytes) {
  uint32_t until_end = ring->data_bytes - at;
  if (bytes < until_end) {
    memcpy(target, ring->data + at, bytes);
    return at + bytes;
  }
  memcpy(target, ring->data + at, until_end);
  memcpy((uint8_t *)target + until_end, ring->data, bytes - until_end);
  return bytes - until_end;
}

/* Descriptor, payload, padding, trailer. Returns the index behind them. */
static inline uint32_t put_packet(struct ring *ring, uint32_t at, uint64_t id, const void *payload, uint32_t bytes) {
  static const uint8_t zeros[8];
  uint32_t packet_bytes = DESCRIPTOR_BYTES + align8(bytes);
  struct descriptor descriptor = {IN_BAND, DESCRIPTOR_BYTES / 8, packet_bytes / 8, 1, id};
  uint64_t trailer = (uint64_t)at << 32;
  uint32_t next = copy_in(ring, at, &descriptor, sizeof descriptor);
  next = copy_in(ring, next, payload, bytes);
  if (bytes & 7) next = copy_in(ring, next, zeros, align8(bytes) - bytes);
  return copy_in(ring, next, &trailer, sizeof trailer);
}

/* The same for a packet that does not reach the end of the ring, which is nearly every one: stores of known size. */
static inline uint32_t put_packet_fast(struct ring *ring, uint32_t at, uint64_t id, const void *payload, uint32_t bytes) {
  uint32_t packet_bytes = DESCRIPTOR_BYTES + align8(bytes);
  if (packet_bytes + TRAILER_BYTES >= ring->data_bytes - at) return put_packet(ring, at, id, payload, bytes);
  uint8_t *target = ring->data + at;
  uint64_t trailer = (uint64_t)at << 32;
  if (bytes & 7) memset(target + packet_bytes - 8, 0, 8);
  memcpy(target, &(struct descriptor){IN_BAND, DESCRIPTOR_BYTES / 8, packet_bytes / 8, 1, id}, DESCRIPTOR_BYTES);
  memcpy(target + DESCRIPTOR_BYTES, payload, bytes);
  memcpy(target + packet_bytes, &trailer, sizeof trailer);
  return at + packet_bytes + TRAILER_BYTES;
}

/* The checks that a reader makes, then the packet's copy. Returns the index behind the trailer, or -1 if it is broken. */
static inline int64_t get_packet(struct ring *ring, uint32_t at, uint32_t readable, uint8_t *target, uint32_t room) {
  struct descriptor descriptor;
  if (readable < DESCRIPTOR_BYTES) return -1;
  uint32_t next = copy_out(ring, at, &descriptor, sizeof descriptor);
  uint32_t packet_bytes = descriptor.length8 * 8u;
  if (descriptor.data_offset8 < 2 || descriptor.data_offset8 > descriptor.length8) return -1;
  if (packet_bytes > readable - TRAILER_BYTES || packet_bytes > room) return -1;
  memcpy(target, &descriptor, sizeof descriptor);
  next = copy_out(ring, next, target + DESCRIPTOR_BYTES, packet_bytes - DESCRIPTOR_BYTES);
  next += TRAILER_BYTES;
  return next >= ring->data_bytes ? next - ring->data_bytes : next;
}

/* Returns -1 if the ring is full, else whether the reader must be signalled. */
static inline int send_plain(struct ring_end *end, uint64_t id, const void *payload, uint32_t bytes) {
  struct ring *ring = &end->ring;
  uint32_t needed = DESCRIPTOR_BYTES + align8(bytes) + TRAILER_BYTES;
  uint32_t in = atomic_load_explicit(&end->claimed, memory_order_relaxed);
  uint32_t next;
  do {
    uint32_t out = atomic_load_explicit(&ring->control->out, memory_order_acquire);
    if (needed > free_bytes(in, out, ring->data_bytes)) return -1;
    next = needed < ring->data_bytes - in ? in + needed : needed - (ring->data_bytes - in);
  } while (!atomic_compare_exchange_weak(&end->claimed, &in, next));
  put_packet(ring, in, id, payload, bytes);
  /* In the order of the claims. */
  for (uint32_t expected = in; !atomic_compare_exchange_weak(&ring->control->in, &expected, next); expected = in) {
  }
  if (atomic_load(&ring->control->interrupt_mask) != 0) return 0;
  return atomic_load(&ring->control->out) == in;
}

/* Returns 1 for a packet, 0 if the ring is empty, -1 if it is broken. */
static inline int receive_plain(struct ring_end *end, uint8_t *target, uint32_t room) {
  struct ring *ring = &end->ring;
  uint32_t in = atomic_load_explicit(&ring->control->in, memory_order_acquire);
  uint32_t out = atomic_load_explicit(&ring->control->out, memory_order_relaxed);
  if (in == out) return 0;
  int64_t next = get_packet(ring, out, used_bytes(in, out, ring->data_bytes), target, room);
  if (next < 0) return -1;
  atomic_store_explicit(&ring->control->out, (uint32_t)next, memory_order_release);
  return 1;
}

static inline bool stage_ideal(struct ring_end *end, uint64_t id, const void *payload, uint32_t bytes) {
  struct ring *ring = &end->ring;
  uint32_t needed = DESCRIPTOR_BYTES + align8(bytes) + TRAILER_BYTES;
  if (needed > free_bytes(end->index, end->seen, ring->data_bytes)) {
    end->seen = atomic_load_explicit(&ring->control->out, memory_order_acquire);
    if (needed > free_bytes(end->index, end->seen, ring->data_bytes)) return false;
  }
  end->index = put_packet_fast(ring, end->index, id, payload, bytes);
  return true;
}

/* Returns whether the reader must be signalled. */
static inline bool publish_ideal(struct ring_end *end) {
  uint32_t before = end->published;
  if (before == end->index) return false;
  end->published = end->index;
  atomic_store(&end->ring.control->in, end->index);
  return atomic_load(&end->ring.control->interrupt_mask) == 0 && atomic_load(&end->ring.control->out) == before;
}

static inline int receive_ideal(struct ring_end *end, uint8_t *target, uint32_t room) {
  struct ring *ring = &end->ring;
  if (end->index == end->seen) {
    end->seen = atomic_load_explicit(&ring->control->in, memory_order_acquire);
    if (end->index == end->seen) return 0;
  }
  int64_t next = get_packet(ring, end->index, used_bytes(end->seen, end->index, ring->data_bytes), target, room);
  if (next < 0) return -1;
  end->index = (uint32_t)next;
  return 1;
}

static inline void release_ideal(struct ring_end *end) {
  if (end->published == end->index) return;
  end->published = end->index;
  atomic_store_explicit(&end->ring.control->out, end->index, memory_order_release);
}

#endif

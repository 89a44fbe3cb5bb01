/*
 * A program in the guest that works on a channel's rings from user space, through uio_hv_generic.
 *
 *   ring-tool DEVICE RING_BYTES ping TEXT       sends TEXT, asks for a completion, prints what it says
 *   ring-tool DEVICE RING_BYTES load TEXT       does that again and again until the device is taken away
 *   ring-tool DEVICE RING_BYTES scribble SEED   writes garbage over the ring and its indexes, signalling all the while
 *
 * RING_BYTES is the size of map 0: both rings. No C library: system calls only, so that it is one small static file.
 *
 * Source: Linux drivers/uio/uio_hv_generic.c (maps, the write that signals); include/linux/hyperv.h (ring layout).
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum { READ = 0, WRITE = 1, OPEN = 2, MMAP = 9, EXIT = 60 };
enum { PAGE = 4096, DESCRIPTOR = 16, TRAILER = 8 };
enum { IN = 0, OUT = 1, MASK = 2 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static u64 length(const char *text) { u64 n = 0; while (text[n]) n++; return n; }
static void print(const char *text) { call(WRITE, 1, (long)text, length(text), 0, 0, 0); }
static void leave(const char *text, int status) { print(text); print("\n"); call(EXIT, status, 0, 0, 0, 0, 0); }

/* Decimal, or hexadecimal behind 0x. */
static u64 number(const char *text)
{
	u64 value = 0, base = 10;
	if (text[0] == '0' && text[1] == 'x') { base = 16; text += 2; }
	for (; *text; text++) value = value * base + (*text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10);
	return value;
}

struct ring { volatile u32 *control; volatile u8 *data; u32 bytes; };

static struct ring ring_at(u8 *pages, u64 bytes)
{
	struct ring ring = { (volatile u32 *)pages, pages + PAGE, (u32)(bytes - PAGE) };
	return ring;
}

/* Unmasks the host's interrupts; the driver signals the host as well. */
static void signal_host(int fd) { u32 on = 1; call(WRITE, fd, (long)&on, 4, 0, 0, 0); }

static void put(struct ring *ring, u32 at, const void *bytes, u32 count)
{
	for (u32 i = 0; i < count; i++) ring->data[(at + i) % ring->bytes] = ((const u8 *)bytes)[i];
}

static char answer[256];

/* One round trip; what the completion says is in answer. Returns 0 when the device is gone. */
static int round_trip(int fd, struct ring *out, struct ring *in, const char *text)
{
	u32 payload = (u32)(length(text) + 7) / 8 * 8, start = out->control[IN], packet = DESCRIPTOR + payload;
	unsigned short descriptor[8] = { 6, DESCRIPTOR / 8, packet / 8, 1, 0x1234, 0, 0, 0 };
	u64 trailer = (u64)start << 32, zero = 0;
	put(out, start, descriptor, DESCRIPTOR);
	put(out, start + packet - 8, &zero, 8);
	put(out, start + DESCRIPTOR, text, length(text));
	put(out, start + packet, &trailer, TRAILER);
	__sync_synchronize();
	out->control[IN] = (start + packet + TRAILER) % out->bytes;
	__sync_synchronize();
	signal_host(fd);
	while (in->control[IN] == in->control[OUT]) {
		u32 count;
		if (call(READ, fd, (long)&count, 4, 0, 0, 0) != 4) return 0;
		signal_host(fd);
	}
	u32 at = in->control[OUT], bytes = 0;
	unsigned short reply[8];
	for (u32 i = 0; i < sizeof reply; i++) ((u8 *)reply)[i] = in->data[(at + i) % in->bytes];
	if (reply[0] != 11 || reply[4] != 0x1234) leave("ring-tool: not the completion of our packet", 1);
	for (u32 i = reply[1] * 8; i < reply[2] * 8u && bytes < sizeof answer - 1; i++)
		answer[bytes++] = in->data[(at + i) % in->bytes];
	answer[bytes] = 0;
	in->control[OUT] = (at + reply[2] * 8 + TRAILER) % in->bytes;
	__sync_synchronize();
	return 1;
}

static void ping(int fd, struct ring *out, struct ring *in, const char *text)
{
	if (!round_trip(fd, out, in, text)) leave("ring-tool: the device is gone", 1);
	print("ring-tool: completed with ");
	leave(answer, 0);
}

static void load(int fd, struct ring *out, struct ring *in, const char *text)
{
	u32 trips = 0;
	while (round_trip(fd, out, in, text)) trips++;
	leave(trips > 10 ? "ring-tool: the device went away under load" : "ring-tool: too few round trips", 0);
}

static u64 seed;
static u64 random_bits(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void scribble(int fd, struct ring *out, struct ring *in)
{
	for (u32 round = 0; round < 400; round++) {
		u32 at = (u32)random_bits() % out->bytes / 8 * 8, run = (u32)random_bits() % 512;
		for (u32 i = 0; i < run; i++) out->data[(at + i) % out->bytes] = (u8)random_bits();
		/* Plausible headers too, so that more than the first check is reached. */
		unsigned short header[4] = { (unsigned short)(random_bits() % 13), (unsigned short)(random_bits() % 5),
					     (unsigned short)(random_bits() % 70), (unsigned short)(random_bits() % 3) };
		put(out, out->control[IN], header, 8);
		u32 kind = random_bits() % 4;
		if (kind == 0) out->control[IN] = (u32)random_bits();
		if (kind == 1) out->control[IN] = at;
		if (kind == 2) out->control[IN] = (out->control[IN] + 24 + (u32)random_bits() % 64 * 8) % out->bytes;
		if (round % 16 == 15) {
			in->control[random_bits() % 4] = (u32)random_bits();
			out->control[random_bits() % 4] = (u32)random_bits();
		}
		signal_host(fd);
	}
	leave("ring-tool: scribbled", 0);
}

static void run(long *stack)
{
	char **arguments = (char **)(stack + 1);
	if (stack[0] != 5) leave("usage: ring-tool DEVICE RING_BYTES ping TEXT | load TEXT | scribble SEED", 2);
	long fd = call(OPEN, (long)arguments[1], 2, 0, 0, 0, 0);
	if (fd < 0) leave("ring-tool: cannot open the device", 1);
	u64 bytes = number(arguments[2]);
	long pages = call(MMAP, 0, (long)bytes, 3, 1, fd, 0);
	if (pages < 0 && pages > -PAGE) leave("ring-tool: cannot map the rings", 1);
	struct ring out = ring_at((u8 *)pages, bytes / 2), in = ring_at((u8 *)pages + bytes / 2, bytes / 2);
	seed = number(arguments[4]) * 2654435761u + 1;
	if (arguments[3][0] == 'p') ping((int)fd, &out, &in, arguments[4]);
	if (arguments[3][0] == 'l') load((int)fd, &out, &in, arguments[4]);
	scribble((int)fd, &out, &in);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run_from_start\n");
void run_from_start(long *stack) { run(stack); }

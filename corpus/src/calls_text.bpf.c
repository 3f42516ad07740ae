/* Helpers on strings. Needs no event where it is test-run. */
#include "calls.h"

const char word[] = "guest";
const char numbers[][24] = {
	"42", "  -17 rest", "0x1F", "0777", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "18446744073709551615", "18446744073709551616", "", "-", "zz", "0x", "\t8",
};

#define CUT(size, fmt, ...)                                                                        \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
		__u64 args[] = { __VA_ARGS__ };                                                    \
                                                                                                   \
		CALL(bpf_snprintf((char *)bytes, size, format, args, sizeof(args)));               \
	} while (0)
#define PRINT(fmt, ...) CUT(BYTES, fmt, __VA_ARGS__)

static __always_inline int all_formats(void)
{
	/* Addresses the compiler must not put into constant arguments, which nobody would relocate. */
	__u64 guest = (__u64)(long)word, bytes = (__u64)(long)numbers;

	barrier_var(guest);
	barrier_var(bytes);
	PRINT("%d|%i|%u", -1, 7, -1);
	PRINT("%ld|%lu|%llx", -1, -1, -1);
	PRINT("%x|%X|%lX", 0xabcdef12345678, 0xabcdef, 0xabcdef12345678);
	PRINT("[%5d|%-5d|%05d|%+d]", 42, 42, 42, 42);
	PRINT("[% d|%-+6d|%+05d|%3d]", 42, 42, -42, 123456);
	PRINT("%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
	PRINT("%s|%8s|%-8s|", guest, guest, guest);
	PRINT("%pks, %s.", guest, guest);
	PRINT("%s|%pus|%pks", 0, 16, 16);
	PRINT("%px %px", 0, 0xffff888012345678);
	PRINT("100%% %d", 1);
	CUT(8, "%s%s%s", guest, guest, guest);
	CUT(1, "%d", 12345);
	PRINT("%pI4|%pi4", guest, guest);
	PRINT("%pI6", bytes);
	PRINT("%pi6", bytes);
	PRINT("%pI4", 0);
	PRINT("%020d|%lld", 5, -9223372036854775807LL);
	CUT(input.size % BYTES, "%d|%s", input.number, guest);
	PRINT("%u %x %lu", 0xffffffffffULL, 0xffffffffffULL, 0xffffffffffULL);
	return 0;
}

#define NUMBER(index, base)                                                                        \
	do {                                                                                       \
		CALL(bpf_strtol(numbers[index], sizeof(numbers[index]), base, (long *)bytes));     \
		CALL(bpf_strtoul(numbers[index], sizeof(numbers[index]), base,                     \
				 (unsigned long *)bytes));                                         \
	} while (0)

static __always_inline int all_parses(void)
{
	NUMBER(0, 10);
	NUMBER(1, 10);
	NUMBER(2, 0);
	NUMBER(3, 0);
	NUMBER(4, 10);
	NUMBER(5, 10);
	NUMBER(6, 10);
	NUMBER(7, 10);
	NUMBER(8, 10);
	NUMBER(9, 10);
	NUMBER(10, 10);
	NUMBER(11, 16);
	NUMBER(12, 16);
	NUMBER(13, 8);
	NUMBER(0, 7);
	NUMBER(0, 64);
	CALL(bpf_strtol(numbers[0], 1, 10, (long *)bytes));
	CALL(bpf_strtol(numbers[4], 4, 10, (long *)bytes));
	CALL(bpf_strtoul(numbers[0], 1, input.number, (unsigned long *)bytes));
	return 0;
}

static __always_inline int all_orders(void)
{
	char text[8] = "guess";

	CALL(bpf_strncmp(text, sizeof(text), word));
	CALL(bpf_strncmp(text, 4, word));
	text[4] = 'z';
	CALL(bpf_strncmp(text, sizeof(text), word));
	text[4] = 't';
	CALL(bpf_strncmp(text, sizeof(text), word));
	text[5] = 'x';
	CALL(bpf_strncmp(text, 6, word));
	CALL(bpf_strncmp(text, 1, word));
	return 0;
}

#define PROGRAM(name)                                                                              \
	SEC("?raw_tp/" #name) int name(void *ctx) { return all_##name##s(); }                      \
	SEC("kprobe/__x64_sys_getpgid") int name##_in_probe(void *ctx) { return all_##name##s(); }

PROGRAM(format)
PROGRAM(parse)
PROGRAM(order)

char LICENSE[] SEC("license") = "GPL";

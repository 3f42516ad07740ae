/* Helpers on strings, each call's result and text in a slot of its own. Needs no event: it is test-run. */
#include "kernel.h"

struct result {
	__s64 ret;
	__s64 number;
	char text[64];
} results[64];

const char word[] = "guest";
const char numbers[][24] = {
	"42", "  -17 rest", "0x1F", "0777", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "18446744073709551615", "18446744073709551616", "", "-", "zz", "0x", "\t8",
};

#define PRINT(slot, fmt, ...)                                                                      \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
		__u64 args[] = { __VA_ARGS__ };                                                    \
		results[slot].ret = bpf_snprintf(results[slot].text, sizeof(results[slot].text),   \
						 format, args, sizeof(args));                      \
	} while (0)

#define CUT(slot, size, fmt, ...)                                                                  \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
		__u64 args[] = { __VA_ARGS__ };                                                    \
		results[slot].ret = bpf_snprintf(results[slot].text, size, format, args, sizeof(args)); \
	} while (0)

SEC("raw_tp/format")
int format(void *ctx)
{
	/* Addresses the compiler must not put into constant arguments, which nobody would relocate. */
	__u64 guest = (__u64)(long)word, bytes = (__u64)(long)numbers;

	barrier_var(guest);
	barrier_var(bytes);
	PRINT(0, "%d|%i|%u", -1, 7, -1);
	PRINT(1, "%ld|%lu|%llx", -1, -1, -1);
	PRINT(2, "%x|%X|%lX", 0xabcdef12345678, 0xabcdef, 0xabcdef12345678);
	PRINT(3, "[%5d|%-5d|%05d|%+d]", 42, 42, 42, 42);
	PRINT(4, "[% d|%-+6d|%+05d|%3d]", 42, 42, -42, 123456);
	PRINT(5, "%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
	PRINT(6, "%s|%8s|%-8s|", guest, guest, guest);
	PRINT(7, "%pks, %s.", guest, guest);
	PRINT(8, "%s|%pus|%pks", 0, 16, 16);
	PRINT(9, "%px %px", 0, 0xffff888012345678);
	PRINT(10, "100%% %d", 1);
	CUT(11, 8, "%s%s%s", guest, guest, guest);
	CUT(12, 1, "%d", 12345);
	PRINT(13, "%pI4|%pi4", guest, guest);
	PRINT(14, "%pI6", bytes);
	PRINT(15, "%pi6", bytes);
	PRINT(16, "%pI4", 0);
	PRINT(17, "%020d|%lld", 5, -9223372036854775807LL);
	PRINT(18, "%u %x %lu", 0xffffffffffULL, 0xffffffffffULL, 0xffffffffffULL);
	return 0;
}

#define NUMBER(slot, index, base)                                                                          \
	do {                                                                                               \
		results[slot].number = 77;                                                                 \
		results[slot].ret = bpf_strtol(numbers[index], sizeof(numbers[index]), base,               \
					       (long *)&results[slot].number);                             \
		results[(slot) + 14].number = 77;                                                          \
		results[(slot) + 14].ret = bpf_strtoul(numbers[index], sizeof(numbers[index]), base,       \
						       (unsigned long *)&results[(slot) + 14].number);     \
	} while (0)

SEC("raw_tp/parse")
int parse(void *ctx)
{
	NUMBER(0, 0, 10);
	NUMBER(1, 1, 10);
	NUMBER(2, 2, 0);
	NUMBER(3, 3, 0);
	NUMBER(4, 4, 10);
	NUMBER(5, 5, 10);
	NUMBER(6, 6, 10);
	NUMBER(7, 7, 10);
	NUMBER(8, 8, 10);
	NUMBER(9, 9, 10);
	NUMBER(10, 10, 10);
	NUMBER(11, 11, 16);
	NUMBER(12, 12, 16);
	NUMBER(13, 13, 8);
	results[28].ret = bpf_strtol(numbers[0], sizeof(numbers[0]), 7, (long *)&results[28].number);
	results[29].ret = bpf_strtol(numbers[0], sizeof(numbers[0]), 64, (long *)&results[29].number);
	return 0;
}

SEC("raw_tp/order")
int order(void *ctx)
{
	char text[8] = "guess";

	results[0].ret = bpf_strncmp(text, sizeof(text), word);
	results[1].ret = bpf_strncmp(text, 4, word);
	text[4] = 'z';
	results[2].ret = bpf_strncmp(text, sizeof(text), word);
	text[4] = 't';
	results[3].ret = bpf_strncmp(text, sizeof(text), word);
	text[5] = 'x';
	results[4].ret = bpf_strncmp(text, 6, word);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

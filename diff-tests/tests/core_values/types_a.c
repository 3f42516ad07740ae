/* Types as kernels have them: what is read from the debug information of this and types_b.c must be what pahole reads. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool boolean;

/* Declared here, and there in the other file; and declared only. */
struct elsewhere;
union nowhere;
enum state { IDLE, RUNNING = 7, LAST = 0x7fffffff };
enum sign { BELOW = -5, ABOVE = 5 };
enum wide { LARGE = 0x123456789abcdefLL, SMALL = 1 };

struct bits {
	u32 low : 3, middle : 17;
	int sign : 5;
	u64 whole : 64;
	u64 long_one : 40;
	boolean yes : 1;
	enum state state : 4;
	u8 tail : 2;
	u16 : 0;
	u16 behind : 9;
};

struct __attribute__((packed)) packed {
	u8 first;
	u32 odd;
	u32 few : 11;
	u64 last;
};

struct list {
	struct list *next, **before;
};

struct holder {
	const volatile int qualified;
	char name[16];
	signed char small;
	u8 matrix[3][5][7];
	union {
		struct {
			u16 inner;
			struct list link;
		};
		u64 whole;
	};
	struct {
		int x, y;
	} point, points[4];
	struct elsewhere *away;
	union nowhere *never;
	int (*call)(struct holder *, const char *restrict, u64, ...);
	void (*nothing)(void);
	float half;
	double full;
	__int128 huge;
	enum sign sign;
	enum wide wide;
	enum state states[2];
	const struct bits *const *bits;
	struct packed packed;
	u32 flexible[];
};

/* Of the same name in the other file, and another one. */
struct clash {
	int here;
	u64 more;
};

typedef struct {
	int value;
} only_typedef;

typedef u32 (*callback)(only_typedef, struct clash *);

u64 touch(struct holder *holder, only_typedef one, callback call, struct clash *clash, struct bits bits,
	  union nowhere *never);
u64 touch(struct holder *holder, only_typedef one, callback call, struct clash *clash, struct bits bits,
	  union nowhere *never)
{
	return holder->whole + call(one, clash) + bits.low + (never != 0);
}

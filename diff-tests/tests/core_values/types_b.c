/* The other half of types_a.c. */
typedef unsigned int u32;

struct elsewhere {
	u32 number;
	struct holder *back;
	struct clash *mine;
};

struct clash {
	u32 first, second, third;
};

struct list {
	struct list *next, **before;
};

u32 other(struct elsewhere *, struct list *, struct clash);
u32 other(struct elsewhere *away, struct list *list, struct clash clash)
{
	return away->number + clash.third + (list->next != 0);
}

int main(void)
{
	return 0;
}

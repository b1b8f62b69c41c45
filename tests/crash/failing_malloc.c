/* SPDX-License-Identifier: MIT
 * Preloaded by test_memory.py: one call of malloc, calloc, realloc or strdup
 * gives NULL, or all calls from that one on for a while. The file COUNTER_FILE
 * holds four numbers of 64 bits: calls so far, the first to fail, the last to
 * fail, and how many that failed were libseccomp's. It is mapped before the
 * program begins, so no fence of the program's minds.
 *
 * libunbound and libconfig use what they get without a look; their calls do not
 * fail, so that a crash is one of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

struct counter {
	_Atomic uint64_t calls;
	uint64_t first; /* 0: none fails */
	uint64_t last;
	_Atomic uint64_t seccomp; /* of those that failed */
};

static struct counter *counter;

struct range {
	uintptr_t from;
	uintptr_t to;
};

static struct ranges {
	struct range all[8];
	size_t count;
} spared, seccomp;

static int find(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	struct ranges *r = &spared;
	if (strstr(info->dlpi_name, "/libseccomp."))
		r = &seccomp;
	else if (!strstr(info->dlpi_name, "/libunbound.") && !strstr(info->dlpi_name, "/libconfig."))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && r->count < 8; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + part->p_vaddr;
		if (part->p_type == PT_LOAD && part->p_flags & PF_X)
			r->all[r->count++] = (struct range){from, from + part->p_memsz};
	}
	return 0;
}

static int is_in(const struct ranges *r, const void *caller)
{
	for (size_t i = 0; i < r->count; i++)
		if ((uintptr_t)caller >= r->all[i].from && (uintptr_t)caller < r->all[i].to)
			return 1;
	return 0;
}

static void __attribute__((constructor)) begin(void)
{
	dl_iterate_phdr(find, NULL);
	const char *name = getenv("COUNTER_FILE");
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		counter = map;
}

static int fails(const void *caller)
{
	if (!counter || is_in(&spared, caller))
		return 0;
	uint64_t n = atomic_fetch_add(&counter->calls, 1) + 1;
	if (!counter->first || n < counter->first || n > counter->last)
		return 0;
	if (is_in(&seccomp, caller))
		atomic_fetch_add(&counter->seccomp, 1);
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, size);
}

/* libc's own calls malloc from libc, which would hide whose memory it is. */
static char *copy(const char *text, const void *caller)
{
	size_t size = strlen(text) + 1;
	char *made = fails(caller) ? NULL : __libc_malloc(size);
	return made ? memcpy(made, text, size) : NULL;
}

char *strdup(const char *text)
{
	return copy(text, __builtin_return_address(0));
}

char *__strdup(const char *text)
{
	return copy(text, __builtin_return_address(0));
}

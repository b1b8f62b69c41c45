/* SPDX-License-Identifier: MIT
 * Preloaded by test_memory.py: one call of malloc, calloc or realloc gives
 * NULL, or all calls from that one on for a while. The file COUNTER_FILE holds
 * three numbers of 64 bits: calls so far, the first to fail, the last to fail.
 * It is mapped before the program begins, so no fence of the program's minds.
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
};

static struct counter *counter;

static struct range {
	uintptr_t from;
	uintptr_t to;
} spared[8];
static size_t spared_count;

static int spare(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (!strstr(info->dlpi_name, "/libunbound.") && !strstr(info->dlpi_name, "/libconfig."))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && spared_count < 8; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + part->p_vaddr;
		if (part->p_type == PT_LOAD && part->p_flags & PF_X)
			spared[spared_count++] = (struct range){from, from + part->p_memsz};
	}
	return 0;
}

static void __attribute__((constructor)) begin(void)
{
	dl_iterate_phdr(spare, NULL);
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
	if (!counter)
		return 0;
	for (size_t i = 0; i < spared_count; i++)
		if ((uintptr_t)caller >= spared[i].from && (uintptr_t)caller < spared[i].to)
			return 0;
	uint64_t n = atomic_fetch_add(&counter->calls, 1) + 1;
	if (!counter->first || n < counter->first || n > counter->last)
		return 0;
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

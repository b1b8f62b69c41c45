/* SPDX-License-Identifier: MIT
 * Runs a fuzz target over the files named on the command line: a corpus
 * replayed without libFuzzer, as part of `make test`.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (4 * 1024 * 1024)

int main(int argc, char **argv)
{
	uint8_t *data = malloc(INPUT_MAX);
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (!file || !data) {
			perror(argv[i]);
			return 1;
		}
		size_t size = fread(data, 1, INPUT_MAX, file);
		fclose(file);
		/* a copy of the exact size, so that a read past the end is seen */
		uint8_t *exact = malloc(size ? size : 1);
		if (!exact)
			return 1;
		for (size_t k = 0; k < size; k++)
			exact[k] = data[k];
		LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	printf("%d inputs\n", argc - 1);
	free(data);
	return 0;
}

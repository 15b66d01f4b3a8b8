/* SPDX-License-Identifier: ISC */

/*
 * The model as a program:  model [steps [seed]]
 *
 * In runs of a million steps, each with a seed of its own, so that what fails can
 * be looked at without those before it.  0: all went well.
 */

#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RUN	1000000u

int
main(int argc, char **argv)
{
	uint64_t steps = argc > 1 ? strtoull(argv[1], NULL, 10) : RUN;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	struct model_report r, sum = { 0 };
	uint64_t n;

	for (; sum.steps < steps; seed++) {
		n = steps - sum.steps < RUN ? steps - sum.steps : RUN;
		if (!model_run(seed, n, &r)) {
			fprintf(stderr, "again: make model STEPS=%" PRIu64
			    " SEED=%" PRIu64 "\n", r.steps, seed);
			return 1;
		}
		sum.steps += r.steps;
		sum.turns += r.turns;
		sum.sent += r.sent;
		sum.received += r.received;
		sum.completions += r.completions;
		sum.look_ups += r.look_ups;
		sum.full += r.full;
		sum.lost += r.lost;
		sum.found += r.found;
		sum.virtual_ns += r.virtual_ns;
		sum.digest ^= r.digest + seed;
	}
	printf("model: %" PRIu64 " steps to seed %" PRIu64 ", %" PRIu64
	    " turns, %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64
	    " completions, %" PRIu64 " look-ups, %" PRIu64 " full, %" PRIu64
	    " lost, %" PRIu64 " found, %" PRIu64 " s, digest %016" PRIx64
	    "\n", sum.steps, seed - 1, sum.turns, sum.sent,
	    sum.received, sum.completions, sum.look_ups,
	    sum.full, sum.lost, sum.found,
	    sum.virtual_ns / 1000000000, sum.digest);
	return 0;
}

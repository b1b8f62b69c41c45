/* SPDX-License-Identifier: MIT
 * A part of a test in a process of its own.
 */
#ifndef TESTS_UNIT_APART_H
#define TESTS_UNIT_APART_H

/* Call FN in a process that is killed (SIGKILL) when it returns: nothing is cleaned up
 * there, and no leak checker looks at it. Fails when an assertion of FN does. */
void run_apart(void (*fn)(void *arg), void *arg);

#endif

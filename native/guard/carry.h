#pragma once
#include "guard/order.h"

/* Executes the command. It carries the library that was ordered, if it can; if not, the box says why. Returns only when the
 * exec fails, with errno. */
void carry_and_execute(const struct order *order);

#pragma once
/* `function` under a name that headers give to it, which depends on how new they are. */
#define CALLED(name, function, symbol) extern __typeof__(function) name __asm__(symbol) __attribute__((alias(#function)))

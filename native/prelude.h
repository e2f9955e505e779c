#include <stdint.h>
#include "faults.h"

// The matchers of kernels/testing, for the layers above.
#ifndef REPRO_COMMON_TENSOR_TESTING_H_
#define REPRO_COMMON_TENSOR_TESTING_H_

#include "kernels/testing/testing.h"  // IWYU pragma: export

#endif  // REPRO_COMMON_TENSOR_TESTING_H_

#include <gtest/gtest.h>

#include <vector>

#include "third_party/cuda/axpy.h"

namespace repro {
namespace {

TEST(CudaTest, RunsAKernelOrSaysThatThereIsNoDevice) {
  std::vector<float> x(1000), y(1000);
  for (int i = 0; i < 1000; ++i) {
    x[i] = i;
    y[i] = 0.5f;
  }
  const std::string error = Axpy(2, x, y);
  if (!HasCudaDevice()) {
    EXPECT_NE(error, "");
    EXPECT_EQ(y[999], 0.5f);
    return;
  }
  ASSERT_EQ(error, "");
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(y[i], 2 * i + 0.5f);
}

}  // namespace
}  // namespace repro

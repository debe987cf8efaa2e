// librepro_kernels.so as Python's torch.ops.load_library uses it: loaded into a
// process that knows only LibTorch, its operators called by name.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sum.h>
#include <dlfcn.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

constexpr char kLibrary[] = "kernels/librepro_kernels.so";

std::set<std::string> Operators() {
  std::set<std::string> names;
  for (const c10::OperatorName& op :
       c10::Dispatcher::singleton().getAllOpNames()) {
    if (op.name.rfind("repro::", 0) == 0) names.insert(op.name);
  }
  return names;
}

class LibraryTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_THAT(Operators(), testing::IsEmpty());
    ASSERT_NE(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL), nullptr) << dlerror();
  }
};

TEST_F(LibraryTest, RegistersEachOperatorForTheCpu) {
  EXPECT_THAT(Operators(), testing::Contains("repro::rms_norm"));
  for (const std::string& name : Operators()) {
    const auto op =
        c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), "");
    EXPECT_TRUE(
        op.hasKernelForDispatchKey(c10::DispatchKey::CPU) ||
        op.hasKernelForDispatchKey(
            c10::DispatchKey::CompositeExplicitAutograd) ||
        op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd))
        << name;
  }
}

TEST_F(LibraryTest, CallsByNameWithGradients) {
  const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("repro::rms_norm", "");
  const at::Tensor x = at::randn({3, 64}, at::kDouble).requires_grad_();
  torch::jit::Stack stack = {x, std::optional<at::Tensor>(), 1e-6};
  op.callBoxed(&stack);
  ASSERT_EQ(stack.size(), 1);
  const at::Tensor y = stack[0].toTensor();
  const at::Tensor z = x.detach().requires_grad_();
  const at::Tensor expected =
      z * at::rsqrt((z * z).mean(-1, /*keepdim=*/true) + 1e-6);
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-12);

  const at::Tensor weight = at::randn({3, 64}, at::kDouble);
  (y * weight).sum().backward();
  (expected * weight).sum().backward();
  EXPECT_LT((x.grad() - z.grad()).abs().max().item<double>(), 1e-12);
}

TEST_F(LibraryTest, ErrorsNameWhatIsWrong) {
  const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("repro::rms_norm", "");
  torch::jit::Stack stack = {at::randn({3, 64}),
                             std::optional<at::Tensor>(at::randn({65})), 1e-6};
  EXPECT_THAT([&] { op.callBoxed(&stack); },
              testing::ThrowsMessage<c10::Error>(
                  testing::HasSubstr("weight is [65], expected [64]")));
}

}  // namespace

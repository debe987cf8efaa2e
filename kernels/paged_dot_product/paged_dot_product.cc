#include "kernels/paged_dot_product/paged_dot_product.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

namespace repro {
namespace {

void Check(const at::Tensor& q, const at::Tensor& k_pool,
           const at::Tensor& slots) {
  TORCH_CHECK(q.dim() == 2, "paged_dot_product: q is ", q.sizes(),
              ", expected [num_heads, head_dim]");
  TORCH_CHECK(k_pool.dim() == 3 && k_pool.size(2) == q.size(1),
              "paged_dot_product: k_pool is ", k_pool.sizes(),
              ", expected [pool_size, num_kv_heads, ", q.size(1), "] for q of ",
              q.sizes());
  TORCH_CHECK(k_pool.size(1) > 0 && q.size(0) % k_pool.size(1) == 0,
              "paged_dot_product: ", q.size(0),
              " query heads are no multiple of ", k_pool.size(1), " key heads");
  TORCH_CHECK(q.is_floating_point() && q.dtype() == k_pool.dtype(),
              "paged_dot_product: q is ", q.dtype(), " and k_pool ",
              k_pool.dtype(), ", expected one floating dtype");
  TORCH_CHECK(slots.dim() == 1 && slots.scalar_type() == at::kInt,
              "paged_dot_product: slots is ", slots.sizes(), " of ",
              slots.dtype(), ", expected [tokens] of int");
  TORCH_CHECK(q.device() == k_pool.device() && q.device() == slots.device(),
              "paged_dot_product: q is on ", q.device(), ", k_pool on ",
              k_pool.device(), ", slots on ", slots.device());
}

void CheckVote(const at::Tensor& scores, const at::Tensor& log_sum_exp) {
  TORCH_CHECK(scores.dim() == 2, "soft_vote: scores is ", scores.sizes(),
              ", expected [num_heads, tokens]");
  TORCH_CHECK(log_sum_exp.dim() == 1 && log_sum_exp.size(0) == scores.size(0),
              "soft_vote: log_sum_exp is ", log_sum_exp.sizes(), ", expected [",
              scores.size(0), "]");
  TORCH_CHECK(scores.dtype() == log_sum_exp.dtype() &&
                  scores.device() == log_sum_exp.device(),
              "soft_vote: scores and log_sum_exp differ in dtype or device");
}

std::tuple<at::Tensor, at::Tensor> ProductAny(const at::Tensor& q,
                                              const at::Tensor& k_pool,
                                              const at::Tensor& slots,
                                              bool interleaved) {
  Check(q, k_pool, slots);
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::paged_dot_product_unchecked", "")
          .typed<decltype(PagedDotProduct)>();
  return op.call(q, k_pool, slots, interleaved);
}

at::Tensor VoteAny(const at::Tensor& scores, const at::Tensor& log_sum_exp) {
  CheckVote(scores, log_sum_exp);
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::soft_vote_unchecked", "")
          .typed<decltype(SoftVote)>();
  return op.call(scores, log_sum_exp);
}

void CheckNoGradient(const char* op, const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(
      !at::GradMode::is_enabled() || !(a.requires_grad() || b.requires_grad()),
      op, " is not differentiable: call it under NoGradGuard");
}

std::tuple<at::Tensor, at::Tensor> ProductAutograd(const at::Tensor& q,
                                                   const at::Tensor& k_pool,
                                                   const at::Tensor& slots,
                                                   bool interleaved) {
  CheckNoGradient("paged_dot_product", q, k_pool);
  at::AutoDispatchBelowADInplaceOrView guard;
  return ProductAny(q, k_pool, slots, interleaved);
}

at::Tensor VoteAutograd(const at::Tensor& scores,
                        const at::Tensor& log_sum_exp) {
  CheckNoGradient("soft_vote", scores, log_sum_exp);
  at::AutoDispatchBelowADInplaceOrView guard;
  return VoteAny(scores, log_sum_exp);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // -> (scores, log_sum_exp)
  m.def(
      "paged_dot_product(Tensor q, Tensor k_pool, Tensor slots, bool "
      "interleaved=False) -> (Tensor, Tensor)");
  m.def(
      "paged_dot_product_unchecked(Tensor q, Tensor k_pool, Tensor slots, bool "
      "interleaved) -> (Tensor, Tensor)");
  m.def("soft_vote(Tensor scores, Tensor log_sum_exp) -> Tensor");
  m.def("soft_vote_unchecked(Tensor scores, Tensor log_sum_exp) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("paged_dot_product", ProductAutograd);
  m.impl("soft_vote", VoteAutograd);
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("paged_dot_product", ProductAny);
  m.impl("soft_vote", VoteAny);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> PagedDotProduct(const at::Tensor& q,
                                                   const at::Tensor& k_pool,
                                                   const at::Tensor& slots,
                                                   bool interleaved) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::paged_dot_product", "")
                             .typed<decltype(PagedDotProduct)>();
  return op.call(q, k_pool, slots, interleaved);
}

at::Tensor SoftVote(const at::Tensor& scores, const at::Tensor& log_sum_exp) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::soft_vote", "")
                             .typed<decltype(SoftVote)>();
  return op.call(scores, log_sum_exp);
}

}  // namespace repro

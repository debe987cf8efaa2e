#include "common/lm/cpu_ops.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

// One copy of a function for each kind of CPU, chosen when the program starts.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define REPRO_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define REPRO_CLONES
#endif
#define REPRO_INLINE inline __attribute__((always_inline))

namespace repro::lm::cpu {
namespace {

// Work below this many multiplications is not worth waking threads for.
constexpr int64_t kGrain = 16384;
constexpr int64_t kLanes = 16;
constexpr int64_t kMaxHeadDim = 256;
// Keys of one piece of work.
constexpr int64_t kKeys = 256;

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
typedef float Half __attribute__((vector_size(kLanes / 2 * sizeof(float))));
typedef float Quarter __attribute__((vector_size(kLanes / 4 * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));

REPRO_INLINE Vector Load(const float* x) {
  Vector v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}

REPRO_INLINE void Store(float* x, const Vector& v) {
  std::memcpy(x, &v, sizeof(v));
}

REPRO_INLINE float Sum(const Vector& v) {
  const Half a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const Quarter b = __builtin_shufflevector(a, a, 0, 1, 2, 3) +
                    __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

// exp to about 2 units in the last place for x in [-87, 88]; exp(-87) below,
// infinity from 88.4 on; NaN stays NaN. 2^n times Cephes' polynomial of the
// remainder.
REPRO_INLINE Vector Exp(Vector x) {
  const Vector least = Vector{} - 87.0F;
  const Vector most = Vector{} + 89.0F;
  x = x < least ? least : x;
  x = x > most ? most : x;
  constexpr float kRound = 12582912;  // 1.5 * 2^23: sums have no fraction
  const Vector n = (x * 1.44269504F + kRound) - kRound;
  const Vector r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  Vector p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1;
  const Integers bits = (__builtin_convertvector(n, Integers) + 127) << 23;
  Vector power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

REPRO_CLONES void NormRow(const float* x, const float* weight, int64_t dim,
                          double eps, float* y) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) sums[l] += x[i + l] * x[i + l];
  }
  double sum = 0;
  for (; i < dim; ++i) sum += static_cast<double>(x[i]) * x[i];
  for (float s : sums) sum += s;
  const float factor =
      static_cast<float>(1 / std::sqrt(sum / static_cast<double>(dim) + eps));
  for (i = 0; i < dim; ++i) y[i] = x[i] * factor * weight[i];
}

REPRO_CLONES void SwiGluRow(const float* gate, const float* up, int64_t dim,
                            float* y) {
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const Vector g = Load(gate + i);
    Store(y + i, g / (1 + Exp(-g)) * Load(up + i));
  }
  for (; i < dim; ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

REPRO_CLONES void RotateRow(const float* x, const float* cos, const float* sin,
                            int64_t half, float* y) {
  for (int64_t i = 0; i < half; ++i) {
    y[i] = x[i] * cos[i] - x[i + half] * sin[i];
    y[i + half] = x[i + half] * cos[i] + x[i] * sin[i];
  }
}

// Attention of `heads` queries over some keys of their head: the largest
// logit, the sum of exp(logit - largest), and the sum of values so weighted.
struct Partial {
  float largest;
  float sum;
  float values[kMaxHeadDim];
};

// Adds the weighted values of kVectors * kLanes entries.
template <int kHeads, int kVectors>
REPRO_INLINE void AddValues(const float (*weights)[kKeys], const float* v,
                            int64_t v_stride, int64_t keys, int64_t first,
                            Partial* out) {
  Vector sums[kHeads][kVectors] = {};
  for (int64_t j = 0; j < keys; ++j) {
    for (int i = 0; i < kVectors; ++i) {
      const Vector value = Load(v + j * v_stride + first + i * kLanes);
      for (int h = 0; h < kHeads; ++h) sums[h][i] += weights[h][j] * value;
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kVectors; ++i) {
      Store(out[h].values + first + i * kLanes, sums[h][i]);
    }
  }
}

template <int kHeads>
REPRO_INLINE void AttendGroup(const float* q, const float* k, int64_t k_stride,
                              const float* v, int64_t v_stride, int64_t keys,
                              int64_t dim, float scale, Partial* out) {
  float weights[kHeads][kKeys];
  for (int64_t j = 0; j < keys; ++j) {
    Vector sums[kHeads] = {};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const Vector key = Load(k + j * k_stride + d);
      for (int h = 0; h < kHeads; ++h) sums[h] += key * Load(q + h * dim + d);
    }
    for (int h = 0; h < kHeads; ++h) weights[h][j] = Sum(sums[h]) * scale;
  }
  for (int h = 0; h < kHeads; ++h) {
    float* row = weights[h];
    // Whole vectors: what follows the last key weighs nothing.
    const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
    for (int64_t j = keys; j < padded; ++j) row[j] = -INFINITY;
    Vector most = Vector{} - INFINITY;
    for (int64_t j = 0; j < padded; j += kLanes) {
      const Vector next = Load(row + j);
      most = most < next ? next : most;
    }
    float largest = most[0];
    for (int64_t l = 1; l < kLanes; ++l) largest = std::max(largest, most[l]);
    Vector sum = {};
    for (int64_t j = 0; j < padded; j += kLanes) {
      const Vector weight = Exp(Load(row + j) - largest);
      Store(row + j, weight);
      sum += weight;
    }
    out[h].largest = largest;
    out[h].sum = Sum(sum);
  }
  int64_t d = 0;
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
    AddValues<kHeads, 4>(weights, v, v_stride, keys, d, out);
  }
  for (; d < dim; d += kLanes) {
    AddValues<kHeads, 1>(weights, v, v_stride, keys, d, out);
  }
}

REPRO_CLONES void AttendHead(const float* q, int64_t heads, const float* k,
                             int64_t k_stride, const float* v, int64_t v_stride,
                             int64_t keys, int64_t dim, float scale,
                             Partial* out) {
  for (int64_t h = 0; h < heads;) {
    const int64_t left = heads - h;
    const float* queries = q + h * dim;
    if (left >= 4) {
      AttendGroup<4>(queries, k, k_stride, v, v_stride, keys, dim, scale,
                     out + h);
    } else if (left == 3) {
      AttendGroup<3>(queries, k, k_stride, v, v_stride, keys, dim, scale,
                     out + h);
    } else if (left == 2) {
      AttendGroup<2>(queries, k, k_stride, v, v_stride, keys, dim, scale,
                     out + h);
    } else {
      AttendGroup<1>(queries, k, k_stride, v, v_stride, keys, dim, scale,
                     out + h);
    }
    h += std::min<int64_t>(left, 4);
  }
}

// Queries whose logits are held at a time.
constexpr int64_t kQueries = 8;

// Copies k: [keys, dim] to [keys / kLanes, dim, kLanes], zeros behind the last.
REPRO_CLONES void TransposeKeys(const float* k, int64_t k_stride, int64_t keys,
                                int64_t dim, float* out) {
  for (int64_t first = 0; first < keys; first += kLanes) {
    float* block = out + first * dim;
    const int64_t count = std::min(kLanes, keys - first);
    if (count < kLanes) std::fill(block, block + kLanes * dim, 0.0F);
    for (int64_t j = 0; j < count; ++j) {
      const float* row = k + (first + j) * k_stride;
      for (int64_t d = 0; d < dim; ++d) block[d * kLanes + j] = row[d];
    }
  }
}

// Adds weights: [4][kKeys] times values to acc: [4][kMaxHeadDim].
template <int kVectors>
REPRO_INLINE void AddValuesOfFour(const float (*weights)[kKeys], const float* v,
                                  int64_t v_stride, int64_t keys, int64_t first,
                                  float (*acc)[kMaxHeadDim]) {
  Vector sums[4][kVectors];
  for (int i = 0; i < 4; ++i) {
    for (int n = 0; n < kVectors; ++n) {
      sums[i][n] = Load(acc[i] + first + n * kLanes);
    }
  }
  for (int64_t j = 0; j < keys; ++j) {
    for (int n = 0; n < kVectors; ++n) {
      const Vector value = Load(v + j * v_stride + first + n * kLanes);
      for (int i = 0; i < 4; ++i) sums[i][n] += weights[i][j] * value;
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int n = 0; n < kVectors; ++n) {
      Store(acc[i] + first + n * kLanes, sums[i][n]);
    }
  }
}

// Softmax attention of `rows` <= kQueries queries of one head, by blocks of
// keys with a running maximum (Dao et al. 2022); row i sees `visible` + i keys.
REPRO_CLONES void AttendRows(const float* q, int64_t q_stride, int64_t rows,
                             const float* transposed, const float* v,
                             int64_t v_stride, int64_t visible, int64_t dim,
                             float scale, float* out, int64_t out_stride) {
  float queries[kMaxHeadDim][kQueries] = {};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < dim; ++d) {
      queries[d][i] = q[i * q_stride + d] * scale;
    }
  }
  float acc[kQueries][kMaxHeadDim] = {};
  float weights[kQueries][kKeys] = {};
  float largest[kQueries];
  float sum[kQueries] = {};
  for (float& x : largest) x = -INFINITY;
  const int64_t all = visible + rows - 1;
  for (int64_t first = 0; first < all; first += kKeys) {
    const int64_t keys = std::min(kKeys, all - first);
    const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
    for (int64_t j = 0; j < padded; j += kLanes) {
      Vector logits[kQueries] = {};
      const float* block = transposed + (first + j) * dim;
      for (int64_t d = 0; d < dim; ++d) {
        const Vector key = Load(block + d * kLanes);
        for (int64_t i = 0; i < kQueries; ++i) logits[i] += queries[d][i] * key;
      }
      for (int64_t i = 0; i < kQueries; ++i) Store(weights[i] + j, logits[i]);
    }
    for (int64_t i = 0; i < rows; ++i) {
      float* row = weights[i];
      const int64_t seen = std::min(keys, visible + i - first);
      if (seen <= 0) {
        std::fill(row, row + padded, 0.0F);
        continue;
      }
      std::fill(row + seen, row + padded, -INFINITY);
      Vector most = Vector{} + largest[i];
      for (int64_t j = 0; j < padded; j += kLanes) {
        const Vector next = Load(row + j);
        most = most < next ? next : most;
      }
      float now = most[0];
      for (int64_t l = 1; l < kLanes; ++l) now = std::max(now, most[l]);
      Vector added = {};
      for (int64_t j = 0; j < padded; j += kLanes) {
        const Vector weight = Exp(Load(row + j) - now);
        Store(row + j, weight);
        added += weight;
      }
      std::fill(row + seen, row + padded, 0.0F);
      const float factor = std::exp(largest[i] - now);
      sum[i] = sum[i] * factor + Sum(added);
      largest[i] = now;
      for (int64_t d = 0; d < dim; ++d) acc[i][d] *= factor;
    }
    const float* values = v + first * v_stride;
    for (int64_t i = 0; i < rows; i += 4) {
      int64_t d = 0;
      for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
        AddValuesOfFour<4>(weights + i, values, v_stride, keys, d, acc + i);
      }
      for (; d < dim; d += kLanes) {
        AddValuesOfFour<1>(weights + i, values, v_stride, keys, d, acc + i);
      }
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < dim; ++d) {
      out[i * out_stride + d] = acc[i][d] / sum[i];
    }
  }
}

}  // namespace

bool Takes(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() > 0 &&
         x.stride(-1) == 1 &&
         !(at::GradMode::is_enabled() && x.requires_grad());
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t rows = x.size(0), dim = x.size(1), stride = x.stride(0);
  at::Tensor y = at::empty({rows, dim}, x.options());
  const float* in = x.const_data_ptr<float>();
  const float* w = weight.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / dim),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       NormRow(in + r * stride, w, dim, eps, out + r * dim);
                     }
                   });
  return y;
}

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  const int64_t rows = gate_up.size(0), dim = gate_up.size(1) / 2;
  const int64_t stride = gate_up.stride(0);
  at::Tensor y = at::empty({rows, dim}, gate_up.options());
  const float* in = gate_up.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / (4 * dim)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       const float* gate = in + r * stride;
                       SwiGluRow(gate, gate + dim, dim, out + r * dim);
                     }
                   });
  return y;
}

at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin) {
  const int64_t tokens = x.size(1), dim = x.size(2), rows = x.size(0) * tokens;
  at::Tensor y = at::empty(x.sizes(), x.options());
  const float* in = x.const_data_ptr<float>();
  const float* c = cos.const_data_ptr<float>();
  const float* s = sin.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / dim),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       const int64_t head = r / tokens, token = r % tokens;
                       RotateRow(in + head * x.stride(0) + token * x.stride(1),
                                 c + token * cos.stride(0),
                                 s + token * sin.stride(0), dim / 2,
                                 out + r * dim);
                     }
                   });
  return y;
}

bool TakesHeadDim(int64_t head_dim) {
  return head_dim % kLanes == 0 && head_dim <= kMaxHeadDim;
}

at::Tensor DecodeAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale) {
  const int64_t heads = q.size(0), dim = q.size(2);
  const int64_t kv_heads = k.size(0), keys = k.size(1);
  const int64_t group = heads / kv_heads;
  const int64_t pieces = (keys + kKeys - 1) / kKeys;
  const at::Tensor queries = q.contiguous();
  at::Tensor y = at::empty(q.sizes(), q.options());
  const float* in = queries.const_data_ptr<float>();
  const float* key = k.const_data_ptr<float>();
  const float* value = v.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  std::vector<Partial> partial(kv_heads * pieces * group);
  at::parallel_for(
      0, kv_heads * pieces,
      std::max<int64_t>(1, 2 * kGrain / (std::min(keys, kKeys) * dim * group)),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t head = i / pieces, first = i % pieces * kKeys;
          AttendHead(in + head * group * dim, group,
                     key + head * k.stride(0) + first * k.stride(1),
                     k.stride(1),
                     value + head * v.stride(0) + first * v.stride(1),
                     v.stride(1), std::min(kKeys, keys - first), dim,
                     static_cast<float>(scale), &partial[i * group]);
        }
      });
  for (int64_t h = 0; h < heads; ++h) {
    const Partial* parts = &partial[h / group * pieces * group + h % group];
    float largest = parts[0].largest;
    for (int64_t p = 1; p < pieces; ++p) {
      largest = std::max(largest, parts[p * group].largest);
    }
    float sum = 0;
    float* row = out + h * dim;
    std::fill(row, row + dim, 0.0F);
    for (int64_t p = 0; p < pieces; ++p) {
      const Partial& part = parts[p * group];
      const float weight = std::exp(part.largest - largest);
      sum += weight * part.sum;
      for (int64_t d = 0; d < dim; ++d) row[d] += weight * part.values[d];
    }
    for (int64_t d = 0; d < dim; ++d) row[d] /= sum;
  }
  return y;
}

at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale) {
  const int64_t heads = q.size(0), queries = q.size(1), dim = q.size(2);
  const int64_t kv_heads = k.size(0), keys = k.size(1);
  const int64_t group = heads / kv_heads;
  const int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  const at::Tensor transposed = at::empty({kv_heads, padded, dim}, k.options());
  float* kt = transposed.data_ptr<float>();
  const float* key = k.const_data_ptr<float>();
  at::parallel_for(0, kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      TransposeKeys(key + h * k.stride(0), k.stride(1), keys, dim,
                    kt + h * padded * dim);
    }
  });
  at::Tensor y = at::empty({queries, heads, dim}, q.options());
  const float* in = q.const_data_ptr<float>();
  const float* value = v.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  const int64_t blocks = (queries + kQueries - 1) / kQueries;
  // Head after head, so that the threads' shares have as many early queries,
  // which see few keys, as late ones.
  at::parallel_for(0, heads * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / blocks, first = i % blocks * kQueries;
      const int64_t kv_head = head / group;
      AttendRows(in + head * q.stride(0) + first * q.stride(1), q.stride(1),
                 std::min(kQueries, queries - first),
                 kt + kv_head * padded * dim, value + kv_head * v.stride(0),
                 v.stride(1), keys - queries + first + 1, dim,
                 static_cast<float>(scale), out + (first * heads + head) * dim,
                 heads * dim);
    }
  });
  return y.transpose(0, 1);
}

}  // namespace repro::lm::cpu

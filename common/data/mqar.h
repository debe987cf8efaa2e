// Multi-query associative recall (Arora et al. 2023, arXiv 2312.04927; the
// generator of HazyResearch/zoology): a sequence lists key-value pairs and then
// asks for the value of each key once, at a distance drawn from a power law.
//
//   k1 v1 k2 v2 ... kn vn | . k2 . . k1 ... kn .      (. a random token)
#ifndef REPRO_COMMON_DATA_MQAR_H_
#define REPRO_COMMON_DATA_MQAR_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace repro {

struct MqarConfig {
  int64_t vocab_size = 8192;  // keys below its half, values from there on
  int64_t seq_len = 64;       // even
  int64_t num_pairs = 4;      // 4 num_pairs <= seq_len
  double power = 0.01;        // `a` below
};

struct MqarExamples {
  at::Tensor inputs;  // [num_examples, seq_len] int64
  at::Tensor labels;  // the same; -100 but where a key is asked for
};

// Keys are drawn without replacement from [1, vocab_size / 2), values from
// [vocab_size / 2, vocab_size). Key i is asked for at position 2 num_pairs + 2
// g_i, where the label is its value (aligned with the input: no shift). The
// gaps g_i are drawn without replacement from 0 ... space - 1, space = (seq_len
// - 2 num_pairs) / 2, with probability of gap g proportional to a (g + 1)^(a -
// 1). Other places of the query region hold tokens from [0, vocab_size).
//
// `generator` is of the CPU, and so are the results. Throws c10::Error for
// sizes that do not fit.
MqarExamples GenerateMqar(const MqarConfig& config, int64_t num_examples,
                          at::Generator generator);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_MQAR_H_

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/checkpoint/dequantize.h"
#include "common/checkpoint/gguf.h"
#include "common/checkpoint/hf_config.h"
#include "common/checkpoint/safetensors.h"
#include "common/data/io.h"
#include "common/lm/model.h"
#include "common/status/macros.h"
#include "kernels/quantized_linear/quantized_linear.h"
#include "nlohmann/json.hpp"

namespace repro::lm {
namespace {

// What a checkpoint calls the tensors: those of a layer between `layer`, its
// number and a dot, and ".weight" or ".bias".
struct Names {
  const char* layer;
  const char* embedding;
  const char* final_norm;
  const char* head;
  const char* attention_norm;
  const char* q;
  const char* k;
  const char* v;
  const char* output;
  const char* ffn_norm;
  const char* gate;
  const char* up;
  const char* down;
};

constexpr Names kGgufNames = {
    "blk.",     "token_embd", "output_norm", "output",      "attn_norm",
    "attn_q",   "attn_k",     "attn_v",      "attn_output", "ffn_norm",
    "ffn_gate", "ffn_up",     "ffn_down"};

constexpr Names kHfNames = {"model.layers.",    "model.embed_tokens",
                            "model.norm",       "lm_head",
                            "input_layernorm",  "self_attn.q_proj",
                            "self_attn.k_proj", "self_attn.v_proj",
                            "self_attn.o_proj", "post_attention_layernorm",
                            "mlp.gate_proj",    "mlp.up_proj",
                            "mlp.down_proj"};

// One of the matrices whose rows a fused one holds.
struct Part {
  std::string name;  // without ".weight"
  int64_t rows;
  int64_t rotated_heads = 0;  // > 0: rows of heads that rotary positions turn
};

class Source {
 public:
  virtual ~Source() = default;
  // Of this shape, in the dtype and on the device that were asked for.
  virtual absl::StatusOr<at::Tensor> Tensor(
      const std::string& name, const std::vector<int64_t>& shape) = 0;
  // [sum of rows, columns], and the biases if there are any.
  virtual absl::StatusOr<LinearWeight> Fused(const std::vector<Part>& parts,
                                             int64_t columns, bool bias) = 0;
  // Tensors that nobody asked for: a model of this shape that has them is
  // another one.
  virtual std::vector<std::string> Unused() const = 0;
  virtual const std::string& path() const = 0;
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status CheckTensorShape(const std::string& path, const std::string& name,
                              const std::vector<int64_t>& got,
                              const std::vector<int64_t>& expected) {
  if (got == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": tensor '", name, "' is ", ShapeText(got),
                   ", expected ", ShapeText(expected)));
}

class GgufSource : public Source {
 public:
  GgufSource(const GgufFile& file, const ModelConfig& config,
             const LoadOptions& options, at::ScalarType dtype)
      : file_(file),
        interleaved_(config.architecture == "llama"),
        keep_quantized_(options.keep_quantized && options.device.is_cpu()),
        device_(options.device),
        dtype_(dtype) {}

  absl::StatusOr<at::Tensor> Tensor(
      const std::string& name, const std::vector<int64_t>& shape) override {
    REPRO_ASSIGN_OR_RETURN(const GgufTensor* tensor, Find(name, shape));
    return Dequantize(*tensor).to(device_, dtype_);
  }

  absl::StatusOr<LinearWeight> Fused(const std::vector<Part>& parts,
                                     int64_t columns, bool bias) override {
    std::vector<const GgufTensor*> tensors;
    std::vector<at::Tensor> biases;
    int64_t rows = 0;
    bool packed = keep_quantized_;
    for (const Part& part : parts) {
      REPRO_ASSIGN_OR_RETURN(
          tensors.emplace_back(),
          Find(absl::StrCat(part.name, ".weight"), {part.rows, columns}));
      packed =
          packed && IsQuantFormat(static_cast<int64_t>(tensors.back()->type));
      rows += part.rows;
      if (bias) {
        REPRO_ASSIGN_OR_RETURN(
            biases.emplace_back(),
            Tensor(absl::StrCat(part.name, ".bias"), {part.rows}));
        biases.back() = HalvesApart(biases.back(), part);
      }
    }
    LinearWeight weight;
    if (packed) {
      weight = Packed(parts, tensors, columns);
    } else {
      std::vector<at::Tensor> dense;
      for (size_t i = 0; i < parts.size(); ++i) {
        dense.push_back(
            HalvesApart(Dequantize(*tensors[i]).to(device_, dtype_), parts[i]));
      }
      weight = DenseWeight(dense.size() == 1 ? dense[0] : at::cat(dense));
    }
    if (bias) weight.bias = at::cat(biases);
    return weight;
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names;
    for (const GgufTensor& tensor : file_.tensors()) {
      // The configuration's rope scaling stands for the factors.
      if (used_.count(tensor.name) == 0 && tensor.name != "rope_freqs.weight") {
        names.push_back(tensor.name);
      }
    }
    return names;
  }

  const std::string& path() const override { return file_.path(); }

 private:
  absl::StatusOr<const GgufTensor*> Find(const std::string& name,
                                         const std::vector<int64_t>& shape) {
    REPRO_ASSIGN_OR_RETURN(const GgufTensor* tensor, file_.Tensor(name));
    REPRO_RETURN_IF_ERROR(CheckTensorShape(path(), name, tensor->shape, shape));
    used_.insert(name);
    return tensor;
  }

  // GGUF's llama models turn entries 2 i and 2 i + 1 of a head together, this
  // runtime i and i + head_dim / 2. x: [rows, ...].
  at::Tensor HalvesApart(const at::Tensor& x, const Part& part) const {
    if (!interleaved_ || part.rotated_heads == 0) return x;
    const int64_t half = part.rows / part.rotated_heads / 2;
    return x.unflatten(0, {part.rotated_heads, half, 2})
        .transpose(1, 2)
        .flatten(0, 2)
        .contiguous();
  }

  // Neighbours of one format become one matrix.
  LinearWeight Packed(const std::vector<Part>& parts,
                      const std::vector<const GgufTensor*>& tensors,
                      int64_t columns) const {
    LinearWeight out;
    for (size_t begin = 0; begin < parts.size();) {
      const GgmlType type = tensors[begin]->type;
      std::vector<at::Tensor> blocks;
      int64_t rows = 0;
      size_t end = begin;
      for (; end < parts.size() && tensors[end]->type == type; ++end) {
        const auto& data = tensors[end]->data;
        const int64_t size = static_cast<int64_t>(data.size());
        // Only read.
        blocks.push_back(HalvesApart(
            at::from_blob(const_cast<uint8_t*>(data.data()),
                          {parts[end].rows, size / parts[end].rows}, at::kByte),
            parts[end]));
        rows += parts[end].rows;
      }
      out.parts.push_back(
          PackedWeight(blocks.size() == 1 ? blocks[0] : at::cat(blocks),
                       static_cast<int64_t>(type), rows, columns));
      begin = end;
    }
    if (out.parts.size() == 1) {
      LinearWeight only = std::move(out.parts[0]);
      return only;
    }
    for (const LinearWeight& part : out.parts) {
      out.out_features += part.out_features;
    }
    out.in_features = columns;
    return out;
  }

  const GgufFile& file_;
  bool interleaved_;
  bool keep_quantized_;
  c10::Device device_;
  at::ScalarType dtype_;
  std::set<std::string> used_;
};

class SafetensorsSource : public Source {
 public:
  SafetensorsSource(const Safetensors& file, std::string path,
                    const LoadOptions& options, at::ScalarType dtype)
      : file_(file),
        path_(std::move(path)),
        device_(options.device),
        dtype_(dtype) {}

  absl::StatusOr<at::Tensor> Tensor(
      const std::string& name, const std::vector<int64_t>& shape) override {
    REPRO_ASSIGN_OR_RETURN(at::Tensor tensor, file_.Tensor(name));
    REPRO_RETURN_IF_ERROR(
        CheckTensorShape(path_, name, tensor.sizes().vec(), shape));
    if (!tensor.is_floating_point()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path_, ": tensor '", name, "' has a dtype that is not floating"));
    }
    used_.insert(name);
    // A copy: the file may change while the model is in use.
    return tensor.to(device_, dtype_, /*non_blocking=*/false, /*copy=*/true);
  }

  absl::StatusOr<LinearWeight> Fused(const std::vector<Part>& parts,
                                     int64_t columns, bool bias) override {
    std::vector<at::Tensor> weights, biases;
    for (const Part& part : parts) {
      REPRO_ASSIGN_OR_RETURN(
          weights.emplace_back(),
          Tensor(absl::StrCat(part.name, ".weight"), {part.rows, columns}));
      if (bias) {
        REPRO_ASSIGN_OR_RETURN(
            biases.emplace_back(),
            Tensor(absl::StrCat(part.name, ".bias"), {part.rows}));
      }
    }
    return DenseWeight(weights.size() == 1 ? weights[0] : at::cat(weights),
                       bias ? at::cat(biases) : at::Tensor());
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names;
    for (const std::string& name : file_.names()) {
      // Older programs store what follows from the configuration.
      if (used_.count(name) == 0 && !absl::EndsWith(name, "inv_freq")) {
        names.push_back(name);
      }
    }
    return names;
  }

  const std::string& path() const override { return path_; }

 private:
  const Safetensors& file_;
  std::string path_;
  c10::Device device_;
  at::ScalarType dtype_;
  std::set<std::string> used_;
};

absl::StatusOr<ModelWeights> ReadWeights(const ModelConfig& c,
                                         const Names& names, Source* source) {
  ModelWeights weights;
  const int64_t q_rows = c.num_heads * c.head_dim;
  const int64_t kv_rows = c.num_kv_heads * c.head_dim;
  const std::string head = c.tie_embeddings ? names.embedding : names.head;
  REPRO_ASSIGN_OR_RETURN(
      weights.head,
      source->Fused({{head, c.vocab_size}}, c.hidden_size, /*bias=*/false));
  if (!c.tie_embeddings) {
    REPRO_ASSIGN_OR_RETURN(
        weights.embedding,
        source->Tensor(absl::StrCat(names.embedding, ".weight"),
                       {c.vocab_size, c.hidden_size}));
  } else if (weights.head.dense.defined()) {
    weights.embedding = weights.head.dense;
  }
  REPRO_ASSIGN_OR_RETURN(
      weights.final_norm,
      source->Tensor(absl::StrCat(names.final_norm, ".weight"),
                     {c.hidden_size}));
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const auto name = [&](const char* suffix) {
      return absl::StrCat(names.layer, l, ".", suffix);
    };
    const auto norm = [&](const char* suffix) {
      return source->Tensor(absl::StrCat(name(suffix), ".weight"),
                            {c.hidden_size});
    };
    LayerWeights layer;
    REPRO_ASSIGN_OR_RETURN(layer.attention_norm, norm(names.attention_norm));
    REPRO_ASSIGN_OR_RETURN(
        layer.qkv, source->Fused({{name(names.q), q_rows, c.num_heads},
                                  {name(names.k), kv_rows, c.num_kv_heads},
                                  {name(names.v), kv_rows}},
                                 c.hidden_size, c.attention_bias));
    REPRO_ASSIGN_OR_RETURN(layer.output,
                           source->Fused({{name(names.output), c.hidden_size}},
                                         q_rows, /*bias=*/false));
    REPRO_ASSIGN_OR_RETURN(layer.ffn_norm, norm(names.ffn_norm));
    REPRO_ASSIGN_OR_RETURN(
        layer.gate_up, source->Fused({{name(names.gate), c.intermediate_size},
                                      {name(names.up), c.intermediate_size}},
                                     c.hidden_size, /*bias=*/false));
    REPRO_ASSIGN_OR_RETURN(layer.down,
                           source->Fused({{name(names.down), c.hidden_size}},
                                         c.intermediate_size, /*bias=*/false));
    weights.layers.push_back(std::move(layer));
  }
  std::vector<std::string> unused = source->Unused();
  // A tied head may be there a second time.
  if (c.tie_embeddings) {
    unused.erase(std::remove(unused.begin(), unused.end(),
                             absl::StrCat(names.head, ".weight")),
                 unused.end());
  }
  if (!unused.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        source->path(), ": tensor '", unused[0],
        "' has no place in a model of architecture ", c.architecture,
        unused.size() == 1
            ? ""
            : absl::StrCat(" (nor have ", unused.size() - 1, " others)")));
  }
  return weights;
}

at::ScalarType DtypeOf(const LoadOptions& options) {
  return options.dtype.value_or(options.device.is_cpu() ? at::kFloat
                                                        : at::kBFloat16);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadGguf(
    const std::string& path, const LoadOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file,
                         OpenGguf(path));
  REPRO_ASSIGN_OR_RETURN(const ModelConfig config, GgufModelConfig(*file));
  GgufSource source(*file, config, options, DtypeOf(options));
  REPRO_ASSIGN_OR_RETURN(ModelWeights weights,
                         ReadWeights(config, kGgufNames, &source));
  return std::make_unique<LanguageModel>(config, std::move(weights));
}

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadFolder(
    const std::string& folder, const LoadOptions& options) {
  const std::string config_path = folder + "/config.json";
  REPRO_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(config_path, int64_t{1} << 20));
  REPRO_ASSIGN_OR_RETURN(const ModelConfig config,
                         ParseHfConfig(text, config_path));
  REPRO_ASSIGN_OR_RETURN(const Safetensors file, Safetensors::Open(folder));
  SafetensorsSource source(file, folder, options, DtypeOf(options));
  REPRO_ASSIGN_OR_RETURN(ModelWeights weights,
                         ReadWeights(config, kHfNames, &source));
  return std::make_unique<LanguageModel>(config, std::move(weights));
}

const char* DtypeName(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

std::string HfConfig(const ModelConfig& c, at::ScalarType dtype) {
  nlohmann::ordered_json json;
  const bool qwen2 = c.architecture == "qwen2";
  json["architectures"] = {qwen2                         ? "Qwen2ForCausalLM"
                           : c.architecture == "mistral" ? "MistralForCausalLM"
                                                         : "LlamaForCausalLM"};
  json["model_type"] = c.architecture;
  json["vocab_size"] = c.vocab_size;
  json["hidden_size"] = c.hidden_size;
  json["intermediate_size"] = c.intermediate_size;
  json["num_hidden_layers"] = c.num_layers;
  json["num_attention_heads"] = c.num_heads;
  json["num_key_value_heads"] = c.num_kv_heads;
  json["head_dim"] = c.head_dim;
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = c.rms_norm_eps;
  json["max_position_embeddings"] = c.max_positions;
  json["rope_theta"] = c.rope_theta;
  const RopeScaling& scaling = c.rope_scaling;
  if (scaling.type == RopeScaling::Type::kLinear) {
    json["rope_scaling"] = {{"rope_type", "linear"},
                            {"factor", scaling.factor}};
  } else if (scaling.type == RopeScaling::Type::kLlama3) {
    json["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", scaling.factor},
        {"low_freq_factor", scaling.low_freq_factor},
        {"high_freq_factor", scaling.high_freq_factor},
        {"original_max_position_embeddings", scaling.original_max_positions}};
  }
  json["tie_word_embeddings"] = c.tie_embeddings;
  if (c.bos_id >= 0) json["bos_token_id"] = c.bos_id;
  if (c.eos_ids.size() == 1) {
    json["eos_token_id"] = c.eos_ids[0];
  } else if (!c.eos_ids.empty()) {
    json["eos_token_id"] = c.eos_ids;
  }
  json["torch_dtype"] = DtypeName(dtype);
  return json.dump(2) + "\n";
}

// No exception of LibTorch or of an allocation leaves this library's edge.
template <typename Result>
Result Guarded(const std::string& what, const std::function<Result()>& run) {
  try {
    at::NoGradGuard no_grad;
    return run();
  } catch (const c10::OutOfMemoryError& e) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", e.what_without_backtrace()));
  } catch (const c10::Error& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(
    const std::string& path, const LoadOptions& options) {
  using Result = absl::StatusOr<std::unique_ptr<LanguageModel>>;
  return Guarded<Result>(path, [&]() -> Result {
    struct stat info;
    if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      return LoadFolder(path, options);
    }
    return LoadGguf(path, options);
  });
}

absl::Status SaveModel(const LanguageModel& model, const std::string& folder) {
  return Guarded<absl::Status>(folder, [&]() -> absl::Status {
    const ModelConfig& c = model.config();
    const ModelWeights& weights = model.weights();
    std::map<std::string, at::Tensor> tensors;
    bool dense = true;
    const auto add = [&](const std::string& name, const LinearWeight& weight,
                         int64_t first, int64_t rows) {
      dense = dense && weight.dense.defined();
      if (!dense) return;
      tensors[name + ".weight"] = weight.dense.narrow(0, first, rows);
      if (weight.bias.defined()) {
        tensors[name + ".bias"] = weight.bias.narrow(0, first, rows);
      }
    };
    const Names& names = kHfNames;
    const int64_t q_rows = c.num_heads * c.head_dim;
    const int64_t kv_rows = c.num_kv_heads * c.head_dim;
    for (int64_t l = 0; l < c.num_layers; ++l) {
      const LayerWeights& layer = weights.layers[l];
      const auto name = [&](const char* suffix) {
        return absl::StrCat(names.layer, l, ".", suffix);
      };
      tensors[name(names.attention_norm) + ".weight"] = layer.attention_norm;
      tensors[name(names.ffn_norm) + ".weight"] = layer.ffn_norm;
      add(name(names.q), layer.qkv, 0, q_rows);
      add(name(names.k), layer.qkv, q_rows, kv_rows);
      add(name(names.v), layer.qkv, q_rows + kv_rows, kv_rows);
      add(name(names.output), layer.output, 0, c.hidden_size);
      add(name(names.gate), layer.gate_up, 0, c.intermediate_size);
      add(name(names.up), layer.gate_up, c.intermediate_size,
          c.intermediate_size);
      add(name(names.down), layer.down, 0, c.hidden_size);
    }
    tensors[absl::StrCat(names.final_norm, ".weight")] = weights.final_norm;
    tensors[absl::StrCat(names.embedding, ".weight")] = weights.embedding;
    if (!c.tie_embeddings) add(names.head, weights.head, 0, c.vocab_size);
    if (!dense || !weights.embedding.defined()) {
      return absl::FailedPreconditionError(absl::StrCat(
          folder,
          ": the model has quantised weights, which safetensors cannot hold; "
          "load it with keep_quantized = false"));
    }
    REPRO_RETURN_IF_ERROR(SaveSafetensors(folder + "/model.safetensors",
                                          tensors, {{"format", "pt"}}));
    return WriteFileAtomically(folder + "/config.json",
                               HfConfig(c, model.dtype()));
  });
}

}  // namespace repro::lm

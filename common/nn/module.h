// A tree of parameters and buffers under dotted names, as PyTorch writes them
// ("stage1.block0.norm1.weight"). README.md says why it is not
// torch::nn::Module.
//
//   class Mlp : public Module {
//    public:
//     Mlp(int64_t dim, const Initializer& init)
//         : up_(AddModule<Linear>("up", dim, 4 * dim, init)),
//           down_(AddModule<Linear>("down", 4 * dim, dim, init)) {}
//     at::Tensor Forward(const at::Tensor& x) {
//       return down_->Forward(at::relu(up_->Forward(x)));
//     }
//    private:
//     Linear* up_;
//     Linear* down_;
//   };
#ifndef REPRO_COMMON_NN_MODULE_H_
#define REPRO_COMMON_NN_MODULE_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace repro {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  // In order of registration, own before children's. The tensors share
  // storage with the module's.
  NamedTensors NamedParameters() const;
  NamedTensors NamedBuffers() const;
  std::vector<at::Tensor> Parameters() const;

  // Training mode (the state after construction) turns on dropout, drop path
  // and batch statistics, in this module and below it.
  void Train(bool on = true);
  bool training() const { return training_; }

  // Moves or converts every floating tensor in place: handles already taken,
  // as an optimiser's, stay valid. Any optimiser state must be made after.
  void To(at::TensorOptions options);

 protected:
  // Makes `value` a leaf that records gradients, registers it and returns it.
  // Names are unique within a module and hold no dot.
  at::Tensor AddParameter(std::string name, at::Tensor value);
  // State that has no gradient, such as running statistics.
  at::Tensor AddBuffer(std::string name, at::Tensor value);

  // Constructs a child that this module owns.
  template <typename M, typename... Args>
  M* AddModule(std::string name, Args&&... args) {
    auto child = std::make_unique<M>(std::forward<Args>(args)...);
    M* raw = child.get();
    AddChild(std::move(name), std::move(child));
    return raw;
  }

 private:
  void AddChild(std::string name, std::unique_ptr<Module> child);
  void CheckName(const std::string& name) const;
  void Collect(const std::string& prefix, NamedTensors Module::*own,
               NamedTensors* out) const;

  bool training_ = true;
  NamedTensors parameters_;
  NamedTensors buffers_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
};

}  // namespace repro

#endif  // REPRO_COMMON_NN_MODULE_H_
